"""A stand-in for vLLM: an HTTP server of completions that takes prompt embeddings, as its documentation says."""

import base64
import io
import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import torch

from local_http import serving


@contextmanager
def prompt_embeds_server(models: dict, tokenizer):
    r"""
    Gives the server; `.url` is its address, `.bodies` the requests it got.

    Args:
        models (`dict[str, PreTrainedModel]`): Plain language models by the names that clients use.
        tokenizer: Of all of them.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.bodies.append(body)
            try:
                assert self.path == "/v1/completions", self.path
                status, answer = 200, complete(models[body["model"]], tokenizer, body)
            except Exception as error:
                status, answer = 400, {"error": {"message": repr(error), "type": "BadRequestError", "code": 400}}
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments):
            pass

    with serving(Handler, bodies=[]) as server:
        yield server


def complete(model, tokenizer, body: dict) -> dict:
    """One completion. What vLLM refuses is refused: another shape than `(tokens, hidden)`, or no floating point."""
    assert body["prompt"] is None and body["temperature"] == 0
    data = base64.b64decode(body["prompt_embeds"], validate=True)
    embeds = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    assert embeds.dim() == 2 and embeds.shape[1] == model.config.hidden_size and embeds.is_floating_point()
    forbidden = [int(token) for token, bias in body.get("logit_bias", {}).items() if bias == -100]
    ids = model.generate(
        inputs_embeds=embeds[None].to(model.dtype),
        attention_mask=torch.ones(1, len(embeds), dtype=torch.long),
        max_new_tokens=body["max_tokens"],
        do_sample=False,
        suppress_tokens=forbidden,
    )[0]
    choice = {"index": 0, "text": tokenizer.decode(ids, skip_special_tokens=True), "finish_reason": "stop"}
    usage = {"prompt_tokens": len(embeds), "completion_tokens": len(ids), "total_tokens": len(embeds) + len(ids)}
    head = {"id": "cmpl-1", "object": "text_completion", "created": 0, "model": body["model"]}
    return {**head, "choices": [{**choice, "logprobs": None}], "usage": usage}
