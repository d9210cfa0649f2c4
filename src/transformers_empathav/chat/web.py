"""A web page to talk on, with Gradio: camera, microphone or file, and text. Each visitor has an own conversation."""

import base64
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from . import web_show as show
from .reply import Reply
from .visit import Limits, Visit


if TYPE_CHECKING:
    import gradio

    from .responder import Responder

logger = logging.getLogger(__name__)
RESPONSIBLE_USE = Path(__file__).with_name("responsible_use.md")
WELCOME = (
    "# Empathetic conversation\n"
    "A research program, **no therapist and no crisis help**. It guesses emotions and is often wrong. What you say is "
    "forgotten within an hour after you leave; only you can save it. [Responsible use](#responsible-use)"
)
CSS = """
.wrong { color: #b00020; font-weight: 600; } .dark .wrong { color: #ff8a80; }
#help { border: 2px solid #b00020; border-radius: 8px; padding: .6rem 1rem; } #help:not(:has(li)) { display: none; }
#status p, #help p { margin: .2rem 0; } #help ul { columns: 18rem; margin: 0; } #help li { break-inside: avoid; }
:focus-visible { outline: 3px solid #0f766e !important; outline-offset: 2px; }
"""
FONT = ["system-ui", "sans-serif"]
CONTRAST = {  # of words with what is behind them: 4.5 to 1 at least
    "button_primary_background_fill": "*primary_700",
    "button_primary_background_fill_dark": "*primary_700",
    "button_primary_background_fill_hover": "*primary_800",
    "block_info_text_color": "*neutral_600",
}
# Screen readers are told what changes; Gradio's wrappers stay while their content is replaced.
ROLES = """() => {
    document.documentElement.lang = "en";
    document.getElementById("status").setAttribute("role", "status");
    document.getElementById("help").setAttribute("role", "alert");
}"""
DOWNLOAD = """(data) => {
    if (!data) return "";
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([bytes]));
    link.download = "conversation.safetensors";
    link.click();
    URL.revokeObjectURL(link.href);
    return "";
}"""
FOCUS = '() => document.querySelector("#message textarea").focus()'


