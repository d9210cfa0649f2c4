"""The reading of danger: watched = unwatched, cached = uncached, saved = reloaded, long messages, damaged files."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from transformers_empathav.checkpoint.danger_reading import (
    LONGEST,
    PART_FILE,
    DangerReading,
    Watch,
    newest_message,
    two_states,
)
from transformers_empathav.modeling.generation_empathav import CACHE
from transformers_empathav.testing.tiny import tiny_model


SAID = [
    {"role": "user", "content": "My dog ran away."},
    {"role": "assistant", "content": "Oh no."},
    {"role": "user", "content": "She is at the bridge."},
]


@pytest.fixture(scope="module")
def model(processor):
    return tiny_model(processor).eval()


@pytest.fixture
def reading(model):
    torch.manual_seed(0)
    made = DangerReading(model.config.text_config.hidden_size, 1, threshold=0.25).eval()
    made.mean.normal_()
    made.scale.uniform_(0.5, 2)
    return made


def prompt(processor, messages) -> torch.Tensor:
    inputs = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)
    return inputs["input_ids"]


@pytest.fixture
def watch(reading, model, processor):
    tokens = newest_message(model.config, prompt(processor, SAID)[0].tolist())
    return Watch(reading, model.model.language_model, tokens)


def test_the_newest_message_is_what_the_user_said_last(model, processor):
    ids = prompt(processor, SAID)[0].tolist()
    tokens = newest_message(model.config, ids)
    assert processor.tokenizer.decode(ids[-tokens:]).lstrip().startswith(SAID[-1]["content"])
    with_clip = [*ids[:-tokens], *[model.config.av_token_id] * model.config.num_query_tokens, *ids[-tokens:]]
    assert newest_message(model.config, with_clip) == tokens


def test_the_score_is_of_the_states_of_the_message(watch, reading, model, processor):
    ids = prompt(processor, SAID)
    plain = model(input_ids=ids, output_hidden_states=True)
    states = plain.hidden_states[1][0, -watch.tokens :]
    expected = reading(torch.cat([states[-1], states.mean(0)])[None])
    seen = watch(model, input_ids=ids)
    torch.testing.assert_close(seen.logits, plain.logits)
    assert watch.score == pytest.approx(expected.item(), abs=1e-5)
    alone = reading.score(model, processor, SAID[-1]["content"])
    assert abs(alone - watch.score) > 1e-4  # what was said before it counts


def test_cached_is_uncached(watch, model, processor):
    ids = prompt(processor, SAID)
    watch(model, input_ids=ids)
    whole = watch.score
    known = model(input_ids=ids[:, : -watch.tokens - 3], use_cache=True)[CACHE]
    watch(model, input_ids=ids[:, -watch.tokens - 3 :], **{CACHE: known})
    assert watch.score == pytest.approx(whole, abs=1e-5)


def test_nothing_stays_behind(watch, model, processor):
    """Neither after a pass nor after an error in it."""
    hooks = [len(layer._forward_hooks) for layer in model.model.language_model.layers]
    watch(model, input_ids=prompt(processor, SAID))
    with pytest.raises(TypeError):
        watch(model, input_ids="nothing")
    assert [len(layer._forward_hooks) for layer in model.model.language_model.layers] == hooks


def test_saved_is_reloaded(reading, tmp_path):
    reading.save(tmp_path / PART_FILE)
    again = DangerReading.of(tmp_path)
    assert again.settings == reading.settings and not again.training
    states = torch.randn(4, reading.mean.numel())
    torch.testing.assert_close(again(states), reading(states))


def test_a_long_message_is_read_in_parts():
    """Of much the same length; in each of them is the last state of the prompt."""
    read = torch.randn(2 * LONGEST + 1, 3)
    states = two_states(read)
    assert states.shape == (3, 6)
    torch.testing.assert_close(states[:, :3], read[-1].expand(3, -1))
    torch.testing.assert_close(states[1, 3:], read[86:172].mean(0))
    assert two_states(read[:LONGEST]).shape == (1, 6)


def test_its_most_dangerous_part_counts(watch, reading, model, processor, monkeypatch):
    ids = prompt(processor, [{"role": "user", "content": "word " * LONGEST + "end"}])
    watch.tokens = newest_message(model.config, ids[0].tolist())
    for place in (0, 1):
        monkeypatch.setattr(reading, "forward", lambda states, place=place: torch.arange(len(states)) == place)
        watch(model, input_ids=ids)
        assert watch.score == 1.0


def test_alone_the_layers_above_are_not_run(reading, model, processor, monkeypatch):
    language_model = model.model.language_model
    before = list(language_model.layers)
    for layer in language_model.layers[1:]:
        monkeypatch.setattr(layer, "forward", lambda *args, **kwargs: pytest.fail("it was run"))
    reading.score(model, processor, "Hello")
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


def test_a_part_of_an_older_version_is_an_error(reading, tmp_path):
    """It read other states."""
    reading.save(tmp_path / PART_FILE)
    settings = json.dumps({**reading.settings, "frame": "[{}]"})
    tensors = load_file(tmp_path / PART_FILE)
    save_file(tensors, tmp_path / PART_FILE, {"danger": settings})
    with pytest.raises(ValueError, match="assemble the checkpoint again"):
        DangerReading.of(tmp_path)
