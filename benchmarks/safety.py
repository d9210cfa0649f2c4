"""
How well statements of acute danger are found.

    python benchmarks/safety.py

Reads `tests/chat/danger.jsonl`: 192 statements that the lexicon was built with, and 64 on which it was run once, when
it was done; half of each speak of a danger. With EMPATHAV_DATA also counts the alarms in MELD, EmpatheticDialogues and
ESConv (train and dev), and writes them to `--alarms`. The last line is one line of JSON.
"""

import argparse
import json
import os
from pathlib import Path

from transformers_empathav.chat.safety_lexicon import KINDS, danger_in
from transformers_empathav.data.dialogues.corpus import CORPORA, load_corpus


STATEMENTS = Path(__file__).parent.parent / "tests" / "chat" / "danger.jsonl"


def scores(rows: list[dict]) -> dict:
    """Found and false alarms, each of how many."""
    found = [(row["kind"], danger_in(row["text"])) for row in rows]
    result = {}
    for kind in (*KINDS, None):
        hits = [alarm is not None for said, alarm in found if said == kind]
        result[kind or "false alarms"] = [sum(hits), len(hits)]
    result["found"] = [sum(result[kind][0] for kind in KINDS), sum(result[kind][1] for kind in KINDS)]
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alarms", default="build/alarms.txt", help="File for the alarms in the corpora.")
    options = parser.parse_args()
    rows = [json.loads(line) for line in STATEMENTS.read_text(encoding="utf-8").splitlines()]
    result = {half: scores([row for row in rows if row["half"] == half]) for half in ("built", "held")}
    for half, counts in result.items():
        print(f"{half:<6}", ", ".join(f"{name} {some} of {every}" for name, (some, every) in counts.items()))
    if os.environ.get("EMPATHAV_DATA"):
        texts = {name: utterances(name) for name in CORPORA}
        alarms = {name: [text for text in said if danger_in(text)] for name, said in texts.items()}
        Path(options.alarms).parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{name}\t{danger_in(text)}\t{text}\n" for name, said in alarms.items() for text in said]
        Path(options.alarms).write_text("".join(lines), encoding="utf-8")
        result["corpora"] = {name: [len(alarms[name]), len(texts[name])] for name in CORPORA}
        for name, (count, every) in result["corpora"].items():
            print(f"{name}: {count} alarms in {every} utterances")
    print(json.dumps(result))


def utterances(corpus: str) -> list[str]:
    conversations = [*load_corpus(corpus, "train"), *load_corpus(corpus, "dev")]
    return [" ".join(message["content"].split()) for talk in conversations for message in talk["messages"]]


if __name__ == "__main__":
    main()
