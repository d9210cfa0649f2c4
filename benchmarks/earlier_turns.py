"""
Whether a system can say what was told some turns before, from its words and from its memory.

    python benchmarks/earlier_turns.py --systems tuned=build/smollm2-135m-tuned --rows 200

Asks the questions of `earlier_turns` (dev: other dialogues and other facts than those of training) twice: with all
messages verbatim, and with all but the question in the memory. An answer is right if it has the fact in it, word for
word but for case. Planted facts are synthetic. The last line is one line of JSON.
"""

import argparse
import json
import random
import re

from transformers_empathav.data.dialogues.corpus import EARLIER_TURNS, load_corpus
from transformers_empathav.data.replies import reply_rows
from transformers_empathav.evaluation.content_cache import ContentCache
from transformers_empathav.evaluation.replies.systems import load_system, parse_pair
from transformers_empathav.evaluation.replies.writing import EVERYTHING, Writing, write_replies
from transformers_empathav.measures.shares import wilson


PLACES = {"tail": EVERYTHING, "memory": 1}  # where the fact is, by how many messages stay verbatim


def says(reply: str, fact: str) -> bool:
    """Whether the words of the fact stand in the reply."""
    return re.search(rf"(?<!\w){re.escape(fact.lower())}(?!\w)", reply.lower()) is not None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shipped = ["shipped=build/smollm2-135m-tuned"]
    parser.add_argument("--systems", nargs="+", default=shipped, help="name=checkpoint or name=adapter.")
    parser.add_argument("--rows", type=int, default=200, help="Questions, drawn by seed 0.")
    parser.add_argument("--least", type=int, default=0, help="Messages between fact and question, at least.")
    parser.add_argument("--cache", default="build/earlier_turns.jsonl", help="Where replies are kept.")
    options = parser.parse_args()
    conversations = load_corpus(EARLIER_TURNS, "dev")
    facts = {one["id"]: one["fact_value"] for one in conversations}
    rows = [row for row in reply_rows(conversations) if len(row["prompt"]) - 1 - row["fact_turn"] > options.least]
    rows = random.Random(0).sample(rows, min(options.rows, len(rows)))
    cache, result = ContentCache(options.cache), {}
    for name, checkpoint in map(parse_pair, options.systems):
        system = load_system(name, checkpoint)
        for place, recent in PLACES.items():
            writing = Writing(recent_turns=recent, max_new_tokens=24, repetition_penalty=1.0)
            replies = write_replies(system, [row["prompt"] for row in rows], writing, cache, 16)
            right = []
            for row, reply in zip(rows, replies):
                fact = facts[row["id"].rsplit("-", 1)[0]]
                right.append(says(reply["text"], fact))
                print(f"{name} {place} | {row['prompt'][-1]['content']} | {fact} | {reply['text']} | {right[-1]}")
            result[f"{name} {place}"] = [round(value, 3) for value in (sum(right) / len(right), *wilson(right))]
    print(json.dumps({"rows": len(rows), **result}))


if __name__ == "__main__":
    main()
