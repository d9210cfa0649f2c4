"""The reading of danger: padded = alone, saved = reloaded, long messages in parts, and damaged files."""

import pytest
import torch

from transformers_empathav.checkpoint.danger_reading import LONGEST, PART_FILE, DangerReading
from transformers_empathav.testing.tiny import tiny_model


TEXTS = ["I am here.", "A much longer message about a dog, a bridge and the weather of next week.", "No"]


@pytest.fixture(scope="module")
def language_model(processor):
    return tiny_model(processor).eval().model.language_model


@pytest.fixture
def reading(language_model):
    torch.manual_seed(0)
    made = DangerReading(language_model.config.hidden_size, 1, "[{}]", threshold=0.25).eval()
    made.mean.normal_()
    made.scale.uniform_(0.5, 2)
    return made


def test_in_a_batch_as_alone(reading, language_model, processor):
    rows = [row for text in TEXTS for row in reading.rows(processor.tokenizer, text)]
    together = reading.states(language_model, rows)
    alone = torch.cat([reading.states(language_model, [row]) for row in rows])
    assert together.shape == (3, 2 * language_model.config.hidden_size) and together.dtype == torch.float32
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert (alone[0] - alone[1]).abs().max() > 1e-3


def test_states_are_those_of_the_language_model(reading, language_model, processor):
    (row,) = reading.rows(processor.tokenizer, TEXTS[0])
    assert processor.tokenizer.decode(row) == "[I am here.]"
    states = language_model(input_ids=torch.tensor([row]), output_hidden_states=True).hidden_states[1][0]
    expected = torch.cat([states[-1], states.mean(0)])
    torch.testing.assert_close(reading.states(language_model, [row])[0], expected, atol=1e-5, rtol=1e-4)


def test_saved_is_reloaded(reading, tmp_path):
    reading.save(tmp_path / PART_FILE)
    again = DangerReading.of(tmp_path)
    assert again.settings == reading.settings and not again.training
    states = torch.randn(4, reading.mean.numel())
    torch.testing.assert_close(again(states), reading(states))


def test_a_long_message_is_read_in_parts(reading, language_model, processor, monkeypatch):
    """Its last part counts as much as its first."""
    text = "word " * LONGEST + "end"
    rows = reading.rows(processor.tokenizer, text)
    assert len(rows) > 1 and max(map(len, rows)) <= LONGEST + 2
    for place in (0, len(rows) - 1):
        monkeypatch.setattr(reading, "forward", lambda states, place=place: torch.arange(len(rows)) == place)
        assert reading.score(language_model, processor.tokenizer, text) == 1.0


def test_the_layers_above_are_not_run(reading, language_model, processor, monkeypatch):
    before = list(language_model.layers)
    for layer in language_model.layers[1:]:
        monkeypatch.setattr(layer, "forward", lambda *args, **kwargs: pytest.fail("it was run"))
    reading.score(language_model, processor.tokenizer, "Hello")
    assert list(language_model.layers) == before


def test_none_is_none_and_damaged_is_an_error(reading, tmp_path):
    assert DangerReading.of(tmp_path) is None
    (tmp_path / PART_FILE).write_bytes(b"nothing")
    with pytest.raises(ValueError, match="damaged, or no part of recipes/danger.py"):
        DangerReading.of(tmp_path)
    reading.settings["width"] += 1
    reading.save(tmp_path / PART_FILE)
    with pytest.raises(ValueError, match="damaged"):
        DangerReading.of(tmp_path)
