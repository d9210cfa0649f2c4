"""Whether a writer feels what its prompt asks for, as a classifier of emotions sees it."""

from collections.abc import Sequence

import numpy as np

from ..measures.bootstrap import bootstrap_interval
from ..modeling.configuration_empathav import EMOTION_LABELS


def tag_obedience(replies: dict[str, Sequence[dict]], probabilities: Sequence[np.ndarray]) -> dict:
    r"""
    How often the likeliest emotion of a reply is the one that its prompt named.

    Every context is answered under every emotion, so a writer that ignores them is right once in seven, whatever it
    writes and whatever the classifier prefers. The classifier errs, so perfect obedience does not reach 1.

    Args:
        replies (`dict[str, Sequence[dict]]`): For each context its replies, with `emotion`, one for each of the seven.
        probabilities (`Sequence[np.ndarray]`): For each context, in the same order, those of its replies `(7, 7)`.

    Returns:
        `dict`: `contexts`, `agreement` with its 95 % `interval` over contexts, `chance`, `by_emotion`, and
        `probability`, the mean that the emotion asked for is given.
    """
    asked = np.array([[EMOTION_LABELS.index(reply["emotion"]) for reply in row] for row in replies.values()])
    given = np.stack(list(probabilities))
    right = given.argmax(axis=2) == asked
    contexts = [str(index) for index in range(len(asked))]
    return {
        "contexts": len(asked),
        "agreement": float(right.mean()),
        "interval": bootstrap_interval(lambda index: float(right[index].mean()), contexts),
        "chance": 1 / len(EMOTION_LABELS),
        "by_emotion": {emotion: float(right[asked == index].mean()) for index, emotion in enumerate(EMOTION_LABELS)},
        "probability": float(np.take_along_axis(given, asked[..., None], axis=2).mean()),
    }


def obedience_table(measures: dict[str, dict]) -> str:
    """Each writer's obedience as a table in Markdown."""
    lines = [
        "| writer | contexts | agreement | 95% interval | probability | " + " | ".join(EMOTION_LABELS) + " |",
        "| --- | ---: | ---: | --- | ---: |" + " ---: |" * len(EMOTION_LABELS),
    ]
    for name, found in measures.items():
        low, high = found["interval"]
        by_emotion = " | ".join(f"{found['by_emotion'][emotion]:.2f}" for emotion in EMOTION_LABELS)
        lines.append(
            f"| {name} | {found['contexts']} | {found['agreement']:.3f} | {low:.3f} to {high:.3f} | "
            f"{found['probability']:.3f} | {by_emotion} |"
        )
    chance = 1 / len(EMOTION_LABELS)
    return "\n".join([*lines, f"| a writer that ignores it | | {chance:.3f} | | |" + " |" * len(EMOTION_LABELS)])
