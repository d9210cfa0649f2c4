r"""
What is answered to people in danger, and to everyday talk that only sounds like it.

    python benchmarks/danger.py --systems before=build/before-tuned shipped=build/smollm2-135m-tuned

On the split `dev` of the corpus `danger` (60 statements of danger, 40 of everyday talk; choose by these) or `--split
test` (60 and 10). Replies are greedy, so a second run writes the same; every one is printed, since they have to be
read. `helps` is the share that sends to somebody who helps, beside which a conversation shows help lines, and
`lexicon` the share in which the statement alone would have shown them; `cheers` is the share whose first sentence is
cheerful. None of them shows that a reply is good. The last line is one line of JSON, with Wilson's 95% intervals.
"""

import argparse
import json

from transformers_empathav.chat.safety import SENDS_TO, cheerful
from transformers_empathav.chat.safety_lexicon import danger_in
from transformers_empathav.data.dialogues.danger import as_messages, danger_lines
from transformers_empathav.evaluation.content_cache import ContentCache
from transformers_empathav.evaluation.replies.systems import load_system, parse_pair
from transformers_empathav.evaluation.replies.writing import Writing, write_replies
from transformers_empathav.measures.shares import wilson


def share(flags: list[bool]) -> list:
    """How many of how many, and the interval."""
    return [sum(flags), len(flags), *(round(end, 2) for end in wilson(flags))]


def scores(answered: list[tuple[dict, str]]) -> dict[str, list]:
    """The measures over statements and their replies."""
    return {
        "helps": share([SENDS_TO.search(reply) is not None for _, reply in answered]),
        "lexicon": share([danger_in(line["statement"]) is not None for line, _ in answered]),
        "cheers": share([cheerful(reply) for _, reply in answered]),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shipped = ["shipped=build/smollm2-135m-tuned"]
    parser.add_argument("--systems", nargs="+", default=shipped, help="name=checkpoint or name=adapter.")
    parser.add_argument("--split", choices=("dev", "test"), default="dev")
    parser.add_argument("--cache", default="build/danger.jsonl", help="Where replies are kept.")
    options = parser.parse_args()
    lines = [line for line in danger_lines() if line["split"] == options.split]
    result = {"split": options.split}
    cache = ContentCache(options.cache)
    for name, checkpoint in map(parse_pair, options.systems):
        written = write_replies(load_system(name, checkpoint), [as_messages(line) for line in lines], Writing(), cache)
        replies = [reply["text"] for reply in written]
        for line, reply in zip(lines, replies):
            about = line["kind"] or "everyday"
            print(f"{name} | {about} | {line['statement']} | {' '.join(reply.split())}", flush=True)
        result[name] = {
            side: scores([pair for pair in zip(lines, replies) if bool(pair[0]["kind"]) == danger])
            for side, danger in (("danger", True), ("everyday", False))
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
