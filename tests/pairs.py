"""Conversations and preference rows for tests."""

from helpers import frames, sound


def text(words: str) -> list[dict]:
    return [{"type": "text", "text": words}]


def assistant_says(words: str) -> list[dict]:
    return [{"role": "assistant", "content": text(words)}]


def older(turns: int) -> list[dict]:
    return [{"role": "assistant" if turn % 2 else "user", "content": text(f"turn {turn}")} for turn in range(turns)]


def clip(seed: int, kind: str = "video") -> dict:
    """A part with frames and a sound of its own, or with the sound alone."""
    if kind == "audio":
        return {"type": "audio", "audio": sound(seed, 0.5)}
    return {"type": "video", "video": frames(seed), "audio": sound(seed, 0.5)}


def pair(name: str, parts: list[dict] = (), turns: int = 0, **columns) -> dict:
    return {
        "id": name,
        "prompt": [*older(turns), {"role": "user", "content": [*parts, *text(f"I am {name}")]}],
        "chosen": assistant_says("oh no, I am sorry"),
        "rejected": assistant_says("ha ha"),
        **columns,
    }


def mixed_pairs(with_numbers: bool = False) -> list[dict]:
    """Four pairs: text alone, a clip, a sound with history, and history alone."""
    rows = [pair("a"), pair("b", [clip(1)]), pair("c", [clip(2, "audio")], turns=6), pair("d", turns=5)]
    if with_numbers:
        for row, distance, weight in zip(rows, (0.2, 0.5, 1.0, 0.0), (1.0, 0.5, 2.0, 0.0)):
            row |= {"emotional_distance": distance, "weight": weight}
    return rows


def replies(pairs: list[dict]) -> list[dict]:
    """The same rows for response tuning."""
    return [{"id": row["id"], "prompt": row["prompt"], "completion": row["chosen"]} for row in pairs]


def talk(number: int, emotion: str = "sad", answer: str | None = None) -> dict:
    """Two exchanges; the emotion is of the first message, as in EmpatheticDialogues."""
    return {
        "id": f"talk-{number}",
        "messages": [
            {"role": "user", "content": f"Number {number} was a day of {emotion} news", "emotion": emotion},
            {"role": "assistant", "content": f"Tell me more of number {number} please", "emotion": answer},
            {"role": "user", "content": f"There is little more to say of {number}"},
            {"role": "assistant", "content": f"Then we leave {number} alone for now", "emotion": answer},
        ],
    }