def build_page(responder: "Responder", limits: Limits | None = None, **generation) -> "gradio.Blocks":
    r"""
    The page, to be launched with [`launch`] or mounted in an app of your own.

    Args:
        responder ([`Responder`]): Holds the checkpoint, for all visitors.
        limits ([`Limits`], *optional*): What a visitor may send.
        generation: Options of [`Conversation.say`], such as `max_new_tokens`.

    Raises:
        `ImportError`: gradio is missing.
    """
    gr = import_gradio()
    limits, labels = limits or Limits(), responder.model.config.emotion_labels
    alone = {"concurrency_limit": 1, "concurrency_id": "checkpoint"}  # one visitor's turn at a time
    hidden = {"api_visibility": "private", "show_progress": "minimal"}

    def leave(visit: Visit | None):
        """Drops what Gradio remembers of a page that was closed: it has the values of all components."""
        if visit is not None:
            page.state_holder.session_data.pop(visit.session, None)

    with gr.Blocks(title="Empathetic conversation", analytics_enabled=False, delete_cache=(600, 600)) as page:
        visit = gr.State(time_to_live=24 * 3600, delete_callback=leave)  # made when the page is opened
        gr.Markdown(WELCOME)
        with gr.Row():
            with gr.Column(scale=3, min_width=320):
                chat = gr.Chatbot(label="Conversation", height=420, render_markdown=False, buttons=[], elem_id="chat")
                helping = gr.HTML(elem_id="help")
                status = gr.HTML(elem_id="status")
                message = gr.Textbox(
                    label="Your message",
                    info="What was heard comes here: correct it before you send it.",
                    lines=1,
                    max_lines=8,
                    elem_id="message",
                    autofocus=True,
                )
                with gr.Row():
                    send = gr.Button("Send", variant="primary", min_width=90)
                    stop = gr.Button("Stop the reply", min_width=90)
                with gr.Accordion("Speak: camera, microphone or a file", open=True):
                    with gr.Tab("Camera"):
                        camera = gr.Video(
                            sources=["webcam"],
                            include_audio=True,
                            label="Record yourself",
                            webcam_options=gr.WebcamOptions(mirror=False),
                            height=260,
                        )
                    with gr.Tab("Microphone"):
                        microphone = gr.Audio(sources=["microphone"], type="filepath", label="Record your voice")
                    with gr.Tab("File"):
                        upload = gr.UploadButton(f"Choose a clip, at most {limits.seconds:g} s", type="filepath")
                    drop = gr.Button("Discard what was heard", size="sm")
            with gr.Column(scale=2, min_width=320):
                reading = gr.HTML()
                scores = gr.Label(label="Emotion of the newest message", show_heading=False)
                plot = gr.LinePlot(
                    x="turn",
                    y="probability",
                    color="emotion",
                    y_lim=[0, 1],
                    label="Emotions over time",
                    x_axis_format="d",
                    elem_id="plot",
                    color_map=show.colours(labels),
                    colors_in_legend=[],  # Vega would cut it where the page is narrow
                )
                gr.HTML(show.legend(labels))
                memory = gr.Markdown()
                with gr.Accordion("Save, reopen, forget", open=True):
                    with gr.Row():
                        save = gr.Button("Save to a file", min_width=120)
                        reopen = gr.UploadButton("Reopen a file", type="filepath", min_width=120)
                        new = gr.Button("New conversation", min_width=120)
                    forgotten = gr.Dropdown([], multiselect=True, label="Messages to forget")
                    forget = gr.Button("Forget them")
        with gr.Accordion("Responsible use", open=False, elem_id="responsible-use"):
            gr.Markdown(RESPONSIBLE_USE.read_text(encoding="utf-8"))
        saved = gr.Textbox(visible=False)

        sides = [reading, scores, plot, memory, forgotten, helping]
        turn = [visit, chat, message, status, send, *sides]

        def beside(visit: Visit) -> list:
            """What stands beside the conversation."""
            read, found = show.newest_emotion(visit)
            left = gr.Dropdown(show.choices(visit), value=[])
            text = show.status(f"Read as: {read}") if read else ""
            turns = len(visit.conversation.emotions)
            lines = gr.LinePlot(show.over_time(visit), x_lim=[1, max(turns, 9)])
            return [text, found, lines, show.memory(visit), left, show.help_lines(visit.safety)]

        def whole(visit: Visit, note: str = "", wrong: bool = False, text: str | None = None) -> list:
            """All of a turn: the conversation, the message box, a note, and what stands beside."""
            box, ready = gr.skip() if text is None else text, gr.Button(interactive=True)
            return [visit, show.messages(visit), box, show.status(note, wrong), ready, *beside(visit)]

        def come(request: gr.Request) -> list:
            visit = Visit(responder, limits, **generation)
            visit.session = request.session_hash
            return whole(visit)

        def answer(visit: Visit, text: str) -> Iterator[list]:
            written, same = "", [gr.skip()] * (len(sides) - 1)
            busy = gr.Button(interactive=False)
            try:
                yield [visit, show.messages(visit, text), "", show.status("Reading …"), busy, *same, gr.skip()]
                for piece in visit.say(text):
                    if not isinstance(piece, Reply):
                        written += piece
                        shown = show.messages(visit, text, written)
                        lines = show.help_lines(visit.conversation.safety or visit.safety)
                        yield [visit, shown, gr.skip(), show.status("Writing …"), busy, *same, lines]
            except (ValueError, OSError) as error:
                yield whole(visit, str(error), wrong=True, text=text[: limits.characters])
            except Exception:  # whoever talks can go on; whoever serves the page reads what it was
                logger.exception("A turn on the page failed")
                yield whole(visit, "The reply failed, and this turn is not kept: try again.", wrong=True, text=text)
            else:
                yield whole(visit, "Stopped." if visit.stopped.is_set() else "")

        def listen(visit: Visit, path: str | None, text: str) -> list:
            if path is None:  # cleared
                return [visit, None, text, gr.skip(), gr.skip(), gr.skip()]
            try:
                heard = visit.hear(path, transcribe=not text.strip())
            except (ValueError, OSError) as error:
                return [visit, None, text, show.status(str(error), wrong=True), *beside(visit)[:2]]
            reading = show.with_view(heard.reading, heard.view)
            note = f"{Path(path).name} was heard: {reading}. Correct the words, then send them."
            return [visit, None, text if text.strip() else heard.text, show.status(note), *beside(visit)[:2]]

        def discard(visit: Visit, text: str) -> list:
            words = "" if visit.heard is None else visit.heard.text
            visit.heard = None
            return [visit, "" if text == words else text, show.status("Discarded."), *beside(visit)[:2]]

        def changed(action: Callable[[Visit], str]) -> Callable:
            """A change of the whole conversation, which says what it did or why it could not."""

            def change(visit: Visit, *given) -> list:
                try:
                    return whole(visit, note=action(visit, *given))
                except (ValueError, OSError) as error:
                    return whole(visit, note=str(error), wrong=True)

            return change

        def forget_them(visit: Visit, turns: list[int]) -> str:
            if not turns:
                raise ValueError("Nothing is chosen: choose the messages to forget.")
            visit.forget(turns)
            return f"Forgotten. {len(visit.conversation)} messages are remembered."

        def begin(visit: Visit) -> str:
            visit.begin()
            return "A new conversation."

        def go_on(visit: Visit, path: str) -> str:
            visit.reopen(path)
            return f"Reopened: {len(visit.conversation)} messages are remembered."

        def pack(visit: Visit) -> list:
            return [base64.b64encode(visit.pack()).decode(), show.status("Saved among your downloads.")]

        page.load(come, None, turn, js=ROLES, **hidden)
        for event in (send.click, message.submit):
            event(answer, [visit, message], turn, **alone, **hidden).then(None, js=FOCUS)
        stop.click(lambda visit: visit.stop(), visit, queue=False, **hidden)
        for source, event in (
            (camera, camera.stop_recording),
            (microphone, microphone.input),
            (upload, upload.upload),
        ):
            heard = [visit, source, message, status, reading, scores]
            event(listen, [visit, source, message], heard, **alone, **hidden).then(None, js=FOCUS)
        drop.click(discard, [visit, message], [visit, message, status, reading, scores], **hidden)
        forget.click(changed(forget_them), [visit, forgotten], turn, **alone, **hidden)
        for event in (new.click, chat.clear):
            event(changed(begin), visit, turn, **alone, **hidden)
        reopen.upload(changed(go_on), [visit, reopen], turn, **alone, **hidden)
        save.click(pack, visit, [saved, status], **hidden).then(None, saved, saved, js=DOWNLOAD)
    return page.queue(max_size=64)


def launch(
    page: "gradio.Blocks", limits: Limits, host: str, port: int | None, login: tuple[str, str] | None, **options
):
    """
    Serves a page of [`build_page`] until it is interrupted. Nothing is sent to Gradio's makers, no run is recorded.

    Args:
        login (`tuple[str, str]`, *optional*): Name and password that a visitor must give.
        options: Further arguments of `gradio.Blocks.launch`.
    """
    gr = import_gradio()
    return page.launch(
        server_name=host,
        server_port=port,
        auth=login,
        max_file_size=limits.megabytes * 2**20,
        css=CSS,
        theme=gr.themes.Default(primary_hue="teal", font=FONT, font_mono=FONT).set(**CONTRAST),
        footer_links=[],
        share=False,
        quiet=True,
        run_history=False,  # it would keep what is said in the browser
        ssr_mode=False,
        show_error=False,
        **options,
    )


def import_gradio():
    try:
        import gradio
    except ImportError:
        raise ImportError("The page needs gradio: pip install gradio") from None
    return gradio
