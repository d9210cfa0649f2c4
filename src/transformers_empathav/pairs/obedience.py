"""Whether a writer's replies have the emotion that the prompt asks for, by an emotion classifier."""

from collections.abc import Sequence

import numpy as np

from ..measures.bootstrap import bootstrap_interval
from ..modeling.configuration_empathav import EMOTION_LABELS


def tag_obedience(replies: dict[str, Sequence[dict]], probabilities: Sequence[np.ndarray]) -> dict:
    r"""
    Measures how often the likeliest emotion of a reply is the one that its prompt named.

    Every context is answered under every emotion. A writer that ignores the prompt is therefore right once in seven,
    whatever it writes. The classifier errs, so perfect obedience does not reach 1.

    Args:
        replies (`dict[str, Sequence[dict]]`): The seven replies of each context, with the `emotion` of each prompt.
        probabilities (`Sequence[np.ndarray]`): Of these replies, `(7, 7)` for each context.

    Returns:
        `dict`: `contexts`, `agreement` with its 95 % `interval` over contexts, `chance`, `by_emotion`, and
        `probability`, the mean probability of the emotion that was asked for.
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
    """A Markdown table of the measures of each writer."""
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
