"""A small server that speaks OpenAI's chat completions, and misbehaves when told to."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from local_http import serving


def reply_of(body: dict) -> str:
    """What the server writes: the same for the same messages and seed."""
    asked = body["messages"][-1]["content"].rpartition("[")[2].rpartition("]")[0]
    words = body["messages"][-1]["content"].split()[:3]
    return f"That makes me {asked}: {' '.join(words)} {body['seed'] % 1000}"


@contextmanager
def chat_server(answer=None, delay: float = 0.0):
    r"""
    Gives the server; `.url` is its address, `.bodies` the requests it got, `.times` when, `.most` how many at once.

    Args:
        answer (`Callable`, *optional*): Takes the number of the request, from 0, and its body; gives `None` for a good
            answer, or status, headers and body of another.
        delay (`float`): Seconds that each answer takes.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                number = len(server.bodies)
                server.bodies.append(body)
                server.times.append(time.monotonic())
                server.keys.append(self.headers.get("Authorization"))
                server.now += 1
                server.most = max(server.most, server.now)
            time.sleep(delay)
            given = None if answer is None else answer(number, body)
            if given is None:
                message = {"role": "assistant", "content": reply_of(body)}
                choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
                given = 200, {}, json.dumps({"object": "chat.completion", "choices": choices})
            status, headers, text = given
            with server.lock:
                server.now -= 1
            self.send_response(status if self.path == "/v1/chat/completions" else 404)
            for name, value in {**headers, "Content-Length": str(len(text.encode()))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *arguments):
            pass

    with serving(Handler, lock=threading.Lock(), bodies=[], times=[], keys=[], now=0, most=0) as server:
        yield server
