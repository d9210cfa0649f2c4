"""iEval: talks with four chatbots about a good or a bad experience, each rated by the person who talked."""

import json
import os


CHATBOTS = ("Pink", "Purple", "Yellow", "Green")
SCALES = ("P", "^P", "A", "^A", "EU", "ER", "L", "R", "S", "Rating")  # as the file calls them


def load_ieval_ratings(path: str | os.PathLike) -> list[dict]:
    r"""
    Replies of the rated conversations of `ieval.json` (Svikhnushina et al., 2022).

    Args:
        path (`str` or `os.PathLike`): The JSON file.

    Returns:
        `list[dict]`: a row for each reply of a chatbot with `id`, `prompt` (messages), `reply`, `system` (the
        chatbot), `situation` (one of the 32 emotions), `valence` (1 for a good experience, -1 for a bad one),
        `conversation` (the person, who talked to all chatbots), `context` (the person's experience), `rated` (the talk
        that the ratings are of) and `ratings`, one number a scale.

    Raises:
        `ValueError`: a conversation or a rating is missing.
    """
    with open(path, encoding="utf-8") as file:
        people, rows = json.load(file), []
    for person in people:
        for valence, kind in ((1, "positive"), (-1, "negative")):
            for chatbot in CHATBOTS:
                experience = f"ieval-{person.get('part')}-{kind}"
                try:
                    talk = person[kind][chatbot]
                    shared = {
                        "system": chatbot,
                        "situation": person[kind]["emotion"],
                        "valence": valence,
                        "conversation": f"ieval-{person['part']}",
                        "context": experience,
                        "rated": f"{experience}-{chatbot}",
                        "ratings": {scale: float(talk[scale]) for scale in SCALES},
                    }
                    turns = turns_of(talk["chat_log"])
                except (KeyError, TypeError) as error:
                    raise ValueError(f"{path}, {experience}, {chatbot}: {error!r}. Is the file iEval's?") from None
                messages = [
                    {"role": ("user", "assistant")[turn % 2], "content": text} for turn, text in enumerate(turns)
                ]
                rows += [
                    {"id": f"{experience}-{chatbot}-{turn}", "prompt": messages[:turn], "reply": turns[turn], **shared}
                    for turn in range(1, len(turns), 2)
                ]
    return rows


def turns_of(chat_log: str) -> list[str]:
    """The turns of a log. Each begins with a dash on a new line; other lines go on with the turn before."""
    turns = []
    for line in chat_log.split("\n"):
        if line.startswith("- ") or not turns:
            turns.append(line.removeprefix("- ").strip())
        else:
            turns[-1] += f" {line.strip()}"
    return turns
