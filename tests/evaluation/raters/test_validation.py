"""Measures against ratings: talks of several replies, the ceiling by hand, and the table."""

import numpy as np
import pytest
from scipy.stats import rankdata

from helpers import user
from transformers_empathav.evaluation.raters.validation import (
    measure_rated,
    rank_agreement,
    reliability,
    table,
    validate,
)
from transformers_empathav.measures.replies import Instruments


def row(number, system, words, *ratings, talk=None):
    return {
        "id": f"{number}-{system}",
        "prompt": [user("hello")],
        "completion": [{"role": "assistant", "content": "word"}],
        "reply": " ".join(["word"] * words),
        "system": system,
        "conversation": f"c{number}",
        "context": f"c{number}",
        "rated": talk or f"{number}-{system}",
        "ratings": {"warm": list(ratings), "clear": [1.0] * len(ratings)},
    }


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    found = []
    for number in range(12):
        for rank, system in enumerate(("people", "short", "long")):
            words = 3 * rank + int(rng.integers(1, 4))
            found.append(row(number, system, words, *(words + rng.normal(size=3) * 0.1)))
    return found


def test_length_is_what_these_raters_like(rows):
    measured = measure_rated(rows, Instruments(()), human="people")
    assert "rouge1" in measured["long"] and "rouge1" not in measured["people"]
    report = validate(rows, measured, ["warm"], draws=50)
    words = report["measures"]["words"]
    assert report["rated"] == 36 and report["conversations"] == 12
    assert words["warm"]["n"] == 36 and words["warm"]["spearman"]["low"] > 0.9
    assert words["systems"]["n"] == 3 and words["systems"]["value"] == pytest.approx(1)
    assert report["measures"]["rouge1"]["warm"]["n"] == 24 and "value" not in report["measures"]["rouge1"]["systems"]
    assert report["systems"]["long"]["warm"] > report["systems"]["people"]["warm"]
    lines = table(report, "warm").splitlines()
    assert lines[4].startswith("| *ceiling by the raters* | 36 |")
    assert sum(line.startswith("| words |") for line in lines) == 1


def test_a_talk_counts_once_with_the_mean_of_its_replies():
    rows = [
        row(number, "bot", words, number, talk=f"t{number}") for number in range(4) for words in (1, 1 + 2 * number)
    ]
    for one in rows:
        one["ratings"] = {"warm": one["ratings"]["warm"][0]}
    report = validate(rows, measure_rated(rows, Instruments(())), ["warm"], draws=20)
    assert report["rated"] == 4 and report["raters"] == {}
    assert report["measures"]["words"]["warm"]["spearman"]["value"] == pytest.approx(1)


def test_the_ceiling_is_the_root_of_the_reliability_of_the_mean(rows):
    found = reliability(rows, ["warm"])["warm"]
    alpha = found["alpha"]
    assert 0.9 < alpha < 1
    assert found["ceiling"] == pytest.approx((3 * alpha / (1 + 2 * alpha)) ** 0.5, rel=1e-5)


def test_agreement_is_that_of_krippendorff_on_ranks():
    krippendorff = pytest.importorskip("krippendorff")
    values = np.random.default_rng(0).integers(0, 6, (3, 10)) + np.arange(10)
    ranked = rankdata(values).reshape(values.shape)
    expected = krippendorff.alpha(ranked, level_of_measurement="interval")
    assert rank_agreement(values) == pytest.approx(expected)


def test_what_a_rater_gives_to_all_replies_of_a_context_is_no_disagreement_within(rows):
    before = reliability(rows, ["warm"])["warm"]
    for one in rows:
        one["ratings"]["warm"] = [value + shift for value, shift in zip(one["ratings"]["warm"], (0, 40, -40))]
    after = reliability(rows, ["warm"])["warm"]
    assert after["alpha"] < 0.5 < before["alpha"]
    assert after["alpha_within"] == pytest.approx(before["alpha_within"], abs=0.02)
