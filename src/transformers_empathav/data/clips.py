"""Clips of acted or spoken emotion in the schema of the dialogues, each one message of a user with its emotion."""

import csv
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path

from ..modeling.configuration_empathav import EMOTION_LABELS
from .dialogues import MELD_EMOTIONS, load_jsonl, mend_quotes, read_csv


logger = logging.getLogger(__name__)

SOUND_ENDINGS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac")
VIDEO_ENDINGS = (".mp4", ".m4v", ".mkv", ".webm", ".flv", ".avi", ".mov")

# Fields of a RAVDESS name: modality, channel, emotion, intensity, statement, repetition, actor.
RAVDESS_NAME = re.compile(r"(0[1-3])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(\d\d)$")
RAVDESS_EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
RAVDESS_STATEMENTS = ("Kids are talking by the door.", "Dogs are sitting by the door.")
# Fields of a CREMA-D name: actor, sentence, emotion, level.
CREMAD_NAME = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_([A-Z]{2})$")
CREMAD_EMOTIONS = {
    "ANG": "angry",
    "DIS": "disgust",
    "FEA": "fearful",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}
CREMAD_SENTENCES = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
MELD_CLIP = re.compile(r"dia(\d+)_utt(\d+)$")


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


def load_ravdess(folder: str | os.PathLike, label_map: Mapping[str, str | None] | None = None) -> list[dict]:
    """
    RAVDESS by its file names (`03-01-05-02-01-01-12.wav`), in `folder` and below; speech alone, song is left out.

    Its eighth emotion, calm, is not among the seven: `label_map={"calm": "neutral"}` merges it, `{"calm": None}`
    leaves it out.
    """
    items, others = [], []
    for path in media_below(folder):
        name = RAVDESS_NAME.fullmatch(path.stem)
        if name is None or name[2] != "01":
            others.append(path)
            continue
        emotion = seven(RAVDESS_EMOTIONS[int(name[3]) - 1], str(path), label_map)
        if emotion is not None:
            items.append(clip_item(path, emotion, f"actor{name[7]}", RAVDESS_STATEMENTS[int(name[5]) - 1]))
    tell_left_out(others, folder, "are song or not named as in RAVDESS")
    return found(items, folder, "named as in RAVDESS, such as 03-01-05-02-01-01-12.wav")


def load_cremad(folder: str | os.PathLike, label_map: Mapping[str, str | None] | None = None) -> list[dict]:
    """CREMA-D by its file names (`1001_DFA_ANG_XX.flv`), in `folder` and below."""
    items, others = [], []
    for path in media_below(folder):
        name = CREMAD_NAME.fullmatch(path.stem)
        if name is None:
            others.append(path)
            continue
        emotion = seven(CREMAD_EMOTIONS.get(name[3], name[3]), str(path), label_map)
        if emotion is not None:
            items.append(clip_item(path, emotion, f"actor{name[1]}", CREMAD_SENTENCES.get(name[2])))
    tell_left_out(others, folder, "are not named as in CREMA-D")
    return found(items, folder, "named as in CREMA-D, such as 1001_DFA_ANG_XX.flv")


def load_meld_clips(table: str | os.PathLike, label_map: Mapping[str, str | None] | None = None) -> list[dict]:
    """
    Raw MELD: a csv file and its `dia*_utt*.mp4`, in the folder of the csv or in one below that names the same split.

    Names repeat over MELD's splits, so a folder `dev_splits_complete` is searched for `dev_sent_emo.csv` alone.
    A speaker is a name of the series. A row whose clip is missing counts, as any clip that cannot be read, when the
    features are prepared.

    Raises:
        `ValueError`: no clip at all is found.
    """
    table = Path(table)
    split = table.stem.split("_")[0]
    folders = [table.parent, *sorted(path for path in table.parent.glob(f"*{split}*") if path.is_dir())]
    clips = {path.stem: path for folder in folders for path in sorted(folder.glob("dia*_utt*.mp4"))}
    found(list(clips), table.parent, f"named dia*_utt*.mp4 beside {table.name} or in a folder *{split}*")
    items = []
    for row in read_csv(table):
        name = f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"
        emotion = seven(MELD_EMOTIONS.get(row["Emotion"], row["Emotion"]), f"{table}, {name}", label_map)
        if emotion is not None:
            path = clips.get(name, table.parent / f"{name}.mp4")
            items.append(clip_item(path, emotion, row["Speaker"], mend_quotes(row["Utterance"])))
            items[-1]["id"] = f"meld-{split}-{name}"
    return items


