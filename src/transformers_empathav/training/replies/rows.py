"""Which replies response tuning learns, and with which emotion in the prompt."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ...data.clips.corpus import load_clip_corpus
from ...data.clips.pairing import by_emotion, with_clip
from ...data.dialogues.corpus import load_corpus
from ...data.replies import bracketed, reply_rows, text_of
from ...modeling.configuration_empathav import EMOTION_LABELS


@dataclass
class ReplyArguments:
    """
    Replies of conversations, to train on and to measure by.

    Raises:
        `ValueError`: `tag_scorer` is given where no prompt says an emotion.
    """

    corpora: list[str] = field(default_factory=lambda: ["meld"], metadata={"help": "Corpora to train on."})
    eval_corpus: str | None = field(
        default=None, metadata={"help": "Corpus whose dev split is evaluated; all that are trained on by default."}
    )
    eval_rows: int = field(default=256, metadata={"help": "Rows of the dev split that are evaluated."})
    max_length: int | None = field(default=512, metadata={"help": "Positions of prompt and reply together."})
    recent_turns: int | None = field(default=None, metadata={"help": "Messages verbatim; older ones are compressed."})
    max_turns: int | None = field(default=None, metadata={"help": "Messages of a prompt, the newest; all by default."})
    min_words: int = field(default=1, metadata={"help": "Shorter replies are not trained on."})
    emotion_tags: bool = field(
        default=False,
        metadata={"help": "Whether the prompt says the emotion of the reply; those without one are left out."},
    )
    tag_scorer: str | None = field(
        default=None, metadata={"help": "Classifier (see emotion_scorer.py) that names it where no person did."}
    )
    train_rows: int | None = field(default=None, metadata={"help": "Rows to train on, drawn at random; all else."})
    shares: list[float] = field(
        default_factory=list,
        metadata={"help": "Share of train_rows of each corpus; a small corpus is repeated. As they come by default."},
    )
    memory_only: float = field(
        default=0.0, metadata={"help": "Share of rows of which all but the newest message is in the memory alone."}
    )
    clips: list[str] = field(
        default_factory=list,
        metadata={"help": "Clip corpora: a last user message with an emotion is given a clip of it (synthetic)."},
    )
    clip_share: float = field(
        default=0.3, metadata={"help": "Share of the rows with such an emotion that get a clip; all of `voiced` do."}
    )

    def __post_init__(self):
        if self.shares and (self.train_rows is None or len(self.shares) != len(self.corpora)):
            raise ValueError(
                f"shares has {len(self.shares)} numbers for {len(self.corpora)} corpora and train_rows is "
                f"{self.train_rows}: give one for each corpus, and the rows to share out as train_rows."
            )
        if self.shares and not (min(self.shares) >= 0 and sum(self.shares) > 0):
            raise ValueError(f"shares are {self.shares}: give numbers from 0 on, one of them above.")
        if self.tag_scorer is not None and not self.emotion_tags:
            raise ValueError(
                "tag_scorer names the emotion that emotion_tags writes into the prompt: set emotion_tags, or leave it "
                "out."
            )


def training_rows(
    arguments: ReplyArguments,
    corpora: list[str],
    split: str,
    most: int | None = None,
    seed: int = 0,
    classify: Callable[[list[str]], np.ndarray] | None = None,
) -> list[dict]:
    r"""
    Prompts and replies of corpora, `{"id", "prompt", "completion"}`, some with `recent_turns` of their own.

    Args:
        corpora (`list[str]`): Names or files, as `load_corpus` takes them.
        split (`str`): `train` or `dev`.
        most (`int`, *optional*): At most so many, drawn by `seed`; all by default.
        classify (`Callable`, *optional*):
            Texts to probabilities `(texts, 7)`. With `emotion_tags` it names the emotion of replies that nobody
            labelled; without it they are left out.

    Raises:
        `ValueError`: no reply is left to train on, or none of a corpus that shall have a share; of `dev` there may be
            none.
    """
    by_corpus = [reply_rows(load_corpus(name, split), arguments.max_turns, arguments.min_words) for name in corpora]
    if arguments.emotion_tags and classify is None:
        by_corpus = [[row for row in rows if row["emotion"] is not None] for rows in by_corpus]
    if not any(by_corpus) and split == "train":
        raise ValueError(
            f"{', '.join(corpora)} ({split}) has no reply to train on: give conversations in which an assistant "
            "answers a user" + (", with the emotion of the reply, or a tag_scorer." if arguments.emotion_tags else ".")
        )
    draw = random.Random(seed)
    shares = arguments.shares if split == "train" else []
    if empty := [name for name, rows, share in zip(corpora, by_corpus, shares) if share and not rows]:
        raise ValueError(f"{', '.join(empty)} ({split}) shall have a share and has no reply: leave it out.")
    rows = shared_out(by_corpus, shares, most, draw)
    if arguments.emotion_tags:
        emotions = emotions_of(rows, classify)
        rows = [{**row, "prompt": bracketed(row["prompt"], emotion)} for row, emotion in zip(rows, emotions)]
    rows = [{**row, "recent_turns": 1} if draw.random() < arguments.memory_only else row for row in rows]
    if arguments.clips or any(row.get("voiced") for row in rows):
        rows = with_clips(rows, arguments.clips, arguments.clip_share, draw)
    return [
        {name: row[name] for name in ("id", "prompt", "completion", "recent_turns") if name in row} for row in rows
    ]


def shared_out(by_corpus: list[list[dict]], shares: list[float], most: int | None, draw: random.Random) -> list[dict]:
    """At most `most` rows, drawn from all corpora as they come, or by the share of each; then a small one repeats."""
    if not shares:
        rows = [row for rows in by_corpus for row in rows]
        return rows if most is None else draw.sample(rows, min(most, len(rows)))
    drawn = []
    for rows, share in zip(by_corpus, shares):
        wanted = round(most * share / sum(shares))
        times, rest = divmod(wanted, max(len(rows), 1))
        drawn += [*(rows * times), *draw.sample(rows, rest)]
    return drawn


def with_clips(rows: list[dict], corpora: list[str], share: float, draw: random.Random) -> list[dict]:
    """
    The rows, some with a clip in the last user message that was acted in the emotion of its label; see [`with_clip`].
    Rows of `voiced` all get one. A message that has a clip keeps its own.

    Raises:
        `ValueError`: there is no clip of an emotion that a row of `voiced` needs.
    """
    acted, paired = by_emotion([clip for name in corpora for clip in load_clip_corpus(name)]), []
    for row in rows:
        message, voiced = row["prompt"][-1], row.get("voiced", False)
        emotion = message.get("emotion")
        if voiced and emotion not in acted:
            raise ValueError(
                f"{row['id']} is words that only a clip makes plain, and there is none that is {emotion}: name "
                "corpora that have one under clips."
            )
        own = not isinstance(message["content"], str) and any(part["type"] != "text" for part in message["content"])
        if voiced or (not own and emotion in acted and draw.random() < share):
            row = with_clip(row, draw.choice(acted[emotion])["messages"][-1]["content"][0])
        paired.append(row)
    return paired


def emotions_of(rows: list[dict], classify: Callable[[list[str]], np.ndarray] | None) -> list[str]:
    """The emotion of each reply: the label that a person gave it, else the likeliest one of the classifier."""
    unlabelled = [text_of(row["completion"][0]) for row in rows if row["emotion"] is None]
    named = iter([EMOTION_LABELS[index] for index in classify(unlabelled).argmax(axis=1)] if unlabelled else [])
    return [row["emotion"] or next(named) for row in rows]
