"""All measures of the replies of one system, with what they need."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..data.replies import text_of
from .bertscore import BertScore
from .bootstrap import Scores
from .epitome import Epitome
from .similarity import embedding_similarity, emotion_metrics_of_replies
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
    """

    emotion_labels: Sequence[str]
    emotion_scorers: dict[str, Callable] = field(default_factory=dict)
    embed: Callable | None = None
    bertscore: BertScore | None = None
    epitome: Epitome | None = None


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
    said, wanted = [reply["text"] for reply in replies], [text_of(row["completion"][0]) for row in rows]
    labels = [row.get("emotion") for row in rows]
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
    if gold is not None:
        found["perplexity"] = gold
    found |= {"bleu": bleu(said, wanted), **rouge(said, wanted), "meteor": meteor(said, wanted)}
    found |= {"distinct_1": Distinct(said, 1), "distinct_2": Distinct(said, 2), "words": length(said)}
    found["cut"] = Scores.of_values([reply["cut"] for reply in replies])
    return found


def length_matched(first: list[dict], second: list[dict], tolerance: float = 0.2) -> np.ndarray:
    """
    Indices of the rows where both replies have words and about as many: their numbers differ by `tolerance` of the
    longer one at most. Compare two systems on these rows by measures that favour longer replies.
    """
    counts = [[len(reply["text"].split()) for reply in replies] for replies in (first, second)]
    shorter, longer = np.minimum(*counts), np.maximum(*counts)
    return np.flatnonzero((shorter > 0) & (longer - shorter <= tolerance * longer))
