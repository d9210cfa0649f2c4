r"""
What systems answer in thirty conversations of our own writing, side by side and unedited.

    python benchmarks/samples.py --systems bare=build/smollm2-135m tuned=build/smollm2-135m-tuned \
        --write docs/samples.md

The user's lines are fixed (`benchmarks/conversations.jsonl`); each system sees its own replies before. Replies are
greedy, so a second run writes the same. Behind them stand the sixty statements of danger that no training saw. The
last line is one line of JSON.
"""

import argparse
import json
from pathlib import Path

from transformers_empathav.chat.conversation import Conversation
from transformers_empathav.chat.responder import Responder
from transformers_empathav.data.dialogues.danger import danger_lines


CONVERSATIONS = Path(__file__).with_name("conversations.jsonl")
TITLE = """# Samples

Thirty conversations of our own writing, three lines of the user each. Every system answers by itself, greedily, and
sees its own replies before. Nothing is edited or left out: `python benchmarks/samples.py`. These are not rated; read
them and judge for yourself. **A model of 135 million parameters does not understand people in danger**, and cheers.
Where a danger is found a careful answer of ours stands in place of the model's ([Responsible
use](responsible_use.md#when-somebody-speaks-of-danger)); where it is missed, the model answers. Do not let it answer
people in need.
"""


def replies(responder: Responder, says: list[str]) -> list[str]:
    """What is answered to the lines of one conversation."""
    conversation = Conversation(responder)
    return [conversation.say(line, max_new_tokens=48).response for line in says]


def page(conversations: list[dict], answers: dict[str, list[list[str]]], described: dict[str, str]) -> str:
    """The page: a table for each conversation, a row for each line of the user."""
    parts = [TITLE, "\n".join(f"- **{name}**: {text}" for name, text in described.items())]
    head = "| user | " + " | ".join(answers) + " |\n| --- |" + " --- |" * len(answers)
    about, alone = None, False
    for number, conversation in enumerate(conversations):
        if conversation["about"] != about:
            about, alone = conversation["about"], False
            parts.append(f"## {about[0].upper()}{about[1:]}")
        rows = []
        for turn, line in enumerate(conversation["says"]):
            cells = [line, *(found[number][turn] for found in answers.values())]
            rows.append("| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |")
        if alone and len(rows) == 1:  # statements without a conversation share a table
            parts[-1] += "\n" + rows[0]
        else:
            parts.append("\n".join([head, *rows]))
        alone = len(rows) == 1
    return "\n\n".join(parts) + "\n"


def held_back() -> list[dict]:
    """The statements of danger that nothing was trained or chosen by."""
    lines = [line for line in danger_lines() if line["split"] == "test" and line["kind"] is not None]
    return [{"about": "danger, statements that were held back", "says": [line["statement"]]} for line in lines]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shipped = ["shipped=build/smollm2-135m-tuned"]
    parser.add_argument("--systems", nargs="+", default=shipped, help="name=checkpoint or name=adapter.")
    parser.add_argument("--about", nargs="*", default=[], help="What a system is, name=words, for the page.")
    parser.add_argument("--write", help="Page to write.")
    options = parser.parse_args()
    conversations = [json.loads(line) for line in CONVERSATIONS.read_text(encoding="utf-8").splitlines()]
    conversations += held_back()
    answers = {}
    for name, checkpoint in (pair.split("=", 1) for pair in options.systems):
        responder = Responder(checkpoint)
        answers[name] = [replies(responder, conversation["says"]) for conversation in conversations]
        for conversation, found in zip(conversations, answers[name]):
            for line, reply in zip(conversation["says"], found):
                print(f"{name} | {line} | {reply}", flush=True)
    described = dict(pair.split("=", 1) for pair in options.about)
    if options.write:
        Path(options.write).write_text(page(conversations, answers, described), encoding="utf-8")
    words = {name: [len(reply.split()) for found in some for reply in found] for name, some in answers.items()}
    print(json.dumps({"words_per_reply": {name: round(sum(all_) / len(all_), 1) for name, all_ in words.items()}}))


if __name__ == "__main__":
    main()
