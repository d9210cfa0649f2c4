"""Saves a tiny random checkpoint and makes synthetic conversations with clips, to try a recipe in seconds."""

import os
from pathlib import Path

import av
import numpy as np
from accelerate import PartialState

from .tiny import tiny_model, tiny_processor


# Per emotion: what the user says, a fitting reply, and a reply of the opposite emotion.
EMOTIONS = {
    "sad": ("I lost my job", "Oh no, I am so sorry", "Ha, how funny"),
    "happy": ("We won the cup", "How wonderful for you", "What a pity, so sad"),
    "angry": ("They broke my bike", "That is so unfair", "Lovely, what a joy"),
    "fearful": ("I hear steps outside", "Stay calm, I am with you", "Great, let us dance"),
}
SECONDS, RATE, SIDE, FPS = 0.5, 16000, 64, 8


def save_tiny_checkpoint(directory: str | os.PathLike, seed: int = 0) -> Path:
    """Saves a random checkpoint with its processor, unless the directory holds one."""
    directory = Path(directory)
    if not (directory / "processor_config.json").is_file():
        processor = tiny_processor()
        tiny_model(processor, seed).save_pretrained(directory)
        processor.save_pretrained(directory)
    return directory


def save_tiny_run(directory: str | os.PathLike, count: int = 40) -> tuple[str, list[dict]]:
    """
    What a recipe needs to run from nothing: a tiny checkpoint in `directory`, whose path is returned, and
    [`tiny_conversations`] with their clips below it. The first process writes them, the others find them.
    """
    with PartialState().main_process_first():
        checkpoint = save_tiny_checkpoint(directory)
        rows = tiny_conversations(checkpoint / "clips", count)
    return str(checkpoint), rows


def tiny_conversations(directory: str | os.PathLike, count: int, seed: int = 0) -> list[dict]:
    r"""
    Makes synthetic conversations. Each ends in a clip (a tone and a grey picture) with text; every second one begins
    with six older messages, which become history.

    Args:
        directory (`str` or `os.PathLike`): Where clips are written, unless they are there.
        count (`int`): Number of conversations.
        seed (`int`, *optional*, defaults to 0): Seed of the emotional distances.

    Returns:
        `list[dict]`: `id`, `prompt`, `right` and `wrong` (messages of the assistant) and `emotional_distance`.
    """
    rng, rows, names = np.random.default_rng(seed), [], list(EMOTIONS)
    for index in range(count):
        emotion = names[index % len(names)]
        said, right, wrong = EMOTIONS[emotion]
        prompt = [message("assistant" if turn % 2 else "user", f"Hello {turn}") for turn in range(6 * (index % 2))]
        clip = tiny_clip(Path(directory) / f"{emotion}.mp4", 200.0 * (1 + names.index(emotion)))
        prompt.append({"role": "user", "content": [part("video", path=str(clip)), part("text", text=said)]})
        rows.append(
            {
                "id": f"tiny-{index}",
                "prompt": prompt,
                "right": [message("assistant", right)],
                "wrong": [message("assistant", wrong)],
                "emotional_distance": round(float(rng.uniform(0.3, 1.0)), 3),
            }
        )
    return rows


def tiny_clip(path: Path, pitch: float) -> Path:
    """Writes a clip of half a second, unless it exists: a tone of `pitch` Hz and a grey that depends on it."""
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.mp4")
    with av.open(str(partial), "w") as container:
        video = container.add_stream("mpeg4", rate=FPS)
        video.width = video.height = SIDE
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=RATE, layout="mono")
        shade = np.full((SIDE, SIDE, 3), int(pitch / 4) % 256, dtype=np.uint8)
        for _ in range(int(SECONDS * FPS)):
            container.mux(video.encode(av.VideoFrame.from_ndarray(shade, format="rgb24")))
        tone = 0.3 * np.sin(2 * np.pi * pitch * np.arange(int(SECONDS * RATE)) / RATE)
        frame = av.AudioFrame.from_ndarray(tone[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = RATE
        for packets in (audio.encode(frame), video.encode(), audio.encode()):
            container.mux(packets)
    os.replace(partial, path)
    return path


def message(role: str, text: str) -> dict:
    """A message with one text part."""
    return {"role": role, "content": [part("text", text=text)]}


def part(kind: str, **fields) -> dict:
    """A part of a message, of type `kind`."""
    return {"type": kind, **fields}
