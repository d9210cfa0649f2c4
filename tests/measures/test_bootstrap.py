"""Intervals and p-values of sums over replies."""

import numpy as np
import pytest

from transformers_empathav.measures.bootstrap import Scores, paired_difference, perplexity, summary


def test_a_mean_is_weighted_and_skips_what_does_not_count():
    assert Scores.of_values([1.0, 3.0, float("nan")], [1, 3, 0]).figure() == pytest.approx(10 / 4)


def test_the_interval_is_that_of_the_normal_law_for_many_replies():
    values = np.random.default_rng(0).normal(2.0, 1.0, 400)
    found = summary(Scores.of_values(values), [str(index) for index in range(400)])
    assert found["value"] == pytest.approx(values.mean())
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_replies_of_one_conversation_are_drawn_together():
    values = np.repeat(np.random.default_rng(0).normal(size=50), 8)
    alone = summary(Scores.of_values(values), [str(index) for index in range(400)])
    together = summary(Scores.of_values(values), [str(index // 8) for index in range(400)])
    assert together["high"] - together["low"] > 2 * (alone["high"] - alone["low"])


def test_draws_of_a_ratio_are_ratios_of_drawn_sums():
    scores = Scores(np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert set(scores.draws(["a", "b"], 200).tolist()) == {1 / 2, 4 / 6, 3 / 4}


def test_a_constant_gain_is_certain_though_the_values_vary():
    values = np.random.default_rng(0).normal(size=30)
    names = [str(index) for index in range(30)]
    found = paired_difference(Scores.of_values(values + 0.1), Scores.of_values(values), names)
    assert found["low"] == pytest.approx(0.1) and found["high"] == pytest.approx(0.1)
    assert found["p"] == pytest.approx(2 / 2001)


def test_no_difference_has_no_significance():
    values = Scores.of_values(np.arange(10.0))
    assert paired_difference(values, values, [str(index) for index in range(10)])["p"] == 1.0


def test_p_is_about_uniform_where_nothing_differs():
    names, found = [str(index) for index in range(40)], []
    for seed in range(100):
        first, second = (Scores.of_values(row) for row in np.random.default_rng(seed).normal(size=(2, 40)))
        found.append(paired_difference(first, second, names, draws=200)["p"])
    assert 0.02 < np.mean(np.array(found) < 0.1) < 0.22


def test_one_group_alone_has_no_interval():
    assert summary(Scores.of_values([1.0, 2.0]), ["a", "a"]) == {"value": 1.5}
    assert set(paired_difference(Scores.of_values([1.0]), Scores.of_values([2.0]), ["a"])) == {"value"}


def test_values_are_the_figures_of_single_replies():
    scores = Scores.of_values([2.0, 4.0, 6.0], [1, 0, 2])
    assert scores.values() == pytest.approx([2, np.nan, 6], nan_ok=True)
    nats = Scores(np.array([[2.0, 2.0], [0.0, 0.0]]), perplexity)
    assert nats.values() == pytest.approx([np.e, np.nan], nan_ok=True)


def test_replies_that_a_measure_was_not_taken_of_do_not_count():
    scores = Scores.of_values([2.0, 4.0]).spread(np.array([0, 3]), 4)
    assert (len(scores), scores.count(), scores.figure()) == (4, 2, 3)
    assert scores.values() == pytest.approx([2, np.nan, np.nan, 4], nan_ok=True)
