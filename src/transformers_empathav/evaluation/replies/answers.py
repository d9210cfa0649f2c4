"""What systems answer, and how it measures up."""

from dataclasses import dataclass

from ...measures.bootstrap import Scores
from ...measures.replies import Instruments, measure_replies
from ..content_cache import ContentCache
from ..results.figures import compare_systems, figures
from .gold_likelihood import gold_perplexity
from .systems import System
from .writing import Writing, write_replies


# What is shown of the history when a reply is written, to the variant that shows the same to `gold_perplexity`.
SHOWN = {"memory": "own", "none": "last_k", "full": "full"}


@dataclass
class Answers:
    """
    What one system answers.

    Args:
        rows (`list[dict]`): The contexts, of [`corpus_rows`].
        replies (`list[dict]`): Of [`write_replies`], one a row.
        gold ([`Scores`]): Perplexity of the replies that people gave.
    """

    rows: list[dict]
    replies: list[dict]
    gold: Scores


def answer(system: System, rows: list[dict], writing: Writing, cache: ContentCache, batch_size: int) -> Answers:
    """Writes replies to the prompts of `rows`, and measures the perplexity of those that people gave."""
    replies = write_replies(system, [row["prompt"] for row in rows], writing, cache, batch_size)
    gold = gold_perplexity(system, rows, cache, SHOWN[writing.history], writing.recent_turns, batch_size)
    return Answers(rows, replies, gold)


def measure_answers(answers: dict[str, Answers], instruments: Instruments, last: str, part: str = "systems") -> dict:
    r"""
    Measures answers to the same contexts.

    Args:
        answers (`dict[str, Answers]`): By the name of the system, or of the input that it was given.
        instruments ([`Instruments`]): What measures.
        last (`str`): Which of them is compared with each other one.
        part (`str`, *optional*, defaults to `"systems"`): What the names are names of.

    Returns:
        `dict`: `contexts` and `conversations` (counts), under the name `part` the [`figures`] of each, and the
        `comparisons` of [`compare_systems`].
    """
    groups = [row["conversation"] for row in answers[last].rows]
    scores = {name: measure_replies(one.rows, one.replies, instruments, one.gold) for name, one in answers.items()}
    return {
        "contexts": len(groups),
        "conversations": len(set(groups)),
        part: {name: figures(one, groups) for name, one in scores.items()},
        "comparisons": compare_systems(scores, {name: one.replies for name, one in answers.items()}, last, groups),
    }
