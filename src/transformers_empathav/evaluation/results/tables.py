"""results.json to tables in Markdown, and to the marked places of documents."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from ...measures.replies import LESS_IS_BETTER


START, END = "<!-- results:{name} -->", "<!-- /results -->"
# A marker has a line of its own, in YAML behind a #.
PLACE = re.compile(
    r"^([ \t]*(?:# )?<!-- results:([\w-]+) -->[ \t]*\n)(.*?)^([ \t]*(?:# )?<!-- /results -->)",
    flags=re.DOTALL | re.MULTILINE,
)
HEADLINE = ("emotional_similarity", "embedding_similarity", "perplexity", "words")
CORPUS_NAMES = {
    "empathetic_dialogues": ("EmpatheticDialogues", "facebook/empathetic_dialogues"),
    "meld": ("MELD", "declare-lab/MELD"),
    "esconv": ("ESConv", "thu-coai/esconv"),
}
VARIANT_NAMES = {
    "none": "the newest message alone",
    "last_k": "the newest {k} messages",
    "mean_pooled": "these, and averaged embeddings of the older ones",
    "other": "these, and another conversation's memory",
    "own": "these, and the memory of the older ones",
    "full": "all messages verbatim",
}


def tables(results: dict) -> dict[str, str]:
    """Every table of results.json by the name that its place in a document has."""
    found = {}
    for corpus, part in results.get("corpora", {}).items():
        name, count = slug(corpus), f"{part['contexts']} contexts of {part['conversations']} conversations"
        chosen = [measure for measure in measures_of(part["systems"]) if is_headline(measure)]
        found[f"headline-{name}"] = measure_table(part["systems"], count, chosen)
        found[f"replies-{name}"] = measure_table(part["systems"], count)
        if part["comparisons"]:
            found[f"comparisons-{name}"] = comparison_table(part["comparisons"])
        if "judge" in part:
            found[f"judge-{name}"] = judge_table(part["judge"])
    if "history" in results:
        found["history"] = "\n\n".join(map(history_markdown, results["history"]))
    if "emotion_input" in results:
        part = results["emotion_input"]
        count = (
            f"{part['contexts']} contexts of {part['corpus']}, {part['system']}; clips paired by emotion: synthetic"
        )
        found["emotion-input"] = measure_table(part["inputs"], count)
        found["emotion-input-comparisons"] = comparison_table(part["comparisons"])
    found["provenance"] = provenance(results)
    for name in results["systems"]:
        found[f"card-{slug(name)}"] = card_rows(results, name)
    return found


def slug(name: str) -> str:
    """A name as it stands in a marker."""
    return re.sub(r"\W+", "-", name.replace("_", "-")).strip("-")


def card_rows(results: dict, system: str) -> str:
    """The headline figures of a system as rows of YAML for the `results` of a card."""
    rows = []
    for corpus, part in results.get("corpora", {}).items():
        name, hub_id = CORPUS_NAMES.get(corpus, (corpus, None))
        for measure in measures_of(part["systems"]):
            if is_headline(measure) and measure in part["systems"][system]:
                one = part["systems"][system][measure]
                row = {
                    "metric": f"{measure.replace('_', ' ')}, {system}",
                    "value": one["value"],
                    "dataset": name,
                    "split": "dev",
                }
                row |= {"dataset_id": hub_id} if hub_id else {}
                row |= {"interval": [one["low"], one["high"]]} if "low" in one else {}
                row |= {"interval_name": "95 % bootstrap interval over conversations", "samples": one["n"]}
                row |= {"seed": results["settings"]["seed"], "command": "python recipes/evaluate.py"}
                rows.append(f"  - {json.dumps(row, ensure_ascii=False)}")
    return "\n".join(rows)


def measures_of(systems: dict[str, dict]) -> list[str]:
    """Measures that any system has: those named first in HEADLINE first, then by name."""
    names = {name for measured in systems.values() for name in measured}
    return sorted(names, key=lambda name: (not is_headline(name), name))


def is_headline(measure: str) -> bool:
    return measure.partition(" (")[0] in HEADLINE


def measure_table(systems: dict[str, dict], caption: str, chosen: Sequence[str] | None = None) -> str:
    """Systems as columns, measures as rows, each figure with its 95 % interval."""
    lines = [f"{caption}; 95 % intervals over conversations.", ""]
    lines += [f"| | {' | '.join(systems)} |", f"| --- |{' ---: |' * len(systems)}"]
    for measure in measures_of(systems) if chosen is None else chosen:
        cells = [with_interval(measured.get(measure)) for measured in systems.values()]
        arrow = " ↓" if measure in LESS_IS_BETTER else ""
        lines.append(f"| {measure.replace('_', ' ')}{arrow} | {' | '.join(cells)} |")
    return "\n".join(lines)


def comparison_table(comparisons: dict[str, dict]) -> str:
    """Each pair of systems: differences over all contexts, and over those where both replies are about as long."""
    lines = ["| | | all contexts | p | replies of equal length | p |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    for pair, part in comparisons.items():
        matched = part["length_matched"] or {}
        for measure in sorted(part["all"], key=lambda name: (not is_headline(name), name)):
            first, second = part["all"][measure], matched.get(measure)
            cells = [measure.replace("_", " "), signed(first), p_value(first), signed(second), p_value(second)]
            lines.append(f"| {pair} | {' | '.join(cells)} |")
            pair = ""
        lines.append(f"| | contexts | {first_count(part['all'])} | | {part['length_matched_contexts']} | |")
    return "\n".join(lines)


def history_markdown(part: dict) -> str:
    """Perplexity of the gold reply by what is shown of the history."""
    where = f"{part['contexts']} replies after more than {part['more_than']} messages, {part['conversations']} "
    lines = [f"{where}conversations of {part['corpus']}, {part['system']}; 95 % intervals over conversations.", ""]
    lines += ["| what is shown | perplexity ↓ | above all messages |", "| --- | ---: | ---: |"]
    for name, row in part["variants"].items():
        above = row.get("above_full")
        cell = "–" if above is None or name == "full" else percent(above)
        lines.append(f"| {VARIANT_NAMES[name].format(k=part['recent_turns'])} | {with_interval(row)} | {cell} |")
    lines += ["", "| perplexity of the memory minus that of | | p |", "| --- | ---: | ---: |"]
    for pair, row in part["differences"].items():
        shown = VARIANT_NAMES[pair.partition(" - ")[2]].format(k=part["recent_turns"])
        lines.append(f"| {shown} | {signed(row)} | {p_value(row)} |")
    return "\n".join(lines)


def judge_table(part: dict) -> str:
    """Ratings by a judge, and whether it agrees with itself when the replies change places."""
    lines = [f"Judge: {part['judge']}, 1 to 5, each pair rated in both orders.", ""]
    lines += ["| | | first | second | difference | p | same preference in both orders | alpha of both orders |"]
    lines += ["| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for pair, rated in part["pairs"].items():
        for scale, row in rated["scales"].items():
            alpha = "–" if row["alpha"] is None else f"{row['alpha']:.2f}"
            cells = [scale, with_interval(row["first"]), with_interval(row["second"]), signed(row["difference"])]
            cells += [p_value(row["difference"]), f"{row['same_preference']:.2f}", alpha]
            lines.append(f"| {pair} | {' | '.join(cells)} |")
            pair = ""
        lines.append(f"| | contexts | {rated['contexts']} | | | | | unreadable {rated['unreadable']} |")
    return "\n".join(lines)


def provenance(results: dict) -> str:
    """Checkpoints by digest, scorers, settings, versions."""
    lines = ["| | model | SHA-256 of its weights |", "| --- | --- | --- |"]
    for name, one in {**results["systems"], **results["instruments"]}.items():
        lines.append(f"| {name} | `{one['model']}` | `{one['digest'][:16]}` |")
    settings = ", ".join(f"{name} {value}" for name, value in sorted(results["settings"].items()))
    versions = ", ".join(f"{name} {value}" for name, value in sorted(results["versions"].items()))
    return "\n".join([*lines, "", f"Settings: {settings}. BLEU: `{results['bleu_signature']}`. Versions: {versions}."])


def with_interval(row: dict | None) -> str:
    if row is None:
        return "–"
    interval = f" ({number(row['low'])}–{number(row['high'])})" if "low" in row else ""
    return f"{number(row['value'])}{interval}"


def signed(row: dict | None) -> str:
    if row is None:
        return "–"
    interval = f" ({number(row['low'], '+')} to {number(row['high'], '+')})" if "low" in row else ""
    return f"{number(row['value'], '+')}{interval}"


def p_value(row: dict | None) -> str:
    if row is None or "p" not in row:
        return "–"
    return "< 0.001" if row["p"] < 0.001 else f"{row['p']:.3f}"


def percent(row: dict) -> str:
    interval = f" ({100 * row['low']:+.1f} to {100 * row['high']:+.1f} %)" if "low" in row else ""
    return f"{100 * row['value']:+.1f} %{interval}"


def number(value: float, sign: str = "") -> str:
    """Three decimals below 10, fewer above."""
    return f"{value:{sign}.{3 if abs(value) < 10 else 2 if abs(value) < 100 else 1}f}"


def first_count(measured: dict[str, dict]) -> int:
    return max(row["n"] for row in measured.values())


def fill(text: str, written: dict[str, str], name: str = "The document") -> str:
    """
    A document with the tables of results.json in their marked places.

    Raises:
        `ValueError`: a place names a table that there is not, or is not closed.
    """
    if text.count("<!-- results:") != len(PLACE.findall(text)):
        raise ValueError(f"{name} opens a place for results that is not closed: put {END} on a line after it.")

    def table(match):
        if match[2] not in written:
            raise ValueError(f"{name} wants the table {match[2]!r}: results.json has {', '.join(written)}.")
        return f"{match[1]}{written[match[2]]}\n{match[4]}"

    return PLACE.sub(table, text)


def whole_document(results: dict) -> str:
    """docs/results.md, where there is none yet: every table under a heading, to which words may be added."""
    parts = ["# Results\n\n`python recipes/evaluate.py --render results.json` writes the tables between markers.\n"]
    for name in tables(results):
        if name.startswith(("headline-", "card-")):
            continue
        parts.append(f"## {name.replace('-', ' ').capitalize()}\n\n{START.format(name=name)}\n{END}\n")
    return fill("\n".join(parts), tables(results))


def render(results: dict, documents: Sequence[str | os.PathLike]):
    """Fills the marked places of documents; one that does not exist becomes [`whole_document`]."""
    for path in map(Path, documents):
        if path.exists():
            text = fill(path.read_text(encoding="utf-8"), tables(results), str(path))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = whole_document(results)
        path.write_text(text, encoding="utf-8")


def read_results(path: str | os.PathLike) -> dict:
    """Reads results.json."""
    return json.loads(Path(path).read_text(encoding="utf-8"))
