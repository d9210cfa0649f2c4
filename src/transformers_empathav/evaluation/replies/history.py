"""How well a system finds the gold reply, by what it is shown of a long history."""

from dataclasses import dataclass, field
from pathlib import Path

from ..content_cache import ContentCache
from ..results.figures import history_table
from .contexts import corpus_rows, draw
from .gold_likelihood import VARIANTS, gold_perplexity
from .systems import System


@dataclass
class HistoryArguments:
    """Options of [`measure_history`]."""

    history_system: str | None = field(
        default=None, metadata={"help": "Whose perplexity is measured under each kind of history; none by default."}
    )
    history_corpus: str = field(default="esconv", metadata={"help": "Whose dev conversations are long enough."})
    history_more_than: int = field(default=12, metadata={"help": "Messages before the reply, at least one more."})
    history_contexts: int = field(default=500, metadata={"help": "Replies whose perplexity is measured."})
    history_recent_turns: list[int] = field(
        default_factory=list, metadata={"help": "Numbers of messages verbatim to measure with; else recent_turns."}
    )


def measure_history(
    arguments: HistoryArguments,
    system: System,
    cache: ContentCache,
    recent_turns: int | None,
    batch_size: int,
    seed: int,
) -> list[dict]:
    r"""
    Perplexities of gold replies under each of `VARIANTS` of the history.

    Args:
        arguments ([`HistoryArguments`]): Which replies, and how many messages stay verbatim.
        system ([`System`]): Whose perplexity is measured.
        cache ([`ContentCache`]): Where losses are kept.
        recent_turns (`int`, *optional*): Messages verbatim where `arguments` names no number; the processor's own by
            default.
        batch_size (`int`): Replies at once.
        seed (`int`): Of the draw.

    Returns:
        `list[dict]`: For each number of verbatim messages what was measured, and the [`history_table`].
    """
    rows = corpus_rows(arguments.history_corpus, arguments.history_more_than)
    rows = draw(rows, arguments.history_contexts, seed)
    groups, found = [row["conversation"] for row in rows], []
    for recent in arguments.history_recent_turns or [recent_turns or system.processor.recent_turns]:
        scores = {variant: gold_perplexity(system, rows, cache, variant, recent, batch_size) for variant in VARIANTS}
        part = {
            "corpus": Path(arguments.history_corpus).stem,
            "system": system.name,
            "contexts": len(rows),
            "conversations": len(set(groups)),
            "more_than": arguments.history_more_than,
            "recent_turns": recent,
        }
        found.append(part | history_table(scores, groups))
    return found
