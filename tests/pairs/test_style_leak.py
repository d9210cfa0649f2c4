import numpy as np
import pytest

from transformers_empathav.pairs.style_leak import pair_measures, pair_table, style_accuracy


WORDS = [f"word{number}" for number in range(50)]


def texts(count: int, seed: int, extra: str = "") -> list[str]:
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, 8)) + extra for _ in range(count)]


def test_a_habit_gives_pairs_away_and_chance_does_not():
    groups = [str(number // 2) for number in range(200)]
    found = style_accuracy(texts(200, 0), texts(200, 1, "!"), groups)
    assert found["texts"] > 0.99 and found["pairs"] > 0.99
    found = style_accuracy(texts(200, 0), texts(200, 1), groups)
    assert 0.35 < found["texts"] < 0.65 and 0.35 < found["pairs"] < 0.65


def test_dialogues_are_not_split():
    """Each dialogue has a word of its own on the chosen side: known from training only where a dialogue is split."""
    draw = np.random.default_rng(0)
    groups = [str(number % 20) for number in range(200)]
    chosen = [f"{text} mine{group}" for text, group in zip(texts(200, 0), groups)]
    rejected = [f"{text} other{draw.integers(1000)}" for text in texts(200, 1)]
    assert style_accuracy(chosen, rejected, groups)["pairs"] < 0.7
    assert style_accuracy(chosen, rejected, [str(number) for number in range(200)])["pairs"] > 0.9


def test_too_few_dialogues_give_no_figure():
    assert style_accuracy(["a"] * 4, ["b"] * 4, list("1234")) is None


def test_measures_by_hand():
    pairs = [
        {
            "dialogue": str(number),
            "chosen": [{"content": "yes indeed"}],
            "rejected": [{"content": "no"}],
            "emotional_distance": distance,
            "contextual_similarity": 0.5,
            "length_ratio": ratio,
        }
        for number, (distance, ratio) in enumerate([(0.2, 0.5), (0.4, 1.0), (0.6, 2.0), (0.8, 1.5), (1.0, 0.5)])
    ]
    found = pair_measures(pairs)
    assert found["emotional_distance"] == pytest.approx(0.6) and found["contextual_similarity"] == 0.5
    assert (found["length_ratio"], found["rejected_longer"]) == (1.0, pytest.approx(0.5))
    assert (found["style_pairs"], found["leaks"], found["pairs"], found["dialogues"]) == (1.0, True, 5, 5)
    assert pair_measures(pairs[:4])["leaks"] is False
    table = pair_table({"ours": found, "few": pair_measures(pairs[:4])}).splitlines()
    assert table[2] == "| ours | 5 | 0.60 | 0.50 | 1.00 | 0.50 | 1.00 | 1.00 |" and table[3].endswith("| – | – |")
