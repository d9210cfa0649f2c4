"""Dialogue corpora in one schema: `{"id", "messages": [{"role", "speaker"?, "emotion"?, "content"}]}`."""

import csv
import json
import os
import random
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path


MELD_EMOTIONS = {
    "anger": "angry",
    "disgust": "disgust",
    "fear": "fearful",
    "joy": "happy",
    "neutral": "neutral",
    "sadness": "sad",
    "surprise": "surprised",
}
# The 32 labels of EmpatheticDialogues, in the sense that their situations have, brought to the seven.
EMPATHETIC_EMOTIONS = {
    "angry": ("angry", "annoyed", "furious", "jealous"),
    "disgust": ("disgusted",),
    "fearful": ("afraid", "anxious", "apprehensive", "terrified"),
    "happy": (
        "caring", "confident", "content", "excited", "faithful", "grateful", "hopeful", "joyful", "proud", "trusting",
        "anticipating", "impressed", "prepared",
    ),
    "sad": (
        "ashamed", "devastated", "disappointed", "embarrassed", "guilty", "lonely", "nostalgic", "sad", "sentimental",
    ),
    "surprised": ("surprised",),
}  # fmt: skip
ROLE_OF_ACTOR = {"speaker": "user", "listener": "assistant", "usr": "user", "sys": "assistant"}


def load_meld(folder: str | os.PathLike, split: str) -> list[dict]:
    """
    MELD's csv files: the role changes whenever the speaker does, names and emotions are kept.

    Args:
        folder (`str` or `os.PathLike`): Holds `train_sent_emo.csv` and `dev_sent_emo.csv`.
        split (`str`): `train`, `dev` or `test`.
    """
    dialogues = defaultdict(list)
    for row in read_csv(Path(folder) / f"{split}_sent_emo.csv"):
        messages = dialogues[row["Dialogue_ID"]]
        same_speaker = messages and messages[-1]["speaker"] == row["Speaker"]
        role = (
            messages[-1]["role"]
            if same_speaker
            else "assistant"
            if messages and messages[-1]["role"] == "user"
            else "user"
        )
        messages.append(
            {
                "role": role,
                "speaker": row["Speaker"],
                "emotion": MELD_EMOTIONS[row["Emotion"]],
                "content": mend_quotes(row["Utterance"]),
            }
        )
    return [{"id": f"meld-{split}-{key}", "messages": messages} for key, messages in dialogues.items()]


def load_empathetic_dialogues(folder: str | os.PathLike, split: str, dev_share: float = 0.05) -> list[dict]:
    """
    EmpatheticDialogues, a csv file for each of its emotions; the first user turn carries that emotion in the seven.

    The split is by dialogue, `dev_share` of them `dev` and the rest `train`, decided by the dialogue's id alone.
    """
    to_seven = {name: label for label, names in EMPATHETIC_EMOTIONS.items() for name in names}
    conversations = []
    for path in sorted(Path(folder).glob("*.csv")):
        dialogues = defaultdict(list)
        for row in read_csv(path):
            if row["Type"] == "utterance":
                message = {"role": ROLE_OF_ACTOR[row["Actor"]], "content": mend_quotes(row["Text"])}
                dialogues[row["Dialog_ID"]].append(message)
        for key, messages in dialogues.items():
            held_out = zlib.crc32(key.encode()) % 1000 < 1000 * dev_share
            if held_out == (split == "dev"):
                messages[0]["emotion"] = to_seven[path.stem]
                conversations.append({"id": f"empathetic-{key}", "messages": messages})
    return conversations


def load_esconv(folder: str | os.PathLike, split: str) -> list[dict]:
    """ESConv's JSON lines: seeker and supporter; `split` is `train` or `dev` (its file is called valid)."""
    path = Path(folder) / f"{'valid' if split == 'dev' else split}.jsonl"
    conversations = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        turns = json.loads(line)["dialog"]
        messages = [{"role": ROLE_OF_ACTOR[turn["speaker"]], "content": turn["text"].strip()} for turn in turns]
        conversations.append({"id": f"esconv-{split}-{number}", "messages": messages})
    return conversations


def load_locomo(path: str | os.PathLike) -> list[dict]:
    """LoCoMo's very long conversations of two friends, all sessions in order."""
    conversations = []
    for item in json.loads(Path(path).read_text(encoding="utf-8")):
        talk, messages = item["conversation"], []
        sessions = sorted(
            (key for key in talk if key.split("_")[-1].isdigit()), key=lambda key: int(key.split("_")[1])
        )
        for turn in (turn for session in sessions for turn in talk[session]):
            role = "user" if turn["speaker"] == talk["speaker_a"] else "assistant"
            messages.append({"role": role, "speaker": turn["speaker"], "content": turn["text"]})
        conversations.append({"id": f"locomo-{item['sample_id']}", "messages": messages})
    return conversations


def load_jsonl(path: str | os.PathLike) -> list[dict]:
    """
    Conversations of your own: one `{"id"?, "messages": [...]}` on each line.

    Raises:
        `ValueError`: names the line that is no conversation.
    """
    conversations = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        try:
            item = json.loads(line)
            messages = item["messages"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(
                f'{path}, line {number} is no conversation ({error!r}): write {{"messages": [...]}} on each line.'
            ) from None
        conversations.append({"id": item.get("id", f"{Path(path).stem}-{number}"), "messages": messages})
    return conversations


def load_corpus(name: str, split: str) -> list[dict]:
    """
    A corpus by name (`meld`, `empathetic_dialogues`, `esconv`) from the folder that `EMPATHAV_DATA` names, or
    JSON lines of your own by their path.
    """
    loaders = {"meld": load_meld, "empathetic_dialogues": load_empathetic_dialogues, "esconv": load_esconv}
    if name not in loaders:
        if not Path(name).is_file():
            raise ValueError(f"{name!r} is neither a file nor one of {', '.join(loaders)}.")
        return load_jsonl(name)
    root = os.environ.get("EMPATHAV_DATA")
    if not root:
        raise ValueError(
            f"{name} is looked for in the folder that the environment variable EMPATHAV_DATA names: set it."
        )
    return loaders[name](Path(root) / name, split)


def windows(conversations: list[dict], size: int, seed: int = 0, vary: bool = False) -> list[list[dict]]:
    """Consecutive, disjoint windows of `size` non-empty messages or the rest, shuffled; `vary` draws 1 to `size`."""
    cut, random_ = [], random.Random(seed)
    for conversation in conversations:
        messages = [message for message in conversation["messages"] if message["content"].strip()]
        start = 0
        while start < len(messages):
            end = start + (random_.randint(1, size) if vary else size)
            cut.append(messages[start:end])
            start = end
    random_.shuffle(cut)
    return cut


def read_csv(path: Path) -> Iterator[dict]:
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        yield from csv.DictReader(file)


def mend_quotes(text: str) -> str:
    """Stray Windows-1252 bytes that were read as control characters become the punctuation they stood for."""
    return "".join(
        character.encode("latin-1").decode("cp1252", "replace") if "\x80" <= character <= "\x9f" else character
        for character in text
    ).strip()
