"""Stands before a server: who has the key comes in, with a body that is neither too large nor too slow."""

import asyncio
import hmac

from fastapi import HTTPException
from fastapi.responses import JSONResponse

from .server_schema import error_body


BODY_SECONDS = 60.0
OPEN = ("/health", "/metrics")


class Guard:
    r"""
    Middleware of ASGI.

    Args:
        app: What it stands before.
        max_bytes (`int`): Largest body.
        key (`str`, *optional*): What `Authorization: Bearer ...` must bring for all paths but `OPEN`.
    """

    def __init__(self, app, max_bytes: int, key: str | None = None):
        self.app, self.max_bytes, self.key = app, max_bytes, key

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if scope["path"] not in OPEN and not self._has_key(headers.get(b"authorization", "")):
            refused = error_body("The API key is missing or wrong.", "invalid_request_error", code="invalid_api_key")
            await self._refuse(401, refused, scope, receive, send)
        elif int(headers.get(b"content-length", 0)) > self.max_bytes:
            await self._refuse(413, error_body(self._too_large(), "invalid_request_error"), scope, receive, send)
        else:
            await self.app(scope, self._counted(receive), send)

    def _has_key(self, given: str) -> bool:
        return self.key is None or hmac.compare_digest(given.encode(), f"Bearer {self.key}".encode())

    def _too_large(self) -> str:
        return f"The request is larger than {self.max_bytes:,} bytes: send shorter or smaller clips."

    async def _refuse(self, status, body, scope, receive, send):
        # A client that still sends would not read the answer, so some of what it sends is taken, and dropped.
        left = 2 * self.max_bytes
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while left > 0 and (message := await receive()).get("more_body"):
                    left -= len(message["body"])
        except TimeoutError:
            pass
        await JSONResponse(body, status)(scope, receive, send)

    def _counted(self, receive):
        """`receive`, which raises where the body grows too large or takes too long."""
        ends, size, read = asyncio.get_running_loop().time() + BODY_SECONDS, 0, False

        async def counted():
            nonlocal size, read
            if read:
                return await receive()
            try:
                async with asyncio.timeout_at(ends):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"The request took longer than {BODY_SECONDS:g} s to come.") from None
            size, read = size + len(message.get("body", b"")), not message.get("more_body")
            if size > self.max_bytes:
                raise HTTPException(413, self._too_large())
            return message

        return counted
