"""Rank correlations against scipy, a regression by hand, and what is left out."""

import numpy as np
import pytest
from scipy.stats import pearsonr, rankdata, spearmanr

from transformers_empathav.measures.correlation import rank_correlations


rng = np.random.default_rng(0)
LENGTH = rng.integers(1, 9, 60).astype(float)
MEASURE = LENGTH + rng.normal(size=60)
RATINGS = {"warm": LENGTH + rng.normal(size=60), "clear": rng.normal(size=60)}
CONTEXTS = [f"c{row // 5}" for row in range(60)]


def found(measure=MEASURE, **options):
    return rank_correlations(measure, RATINGS, LENGTH, CONTEXTS, CONTEXTS, draws=50, **options)


def residual(values):
    """Ranks less what a straight line of the length's ranks says of them."""
    held, ranks = rankdata(LENGTH), rankdata(values)
    return ranks - np.polyval(np.polyfit(held, ranks, 1), held)


@pytest.mark.parametrize("scale", RATINGS)
def test_plain_and_partial(scale):
    row = found()[scale]
    assert row["n"] == 60
    assert row["spearman"]["value"] == pytest.approx(spearmanr(MEASURE, RATINGS[scale]).statistic)
    by_hand = pearsonr(residual(MEASURE), residual(RATINGS[scale])).statistic
    assert row["partial"]["value"] == pytest.approx(by_hand)
    for kind in ("spearman", "partial", "within"):
        assert row[kind]["low"] < row[kind]["value"] < row[kind]["high"]


def test_a_measure_that_knows_length_alone_is_seen_through():
    row = found()["warm"]
    assert row["spearman"]["low"] > 0.5 and abs(row["partial"]["value"]) < 0.3
    assert "partial" not in found(LENGTH)["warm"]


def test_within_a_context_what_contexts_share_does_not_count():
    shift = np.repeat(rng.normal(size=12) * 100, 5)
    assert found(MEASURE + shift)["warm"]["within"] == pytest.approx(found()["warm"]["within"])
    assert found(shift)["warm"].keys() == {"n", "spearman", "partial"}


def test_rows_that_are_no_number_are_left_out():
    some = MEASURE.copy()
    some[:10] = np.nan
    row = found(some)["warm"]
    assert row["n"] == 50
    assert row["spearman"]["value"] == pytest.approx(spearmanr(MEASURE[10:], RATINGS["warm"][10:]).statistic)
    assert found(np.full(60, np.nan)) == {}
