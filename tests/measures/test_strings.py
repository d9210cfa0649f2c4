"""Measures of strings against figures counted by hand and against their libraries."""

import numpy as np
import pytest

from transformers_empathav.measures.strings import Distinct, bleu, bleu_signature, length, meteor, n_grams, rouge


SAID = ["I am so sorry to hear that .", "That is great news !", "", "What did the doctor say to you ?"]
GOLD = ["I am sorry to hear that .", "What great news that is !", "Go on .", "What did your doctor say ?"]


def test_bleu_of_all_replies_is_that_of_sacrebleu():
    from sacrebleu.metrics import BLEU

    assert bleu(SAID, GOLD).figure() == pytest.approx(BLEU().corpus_score(SAID, [GOLD]).score)
    assert bleu(SAID, GOLD)[[0, 3]].figure() == pytest.approx(
        BLEU().corpus_score([SAID[0], SAID[3]], [[GOLD[0], GOLD[3]]]).score
    )
    assert "tok:13a" in bleu_signature() and "version:" in bleu_signature()


def test_rouge_by_hand():
    found = rouge(["the cats sat"], ["a cat sat down"])  # stemmed: cat, sat in common
    assert found["rouge1"].figure() == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))
    assert found["rouge2"].figure() == pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))
    assert found["rougeL"].figure() == found["rouge1"].figure()


def test_meteor_by_hand():
    # Two of four words match in one chunk: P = R = F = 1/2, penalty 0.5 * (1/2)^3.
    assert meteor(["he sleeps in bed"], ["he sleeps at home"]).figure() == pytest.approx(0.5 * (1 - 0.5 / 8))


def test_meteor_knows_stems_but_no_synonyms():
    assert meteor(["dogs"], ["dog"]).figure() > 0
    assert meteor(["car"], ["auto"]).figure() == 0


def test_distinct_by_hand():
    replies = ["a b a", "b c"]
    assert Distinct(replies, 1).figure() == pytest.approx(3 / 5)
    assert Distinct(replies, 2).figure() == pytest.approx(3 / 3)
    assert Distinct(["a a", "a a"], 1).figure() == pytest.approx(1 / 4)
    assert Distinct([""], 1).figure() == 0


def test_distinct_of_a_selection_is_counted_anew():
    replies = ["a b", "a b", "c d"]
    assert Distinct(replies, 1).figure() == pytest.approx(4 / 6)
    assert Distinct(replies, 1)[np.array([0, 1])].figure() == pytest.approx(2 / 4)


def test_the_jackknife_of_distinct_follows_leaving_replies_out():
    replies = ["a b", "a c", "d e f"]
    values = Distinct(replies, 1).statistics[:, 0]
    without = np.array([Distinct(replies[:skip] + replies[skip + 1 :], 1).figure() for skip in range(3)])
    assert values == pytest.approx(Distinct(replies, 1).figure() + 2 * (without.mean() - without))


def test_n_grams_and_length():
    assert n_grams("A b c", 2) == [("a", "b"), ("b", "c")]
    assert length(["one two", "", "three"]).figure() == 1
