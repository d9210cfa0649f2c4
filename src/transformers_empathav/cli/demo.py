"""`empathav demo`: a conversation with real clips."""

from pathlib import Path
from typing import Annotated

import typer

from .shared import Checkpoint


def demo(
    checkpoint: Checkpoint,
    clips: Annotated[Path, typer.Option(help="Where the demonstration clips are kept.")] = Path("build/demo_clips"),
    picture: Annotated[Path | None, typer.Option(help="SVG to write: the terminal as it was shown.")] = None,
):
    """Play a three-turn conversation with real clips of a face and a voice (CREMA-D)."""
    from ..chat.conversation import Conversation
    from ..chat.recall import contents, recall
    from ..chat.responder import Responder
    from ..chat.terminal import Screen
    from ..data.clips.demo import LICENSE, save_demo_clips
    from ..hub.card_facts import read_assembly

    paths, screen, assembly = save_demo_clips(clips), Screen(), read_assembly(checkpoint)
    responder = Responder(checkpoint)
    screen.heading(f"CREMA-D: one sentence in six acted emotions ({LICENSE})")
    if "extractor.safetensors" not in assembly.get("trained", ()):
        screen.note(
            "The emotion extractor of this checkpoint is not trained yet: the bars are what the language model "
            "guesses without looking, and the reply rests on the words alone."
        )
    conversation = Conversation(responder)
    for number, acted in enumerate(("sad", "angry", "happy"), 1):
        reply = conversation.say(clips=[paths[acted]], max_new_tokens=64)
        screen.heading(f"Turn {number}: {paths[acted].name}, acted as {acted}")
        screen.reply(reply)
    conversation.compress()  # the newest words, too, to show what becomes of them
    memory = conversation.memory
    if assembly.get("adapter"):
        screen.note(
            f"The conversation is in {memory.num_vectors} vectors. Words are read out of a memory by the "
            "language model as it was when the compressor learned, which is a checkpoint without an adapter."
        )
    elif "compressor.safetensors" in assembly.get("trained", ()):
        screen.heading("What the language model reads out of the memory, a few vectors an utterance")
        texts = recall(responder.model, responder.processor, memory)
        screen.memory(memory, contents(memory, texts))
    if picture is not None:
        screen.save_picture(picture, f"empathav demo {checkpoint}")
