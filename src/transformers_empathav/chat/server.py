"""A server that speaks OpenAI's chat completions, for an EmpathAV checkpoint."""

import json
import logging
import threading
import traceback
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from ..processing.media_limits_empathav import MediaLimits
from .answering import Answerer
from .exchange import Cancelled, Exchange
from .known_beginnings import KnownBeginnings
from .reply import Reply
from .server_guard import Guard
from .server_metrics import Metrics
from .server_schema import Answer, ChatRequest, error_body, felt
from .shared_responder import SharedResponder
from .state_store import StateStore


logger = logging.getLogger(__name__)
RETRY_SECONDS = 2


@dataclass
class Settings:
    r"""
    Of a server.

    Args:
        name (`str`): What clients call the model.
        key (`str`, *optional*): API key that they must bring.
        allow_urls (`bool`): Whether addresses of clips are fetched; never private ones.
        clip (`MediaLimits`): On each clip.
        max_body (`int`): Bytes of a request.
        concurrency (`int`): Requests that are worked on at once.
        queue (`int`): Requests that wait besides; one more is refused.
        timeout (`float`): Seconds that a request may take.
        known_bytes (`int`): Bytes of beginnings of conversations that stay in memory.
    """

    name: str
    key: str | None = None
    allow_urls: bool = False
    clip: MediaLimits = field(default_factory=lambda: MediaLimits(max_seconds=60.0, max_bytes=16 * 2**20))
    max_body: int = 32 * 2**20
    concurrency: int = 32
    queue: int = 64
    timeout: float = 120.0
    known_bytes: int = 2**30


def load_app(
    checkpoint: str,
    settings: Settings,
    store: str | None = None,
    store_days: float = 30.0,
    asr: str | None = None,
    max_vectors: int | None = None,
    int8: bool = False,
    careful: bool = True,
) -> FastAPI:
    r"""
    Loads a checkpoint into an application of ASGI, for a process that does nothing else.

    Args:
        checkpoint (`str`): A directory of `empathav assemble`, or a Hub id.
        settings ([`Settings`]): Limits and names.
        store (`str`, *optional*): Where conversations are kept beyond this process, see [`StateStore`].
        store_days (`float`, *optional*, defaults to 30): They are deleted after.
        asr, max_vectors, int8, careful (*optional*): See [`Responder`].

    Raises:
        `ValueError`, `OSError`: the store or the checkpoint cannot be opened.
    """
    kept = None if store is None else StateStore(store, store_days)
    responder = SharedResponder(checkpoint, asr=asr, max_vectors=max_vectors, int8=int8, careful=careful)
    responder.transcribe.load()
    log_no_words()
    return create_app(responder, settings, kept)


def create_app(responder: SharedResponder, settings: Settings, store: StateStore | None = None) -> FastAPI:
    r"""
    The server as an application of ASGI.

    Args:
        responder ([`SharedResponder`]): Holds the checkpoint.
        settings ([`Settings`]): Limits and names.
        store ([`StateStore`], *optional*): Where conversations are kept beyond this process.
    """
    server = Server(responder, settings, store)
    app = FastAPI(title="EmpathAV", docs_url=None, redoc_url=None, lifespan=server.lifespan)
    app.add_middleware(Guard, max_bytes=settings.max_body, key=settings.key)
    app.post("/v1/chat/completions")(server.complete)
    app.get("/v1/models")(server.models)
    app.get("/v1/models/{name:path}")(server.model)
    app.get("/health")(server.health)
    app.get("/metrics")(server.metrics_text)
    app.exception_handler(RequestValidationError)(not_a_request)
    app.exception_handler(StarletteHTTPException)(refused)
    return app