def load_labels(table: str | os.PathLike, label_map: Mapping[str, str | None] | None = None) -> list[dict]:
    """
    A csv file of your own with the columns `path` (from the folder of the csv) and `emotion`, and, where known,
    `speaker` (or `actor`) and `text`.

    Raises:
        `ValueError`: names the line without a path or a known emotion.
    """
    table, items = Path(table), []
    with open(table, encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if missing := {"path", "emotion"} - set(rows.fieldnames or ()):
            raise ValueError(
                f"{table} has no column {' and no column '.join(sorted(missing))}: its first line names them."
            )
        for row in rows:
            where = f"{table}, line {rows.line_num}"
            if not row["path"]:
                raise ValueError(f"{where} has no path: every line names a clip.")
            emotion = seven(row["emotion"], where, label_map)
            if emotion is not None:
                speaker = row.get("speaker") or row.get("actor") or None
                items.append(clip_item(table.parent / row["path"], emotion, speaker, row.get("text")))
                items[-1]["id"] = row["path"]
    return found(items, table, "listed there")


def load_clip_lines(path: str | os.PathLike, label_map: Mapping[str, str | None] | None = None) -> list[dict]:
    """
    JSON lines of conversations whose last message, a user's, has an `emotion` and a clip; only that message is kept.

    A relative `path` of a clip counts from the folder of the file.

    Raises:
        `ValueError`: names the conversation without a label or a clip.
    """
    path, items = Path(path), []
    for conversation in load_jsonl(path):
        where = f"{path}, {conversation['id']}"
        message = conversation["messages"][-1]
        parts = message["content"] if isinstance(message["content"], list) else []
        if message["role"] != "user" or not any(part.get("type") in ("audio", "video") for part in parts):
            raise ValueError(f"{where} does not end in a user's message with a clip: give it one, or leave it out.")
        emotion = seven(message.get("emotion"), where, label_map)
        if emotion is not None:
            parts = [
                {**part, "path": str(path.parent / part["path"])} if part.get("path") else dict(part) for part in parts
            ]
            items.append({"id": conversation["id"], "messages": [{**message, "emotion": emotion, "content": parts}]})
    return found(items, path, "in it")


def load_clip_corpus(source: str | os.PathLike, label_map: Mapping[str, str | None] | None = None) -> list[dict]:
    r"""
    Labelled clips from where `source` points: JSON lines, a MELD csv file (`*_sent_emo.csv`), another csv file with
    `path` and `emotion`, a folder with `labels.csv`, or a folder of files named as in RAVDESS or CREMA-D.

    Args:
        source (`str` or `os.PathLike`):
            A path, as it stands or below the folder that the environment variable `EMPATHAV_DATA` names.
        label_map (`dict`, *optional*):
            One of the seven emotions for a label of the corpus, or `None` to leave such clips out.

    Raises:
        `ValueError`: nothing is there, or a label is missing or unknown.
    """
    path = Path(source)
    if not path.exists() and os.environ.get("EMPATHAV_DATA"):
        path = Path(os.environ["EMPATHAV_DATA"]) / source
    if path.is_dir():
        if (path / "labels.csv").is_file():
            return load_labels(path / "labels.csv", label_map)
        stems = [file.stem for file in media_below(path)]
        if any(RAVDESS_NAME.fullmatch(stem) for stem in stems):
            return load_ravdess(path, label_map)
        if any(CREMAD_NAME.fullmatch(stem) for stem in stems):
            return load_cremad(path, label_map)
        if any(MELD_CLIP.fullmatch(stem) for stem in stems):
            raise ValueError(
                f"{path} holds clips of MELD without their labels: name its csv file, train_sent_emo.csv."
            )
    elif path.suffix == ".jsonl" and path.is_file():
        return load_clip_lines(path, label_map)
    elif path.suffix == ".csv" and path.is_file():
        return load_meld_clips(path, label_map) if path.stem.endswith("_sent_emo") else load_labels(path, label_map)
    raise ValueError(
        f"There are no labelled clips at {source!r}, as it stands or in the folder that EMPATHAV_DATA names: give "
        "JSON lines, a csv file with path and emotion, a folder with labels.csv, or one of RAVDESS or CREMA-D."
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
