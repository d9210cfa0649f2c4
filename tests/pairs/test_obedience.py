import numpy as np
import pytest

from transformers_empathav.modeling.configuration_empathav import EMOTION_LABELS
from transformers_empathav.pairs.obedience import obedience_table, tag_obedience


def asked(contexts: int) -> dict:
    return {str(index): [{"emotion": emotion} for emotion in EMOTION_LABELS] for index in range(contexts)}


def test_obedience_by_hand():
    obeys, happy = np.eye(7), np.tile(np.eye(7)[3], (7, 1))
    found = tag_obedience(asked(4), [obeys, obeys, obeys, happy])
    assert found["agreement"] == pytest.approx((3 * 7 + 1) / 28) == found["probability"]
    assert found["by_emotion"]["happy"] == 1 and found["by_emotion"]["sad"] == 0.75
    assert found["interval"][0] < found["agreement"] <= found["interval"][1] == 1
    assert obedience_table({"one": found}).splitlines()[2].startswith("| one | 4 | 0.786 |")


def test_a_writer_that_ignores_its_prompt_is_at_chance():
    draw = np.random.default_rng(0)
    same = [np.tile(draw.dirichlet(np.ones(7)), (7, 1)) for _ in range(50)]
    assert tag_obedience(asked(50), same)["agreement"] == pytest.approx(1 / 7)