class Server:
    """The endpoints, and what they share. Takes the arguments of [`create_app`]."""

    def __init__(self, responder: SharedResponder, settings: Settings, store: StateStore | None = None):
        self.responder, self.settings = responder, settings
        self.beginnings = KnownBeginnings(responder, settings.known_bytes, store)
        self.answerer = Answerer(responder, self.beginnings, settings.clip, settings.allow_urls)
        self.metrics = Metrics()
        self.pool = ThreadPoolExecutor(settings.concurrency, thread_name_prefix="answer")
        self.active, self._lock = 0, threading.Lock()

    @asynccontextmanager
    async def lifespan(self, app: FastAPI):
        yield
        self.pool.shutdown(cancel_futures=True)

    async def models(self) -> dict:
        return {"object": "list", "data": [self._model()]}

    async def model(self, name: str) -> dict:
        self._check_name(name)
        return self._model()

    async def health(self) -> dict:
        return {"status": "ok"}

    async def metrics_text(self) -> Response:
        self.metrics.active.set(self.active)
        self.metrics.rows.set(len(self.responder.batch.rows))
        self.metrics.known.set(len(self.beginnings))
        self.metrics.known_bytes.set(self.beginnings.nbytes)
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def complete(self, body: ChatRequest, request: Request) -> Response:
        self._check_name(body.model)
        with self._lock:
            if self.active >= self.settings.concurrency + self.settings.queue:
                self.metrics.requests.labels("429").inc()
                raise HTTPException(429, "The server is busy: try again.", {"Retry-After": str(RETRY_SECONDS)})
            self.active += 1
        exchange = Exchange(self.answerer, body, self.settings.timeout, self._finished)
        exchange.start(self.pool)
        pieces = self._pieces(exchange, request)
        try:
            first = await anext(pieces)
            if body.stream:
                stream = self._stream(first, pieces, body)
                return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
            replies = dict([first] if isinstance(first[1], Reply) else [])
            replies |= {choice: piece async for choice, piece in pieces if isinstance(piece, Reply)}
        except Exception as error:
            return self._failed(error)
        return JSONResponse(Answer(self.settings.name).whole([replies[choice] for choice in range(body.n)]))

    async def _pieces(self, exchange: Exchange, request: Request) -> AsyncIterator[tuple[int, str | Reply]]:
        """All that an exchange gives, counted. Whoever closes it ends the work."""
        left, first, status = exchange.body.n, True, "500"
        try:
            while left:
                choice, piece = await exchange.next(request.is_disconnected)
                if first:
                    self.metrics.first.observe(monotonic() - exchange.started)
                    self.metrics.messages.labels("known").inc(exchange.begun.known)
                    self.metrics.messages.labels("read").inc(exchange.begun.messages - exchange.begun.known)
                    first = False
                if isinstance(piece, Reply):
                    self.metrics.replied(piece)
                    left -= 1
                yield choice, piece
            status = "200"
        except Exception as error:
            status = str(status_of(error))
            raise
        except BaseException:
            status = str(status_of(Cancelled()))
            raise
        finally:
            exchange.cancel()
            self.metrics.requests.labels(status).inc()
            self.metrics.whole.observe(monotonic() - exchange.started)

    async def _stream(self, first, pieces, body: ChatRequest) -> AsyncIterator[str]:
        """Server-sent events of an answer."""
        answer, replies, begun = Answer(self.settings.name), [], set()
        try:
            choice, piece = first
            while True:
                if choice not in begun:
                    begun.add(choice)
                    yield event(answer.chunk(choice, {"role": "assistant", "content": ""}))
                if isinstance(piece, Reply):
                    replies.append(piece)
                    yield event(answer.chunk(choice, {}, piece.ended, empathav=felt(piece)))
                else:
                    yield event(answer.chunk(choice, {"content": piece}))
                choice, piece = await anext(pieces)
        except StopAsyncIteration:
            pass
        except Exception as error:
            yield event(json.loads(self._failed(error).body))
            return
        finally:
            await pieces.aclose()
        if body.stream_options.include_usage:
            yield event(answer.usage_chunk(replies))
        yield "data: [DONE]\n\n"

    def _failed(self, error: Exception) -> JSONResponse:
        """The answer to an error. What a visitor said may stand in its message, which is therefore not logged."""
        status = status_of(error)
        if status == 500:
            place = traceback.extract_tb(error.__traceback__)[-1]
            logger.error(f"A request failed: {type(error).__name__} in {place.filename}, line {place.lineno}.")
        said = {
            400: (str(error), "invalid_request_error"),
            499: ("The client has gone.", "cancelled"),
            504: (f"The answer took longer than {self.settings.timeout:g} s.", "timeout"),
        }
        return JSONResponse(error_body(*said.get(status, ("The server failed to answer.", "server_error"))), status)

    def _model(self) -> dict:
        return {"id": self.settings.name, "object": "model", "created": 0, "owned_by": "transformers-empathav"}

    def _check_name(self, name: str):
        if name != self.settings.name:
            raise HTTPException(404, f"There is no model of that name here: call it {self.settings.name!r}.")

    def _finished(self):
        with self._lock:
            self.active -= 1


def status_of(error: Exception) -> int:
    """HTTP status of an error; 499 where the client has gone."""
    kinds = {Cancelled: 499, TimeoutError: 504, ValueError: 400}
    return next((status for kind, status in kinds.items() if isinstance(error, kind)), 500)


def event(data: dict) -> str:
    return f"data: {json.dumps(data)}\n\n"


def log_no_words():
    """Warnings of this package may quote what a visitor sent. Those of the server do not."""
    package = __name__.partition(".")[0]
    logging.getLogger(package).setLevel(logging.ERROR)
    for module in ("server", "state_store"):
        logging.getLogger(f"{package}.chat.{module}").setLevel(logging.WARNING)


async def not_a_request(request: Request, error: RequestValidationError) -> JSONResponse:
    """What is wrong with a body, in one line."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:] if not str(part).isdigit() or len(first["loc"]) > 2)
    return JSONResponse(
        error_body(f"{where or 'The body'}: {first['msg']}.", "invalid_request_error", where or None), 400
    )


async def refused(request: Request, error: StarletteHTTPException) -> JSONResponse:
    kind = "rate_limit_error" if error.status_code == 429 else "invalid_request_error"
    code = {404: "model_not_found", 429: "rate_limit_exceeded"}.get(error.status_code)
    return JSONResponse(error_body(str(error.detail), kind, code=code), error.status_code, error.headers)
