"""Which replies response tuning learns, and with which emotion in the prompt."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

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

    def __post_init__(self):
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
    Prompts and replies of corpora, `{"id", "prompt", "completion"}`.

    Args:
        corpora (`list[str]`): Names or files, as `load_corpus` takes them.
        split (`str`): `train` or `dev`.
        most (`int`, *optional*): At most so many, drawn by `seed`; all by default.
        classify (`Callable`, *optional*):
            Texts to probabilities `(texts, 7)`. With `emotion_tags` it names the emotion of replies that nobody
            labelled; without it they are left out.

    Raises:
        `ValueError`: no reply is left to train on; of `dev` there may be none.
    """
    rows = reply_rows(
        [item for name in corpora for item in load_corpus(name, split)], arguments.max_turns, arguments.min_words
    )
    if arguments.emotion_tags and classify is None:
        rows = [row for row in rows if row["emotion"] is not None]
    if not rows and split == "train":
        raise ValueError(
            f"{', '.join(corpora)} ({split}) has no reply to train on: give conversations in which an assistant "
            "answers a user" + (", with the emotion of the reply, or a tag_scorer." if arguments.emotion_tags else ".")
        )
    if most is not None:
        rows = random.Random(seed).sample(rows, min(most, len(rows)))
    if arguments.emotion_tags:
        emotions = emotions_of(rows, classify)
        rows = [{**row, "prompt": bracketed(row["prompt"], emotion)} for row, emotion in zip(rows, emotions)]
    return [{name: row[name] for name in ("id", "prompt", "completion")} for row in rows]


def emotions_of(rows: list[dict], classify: Callable[[list[str]], np.ndarray] | None) -> list[str]:
    """The emotion of each reply: the label that a person gave it, else the likeliest one of the classifier."""
    unlabelled = [text_of(row["completion"][0]) for row in rows if row["emotion"] is None]
    named = iter([EMOTION_LABELS[index] for index in classify(unlabelled).argmax(axis=1)] if unlabelled else [])
    return [row["emotion"] or next(named) for row in rows]
