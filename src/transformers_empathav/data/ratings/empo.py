"""EmPO's study: replies of five systems to contexts of EmpatheticDialogues, each rated by three people."""

import csv
import os
from collections import defaultdict


SCALES = ("dim1", "dim2", "dim3", "dim4", "dim5")  # four of 0 to 100 and one of 0 or 1; the file does not name them
HUMAN = "human_targets"  # the system whose replies are those of people


def load_empo_ratings(table: str | os.PathLike) -> list[dict]:
    r"""
    Rated replies of `empo_human.csv` (arXiv 2406.19071).

    Args:
        table (`str` or `os.PathLike`): The csv file.

    Returns:
        `list[dict]`: a row for each reply, as [`reply_rows`] has them (`id`, `prompt`, and the human reply as
        `completion`), with `reply`, `system`, `situation` (one of the 32 emotions), `conversation` and `context` (both
        the context that all systems answer), `rated` (the reply), and `ratings`: for each scale one number a rater, in
        the order of the raters' names.

    Raises:
        `ValueError`: a column is missing, or a rating is no number.
    """
    with open(table, encoding="utf-8", newline="") as file:
        lines = csv.DictReader(file)
        wanted = {"annotator", "context", "emotion", "human_reply", "reply", "system", *SCALES}
        if missing := sorted(wanted - set(lines.fieldnames or ())):
            raise ValueError(f"{table} has no column {' and no column '.join(missing)}: is it EmPO's?")
        rated = defaultdict(list)
        for line in lines:
            rated[line["context"], line["system"]].append(line)
    numbers = {context: number for number, context in enumerate(dict.fromkeys(context for context, _ in rated))}
    rows = []
    for (context, system), raters in rated.items():
        raters.sort(key=lambda rater: rater["annotator"])
        turns, name = context.split("\n"), f"empo-{numbers[context]}"
        try:
            ratings = {scale: [float(rater[scale]) for rater in raters] for scale in SCALES}
        except ValueError as error:
            raise ValueError(f"{table}, context {numbers[context]} of {system}: {error}.") from None
        rows.append(
            {
                "id": f"{name}-{system}",
                # The last turn is the speaker's, so roles are told from the end.
                "prompt": [
                    {"role": "user" if (len(turns) - turn) % 2 else "assistant", "content": text.strip()}
                    for turn, text in enumerate(turns)
                ],
                "completion": [{"role": "assistant", "content": raters[0]["human_reply"]}],
                "emotion": None,
                "reply": raters[0]["reply"],
                "system": system,
                "situation": raters[0]["emotion"],
                "conversation": name,
                "context": name,
                "rated": f"{name}-{system}",
                "ratings": ratings,
            }
        )
    return rows
