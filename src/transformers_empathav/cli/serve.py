"""`empathav serve`: a server that speaks OpenAI's chat completions."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from .shared import Careful, Checkpoint, Int8, MaxVectors, Recogniser


KEY = "EMPATHAV_API_KEY"
MEBIBYTE = 2**20


def serve(
    checkpoint: Checkpoint,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 for all of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    name: Annotated[str | None, typer.Option(help="What clients call the model; the checkpoint's name.")] = None,
    store: Annotated[str | None, typer.Option(help="Where conversations are kept: directory, s3://..., ...")] = None,
    store_days: Annotated[float, typer.Option(min=0, help="Conversations in the store are deleted after.")] = 30.0,
    allow_urls: Annotated[bool, typer.Option(help="Fetch clips from public addresses.")] = False,
    max_body: Annotated[int, typer.Option(min=1, help="Largest request, in MiB.")] = 32,
    max_clip_seconds: Annotated[float, typer.Option(min=0.1, help="Longest clip.")] = 60.0,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests worked on at once.")] = 32,
    queue: Annotated[int, typer.Option(min=0, help="Requests that wait; one more is refused.")] = 64,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that a request may take.")] = 120.0,
    known: Annotated[int, typer.Option(min=0, help="MiB for conversations that need not be read again.")] = 1024,
    asr: Recogniser = None,
    max_vectors: MaxVectors = None,
    int8: Int8 = False,
    careful: Careful = True,
):
    """Serve OpenAI's chat completions at http://HOST:PORT/v1. EMPATHAV_API_KEY sets the key that clients bring."""
    try:
        import uvicorn

        from ..chat.server import Settings, load_app
    except ImportError as error:
        raise ImportError(f"The server needs {error.name}: pip install 'transformers-empathav[serve]'") from None
    from ..processing.media_limits_empathav import MediaLimits

    key = os.environ.get(KEY) or None
    if key is None and host not in ("127.0.0.1", "::1", "localhost"):
        print(f"warning: anybody who reaches {host} may use the server: set {KEY}.", file=sys.stderr)
    settings = Settings(
        name=name or Path(checkpoint).resolve().name,
        key=key,
        allow_urls=allow_urls,
        clip=MediaLimits(max_seconds=max_clip_seconds, max_bytes=max_body * MEBIBYTE),
        max_body=max_body * MEBIBYTE,
        concurrency=concurrency,
        queue=queue,
        timeout=timeout,
        known_bytes=known * MEBIBYTE,
    )
    app = load_app(checkpoint, settings, store, store_days, asr, max_vectors, int8, careful)
    uvicorn.run(app, host=host, port=port, timeout_graceful_shutdown=int(timeout) + 1, server_header=False)
