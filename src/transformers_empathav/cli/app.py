"""`empathav app`: a web page to talk on."""

import os
from typing import Annotated

import typer

from .shared import Careful, Checkpoint, Int8, MaxNewTokens, MaxVectors, Recogniser, Temperature, TopP, writing_options


PASSWORD = "EMPATHAV_PASSWORD"
HOME = ("127.0.0.1", "localhost", "::1")


def web_page(
    checkpoint: Checkpoint,
    host: Annotated[str, typer.Option(help="Address to serve at; 0.0.0.0 for other machines, too.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port; the first free one from 7860.")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
    login: Annotated[
        str | None, typer.Option(help=f"Name that visitors give; their password is in {PASSWORD}.")
    ] = None,
    country: Annotated[
        str | None, typer.Option(help="ISO code: help lines of that country alone, such as GB; all by default.")
    ] = None,
    asr: Recogniser = None,
    max_vectors: MaxVectors = None,
    int8: Int8 = False,
    careful: Careful = True,
    max_new_tokens: MaxNewTokens = 96,
    temperature: Temperature = None,
    top_p: TopP = None,
    max_seconds: Annotated[float, typer.Option(min=1, help="Longest clip.")] = 120.0,
    max_megabytes: Annotated[int, typer.Option(min=1, help="Largest upload.")] = 64,
):
    """Open a web page to talk on: camera, microphone or a file, and text. Each visitor has an own conversation."""
    writing = writing_options(temperature, top_p, None)
    password = os.environ.get(PASSWORD, "")
    if login is not None and not password:
        raise ValueError(f"--login {login} has no password: set the environment variable {PASSWORD}.")

    from ..chat.responder import Responder
    from ..chat.safety import SafetyLexicon
    from ..chat.visit import Limits
    from ..chat.web import build_page, import_gradio, launch

    import_gradio()
    responder = Responder(
        checkpoint, asr=asr, max_vectors=max_vectors, safety=SafetyLexicon(country), int8=int8, careful=careful
    )
    responder.transcribe.load()
    limits = Limits(seconds=max_seconds, megabytes=max_megabytes)
    page = build_page(responder, limits, max_new_tokens=max_new_tokens, **writing)
    login = None if login is None else (login, password)
    _, address, _ = launch(page, limits, host, port, login, inbrowser=browser, prevent_thread_lock=True)
    print(f"The page is at {address} · Ctrl-C ends it.", flush=True)
    if host not in HOME and login is None:
        typer.echo("warning: everybody who reaches this address may talk here; --login asks for a name.", err=True)
    page.block_thread()
