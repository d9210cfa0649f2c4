"""One labelled clip in the schema of the dialogues: a conversation of one user message with its emotion."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from ...modeling.configuration_empathav import EMOTION_LABELS


logger = logging.getLogger(__name__)
SOUND_ENDINGS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac")
VIDEO_ENDINGS = (".mp4", ".m4v", ".mkv", ".webm", ".flv", ".avi", ".mov")


def clip_item(path: str | os.PathLike, emotion: str, speaker: str | None = None, text: str | None = None) -> dict:
    """
    One clip as a conversation of one user message.

    Raises:
        `ValueError`: the ending of `path` is neither that of a sound nor of a video file.
    """
    ending = Path(path).suffix.lower()
    if ending not in SOUND_ENDINGS + VIDEO_ENDINGS:
        raise ValueError(
            f"{path} ends in {ending or 'nothing'!r}: clips are sound ({', '.join(SOUND_ENDINGS)}) or video "
            f"({', '.join(VIDEO_ENDINGS)})."
        )
    content = [{"type": "audio" if ending in SOUND_ENDINGS else "video", "path": str(path)}]
    content += [{"type": "text", "text": text}] if text else []
    message = {"role": "user", "emotion": emotion, "content": content}
    message |= {} if speaker is None else {"speaker": speaker}
    return {"id": Path(path).stem, "messages": [message]}


def seven(label: str | None, where: str, label_map: Mapping[str, str | None] | None = None) -> str | None:
    """
    A corpus's label among the seven; `None` where `label_map` says that such clips are left out.

    Raises:
        `ValueError`: there is no label, or it is unknown and `label_map` does not name it.
    """
    label = (label or "").strip()
    if label_map and label in label_map:
        label = label_map[label]
    if label is None or label in EMOTION_LABELS:
        return label
    if not label:
        raise ValueError(f"{where} has no emotion: label it or take it out of the corpus.")
    raise ValueError(
        f"{where} has the emotion {label!r}, which is none of {', '.join(EMOTION_LABELS)}: name one of them for it, "
        f'or None to leave such clips out, as in label_map={{"{label}": "neutral"}}.'
    )


def media_below(folder: str | os.PathLike) -> list[Path]:
    endings = SOUND_ENDINGS + VIDEO_ENDINGS
    return sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in endings)


def tell_left_out(paths: list[Path], folder: str | os.PathLike, why: str):
    if paths:
        logger.warning(f"{len(paths)} files of {folder} {why} and are left out, {paths[0].name} the first of them.")


def found(items: list, where: str | os.PathLike, what: str) -> list:
    if not items:
        raise ValueError(f"{where}: there are no clips {what}.")
    return items
