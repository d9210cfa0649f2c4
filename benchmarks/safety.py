"""
How well statements of acute danger are found: by the lexicon, by the language model's states, by either, and with
those that are in doubt, to which no cheerful reply is given.

    python benchmarks/safety.py

Reads `tests/chat/danger.jsonl`: 192 statements that the lexicon was built with (and the states were trained on), and
64 on which it was run once, when it was done; half of each speak of a danger. Then the splits `dev` and `test` of the
corpus `danger`, most of which say it in a roundabout way. The states are those of `--checkpoint`, each statement being
the first message of a conversation. With EMPATHAV_DATA also counts the alarms of the lexicon in MELD,
EmpatheticDialogues and ESConv (train and dev), and writes them to `--alarms`; those of the states are in the report of
`recipes/danger.py`. The last line is one line of JSON.
"""

import argparse
import json
import os
from pathlib import Path

from transformers_empathav.chat.responder import Responder
from transformers_empathav.chat.safety_lexicon import danger_in
from transformers_empathav.data.dialogues.corpus import CORPORA, load_corpus
from transformers_empathav.data.dialogues.danger import danger_lines


STATEMENTS = Path(__file__).parent.parent / "tests" / "chat" / "danger.jsonl"


def scores(rows: list[dict], responder: Responder) -> dict:
    """Found and false alarms, each of how many, by each way of looking."""
    alarms = {"lexicon": [danger_in(row["text"]) is not None for row in rows]}
    if responder.danger is not None:
        limits = responder.danger.settings
        states = [responder.danger.score(responder.model, responder.processor, row["text"]) for row in rows]
        alarms["states"] = [score >= limits["threshold"] for score in states]
        alarms["either"] = [any(both) for both in zip(alarms["lexicon"], alarms["states"])]
        alarms["doubt"] = [sure or score >= limits["doubt"] for sure, score in zip(alarms["either"], states)]
    danger = [row["kind"] is not None for row in rows]
    return {
        way: {
            "found": [sum(map(all, zip(raised, danger))), sum(danger)],
            "false alarms": [sum(raised) - sum(map(all, zip(raised, danger))), len(rows) - sum(danger)],
        }
        for way, raised in alarms.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="build/smollm2-135m-tuned", help="Whose states are read.")
    parser.add_argument("--alarms", default="build/alarms.txt", help="File for the alarms in the corpora.")
    options = parser.parse_args()
    rows = [json.loads(line) for line in STATEMENTS.read_text(encoding="utf-8").splitlines()]
    rows += [{"half": line["split"], "kind": line["kind"], "text": line["statement"]} for line in danger_lines()]
    responder, result = Responder(options.checkpoint, asr=""), {}
    for half in ("built", "held", "dev", "test"):
        result[half] = scores([row for row in rows if row["half"] == half], responder)
        for way, counts in result[half].items():
            print(f"{half:<6}{way:<8}", ", ".join(f"{name} {some} of {all_}" for name, (some, all_) in counts.items()))
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
