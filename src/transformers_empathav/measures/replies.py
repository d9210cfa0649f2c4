"""All measures of the replies of one system, with what they need."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..data.replies import text_of
from ..data.valences import speaker_valence
from .bertscore import BertScore
from .bootstrap import Scores
from .emotional_fit import emotional_fit
from .epitome import Epitome
from .similarity import embedding_similarity, emotion_metrics_of_replies
from .specificity import specificity
from .strings import Distinct, bleu, length, meteor, rouge


# Measures of which less is better. Of `words` and `cut` neither more nor less is.
LESS_IS_BETTER = ("perplexity", "diff_emotional_reactions", "diff_interpretations", "diff_explorations")


@dataclass
class Instruments:
    r"""
    What measures beside those of strings need. A measure whose instrument is missing is left out.

    Args:
        emotion_labels (`Sequence[str]`): In the order of the scorers' distributions.
        emotion_scorers (`dict[str, Callable]`): By name, texts to distributions `(texts, emotions)`. Give one that did
            not choose the pairs of a preference training, and was trained on other data, beside the one that did.
        embed (`Callable`, *optional*): Texts to sentence embeddings `(texts, dimensions)`.
        bertscore ([`BertScore`], *optional*): For `bertscore_precision`, `_recall` and `_f1`.
        epitome ([`Epitome`], *optional*): For `diff_NAME` of each mechanism of empathy.
        likelihood (`Callable`, *optional*): A [`ReplyLikelihood`], for `specificity`, `context_retrieval` and
            `reply_perplexity`.
        specificity_contexts (`int`, *optional*): Replies that these three are measured of; all by default.
        specificity_choices (`int`, *optional*, defaults to 20): Contexts that each is held against, with its own.
    """

    emotion_labels: Sequence[str]
    emotion_scorers: dict[str, Callable] = field(default_factory=dict)
    embed: Callable | None = None
    bertscore: BertScore | None = None
    epitome: Epitome | None = None
    likelihood: Callable | None = None
    specificity_contexts: int | None = None
    specificity_choices: int = 20


def measure_replies(
    rows: list[dict], replies: list[dict], instruments: Instruments, gold: Scores | None = None
) -> dict[str, Scores]:
    r"""
    Every measure of a system's replies.

    Args:
        rows (`list[dict]`): Of [`reply_rows`].
        replies (`list[dict]`): Of [`write_replies`], one a row.
        gold ([`Scores`], *optional*): Of [`gold_perplexity`].

    Returns:
        `dict[str, Scores]`: by name; where an emotion scorer made a measure, its name stands in brackets.
    """
    said = [reply["text"] for reply in replies]
    found = {**measure_likeness(rows, said, instruments), **measure_in_context(rows, said, instruments)}
    if gold is not None:
        found["perplexity"] = gold
    found["cut"] = Scores.of_values([reply["cut"] for reply in replies])
    return found


def measure_likeness(rows: list[dict], said: list[str], instruments: Instruments) -> dict[str, Scores]:
    """What compares replies with those that people gave: in emotion, in meaning, in words."""
    wanted, labels = [text_of(row["completion"][0]) for row in rows], [row.get("emotion") for row in rows]
    indices = [None if label is None else instruments.emotion_labels.index(label) for label in labels]
    found: dict[str, Scores] = {}
    for name, scorer in instruments.emotion_scorers.items():
        measured = emotion_metrics_of_replies(said, wanted, indices, scorer)
        found |= {f"{measure} ({name})": scores for measure, scores in measured.items()}
    if instruments.embed is not None:
        found["embedding_similarity"] = embedding_similarity(said, wanted, instruments.embed)
    if instruments.bertscore is not None:
        found |= instruments.bertscore(said, wanted)
    if instruments.epitome is not None:
        found |= instruments.epitome([text_of(row["prompt"][-1]) for row in rows], said, wanted)
    return found | {"bleu": bleu(said, wanted), **rouge(said, wanted), "meteor": meteor(said, wanted)}


def measure_in_context(rows: list[dict], said: list[str], instruments: Instruments) -> dict[str, Scores]:
    """What needs no reply of a person: fit to the speaker's situation, to the context, variety and length."""
    valences, found = [speaker_valence(row) for row in rows], {}
    for name, scorer in instruments.emotion_scorers.items():
        measured = emotional_fit(said, valences, scorer, instruments.emotion_labels)
        found |= {f"{measure} ({name})": scores for measure, scores in measured.items()}
    if instruments.embed is not None:
        found["context_similarity"] = embedding_similarity(
            said, [text_of(row["prompt"][-1]) for row in rows], instruments.embed
        )
    if instruments.likelihood is not None:
        found |= measure_specificity(rows, said, instruments)
    return found | {"distinct_1": Distinct(said, 1), "distinct_2": Distinct(said, 2), "words": length(said)}


def measure_specificity(rows: list[dict], said: list[str], instruments: Instruments) -> dict[str, Scores]:
    """[`specificity`] of as many replies as the instruments say, evenly spread; the others do not count."""
    count = min(instruments.specificity_contexts or len(rows), len(rows))
    chosen = np.unique(np.linspace(0, len(rows) - 1, count).round().astype(int))
    some = [rows[index] for index in chosen]
    groups = [str(row.get("conversation", row["id"])) for row in some]
    measured = specificity(
        [row["prompt"] for row in some],
        [said[index] for index in chosen],
        groups,
        instruments.likelihood,
        instruments.specificity_choices,
    )
    return {name: scores.spread(chosen, len(rows)) for name, scores in measured.items()}


def length_matched(first: list[dict], second: list[dict], tolerance: float = 0.2) -> np.ndarray:
    """
    Indices of the rows where both replies have words and about as many: their numbers differ by `tolerance` of the
    longer one at most. Compare two systems on these rows by measures that favour longer replies.
    """
    counts = [[len(reply["text"].split()) for reply in replies] for replies in (first, second)]
    shorter, longer = np.minimum(*counts), np.maximum(*counts)
    return np.flatnonzero((shorter > 0) & (longer - shorter <= tolerance * longer))
