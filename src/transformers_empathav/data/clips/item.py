"""One labelled clip in the schema of the dialogues, and what the loaders of clips share."""

import logging
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from ...modeling.configuration_empathav import EMOTION_LABELS
from ..emotion_names import one_of_seven


logger = logging.getLogger(__name__)
SOUND_ENDINGS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac")
VIDEO_ENDINGS = (".mp4", ".m4v", ".mkv", ".webm", ".flv", ".avi", ".mov")


def clip_item(path: str | os.PathLike, emotion: str, speaker: str | None = None, text: str | None = None) -> dict:
    """
    A labelled clip as a conversation of one user message, `{"id", "messages": [{"role", "speaker"?, "emotion",
    "content": [clip, text?]}]}`.

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


def checked_emotion(label: str | None, where: str, label_map: Mapping[str, str | None] | None = None) -> str | None:
    """
    The emotion that a corpus's label means, one of the seven; `None` where `label_map` leaves such clips out. Usual
    names (anger, joy, ...) are known, in whatever case.

    Args:
        label (`str`, *optional*): As the corpus has it.
        where (`str`): What errors call the clip.
        label_map (`dict`, *optional*): One of the seven for other labels, or `None` to leave such clips out.

    Raises:
        `ValueError`: there is no label, or it is unknown and `label_map` does not name it.
    """
    label = (label or "").strip()
    if label_map and label in label_map:
        label = label_map[label]
    if label is None:
        return None
    if (emotion := one_of_seven(label)) in EMOTION_LABELS:
        return emotion
    if not label:
        raise ValueError(f"{where} has no emotion: label it or take it out of the corpus.")
    raise ValueError(
        f"{where} has the emotion {label!r}, which is none of {', '.join(EMOTION_LABELS)}: name one of them for it, "
        f'or None to leave such clips out, as in label_map={{"{label}": "neutral"}} (--label_map {label}=neutral).'
    )


def load_named_clips(
    folder: str | os.PathLike,
    pattern: re.Pattern,
    read: Callable[[re.Match], tuple[str, str, str | None] | None],
    example: str,
    label_map: Mapping[str, str | None] | None = None,
) -> list[dict]:
    r"""
    The clips of a corpus whose file names say everything, in `folder` and below. A warning counts other files.

    Args:
        pattern (`re.Pattern`): Matches the whole name of a clip without its ending.
        read (`Callable`): From the match to label, speaker and words (or `None`); `None` leaves the file out.
        example (`str`): A name for the error, such as `1001_DFA_ANG_XX.flv`.
        label_map (`dict`, *optional*): See [`checked_emotion`].

    Raises:
        `ValueError`: no file has such a name, or a label is unknown.
    """
    items, others = [], []
    for path in media_below(folder):
        name = pattern.fullmatch(path.stem)
        found = None if name is None else read(name)
        if found is None:
            others.append(path)
            continue
        label, speaker, text = found
        emotion = checked_emotion(label, str(path), label_map)
        if emotion is not None:
            items.append(clip_item(path, emotion, speaker, text))
    if others:
        logger.warning(
            f"{len(others)} files of {folder} are no speech named like {example} and are left out, {others[0].name} "
            "the first of them."
        )
    return some_clips(items, folder, f"named like {example}")


def media_below(folder: str | os.PathLike) -> list[Path]:
    """Sound and video files in a folder and below, in order of their names."""
    endings = SOUND_ENDINGS + VIDEO_ENDINGS
    return sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in endings)


def some_clips(items: list, where: str | os.PathLike, what: str) -> list:
    """
    The items, if there are any.

    Raises:
        `ValueError`: there are none.
    """
    if not items:
        raise ValueError(f"{where}: there are no clips {what}.")
    return items
