"""Whisper's encoder over its window: as many tokens as there is sound, alike in every batch."""

import pytest
import torch

from encoders import AUDIO
from helpers import encode, relative_error, sound, user
from transformers_empathav.modeling.emotion_extractor_empathav import pool
from transformers_empathav.testing.tiny import tiny_model


def inputs_of(processor, *lengths):
    turns = [[user(("audio", sound(index, seconds=seconds)))] for index, seconds in enumerate(lengths)]
    inputs = encode(processor, *turns)
    return inputs["input_features"], inputs["input_features_mask"]


def test_a_sound_that_fills_the_window_is_encoded_as_ever(model, processor):
    features, mask = inputs_of(processor, 2.0)
    assert mask.all()
    extractor = model.model.extractor
    assert relative_error(extractor.encode_audio(features, mask), extractor.encode_audio(features)) < 1e-5


def test_as_many_tokens_as_there_is_sound(model, processor):
    features, mask = inputs_of(processor, 0.5, 1.01)
    frames = mask.sum(dim=1)
    assert frames[0] < frames[1] < mask.shape[1]
    encoded = model.model.extractor.encode_audio(features, mask)
    assert encoded.shape[:3] == (2, len(model.model.extractor.audio_mix.logits), -(-int(frames[1]) // 2))


@pytest.mark.parametrize("other", [0.1, 2.0])
def test_what_a_clip_gives_does_not_depend_on_its_neighbours(model, processor, other):
    extractor = model.model.extractor
    features, mask = inputs_of(processor, 0.61, other)
    alone = extractor(input_features=features[:1], input_features_mask=mask[:1])
    beside = extractor(input_features=features, input_features_mask=mask)
    assert relative_error(beside[:1], alone) < 1e-5


def test_features_and_their_mask_may_be_given_in_place_of_sound(model, processor):
    extractor = model.model.extractor
    features, mask = inputs_of(processor, 0.61, 1.0)
    expected = extractor(input_features=features, input_features_mask=mask)
    encoded = extractor.encode_audio(features, mask)
    tokens = mask[:, : 2 * encoded.shape[2] : 2]
    given = extractor(audio_features=encoded, input_features_mask=tokens)
    assert relative_error(given, expected) < 1e-5


def test_a_clip_without_sound_beside_one_with_is_defined(model, processor):
    extractor = model.model.extractor
    features, mask = inputs_of(processor, 0.61, 1.0)
    mask[0] = 0
    vectors = extractor(input_features=features, input_features_mask=mask, audio_mask=torch.tensor([0, 1]))
    assert torch.isfinite(vectors).all()
    alone = extractor(input_features=features[1:], input_features_mask=mask[1:])
    assert relative_error(vectors[1:], alone) < 1e-5


def test_another_encoder_reads_each_sound_without_padding(processor):
    _, config, _ = AUDIO["hubert"]()
    extractor = tiny_model(processor, audio_config=config).model.extractor
    extractor.open()
    samples, lengths = torch.randn(3, 16000), torch.tensor([16000, 7001, 0])
    mask = (torch.arange(16000) < lengths[:, None]).long()
    together = extractor(input_features=samples, input_features_mask=mask, audio_mask=lengths.sign())
    for row, length in enumerate(lengths[:2]):
        alone = extractor(
            input_features=samples[row : row + 1, :length], input_features_mask=mask[row : row + 1, :length]
        )
        assert relative_error(together[row : row + 1], alone) < 1e-5
    silent = extractor(input_features=samples[2:], input_features_mask=mask[2:], audio_mask=torch.tensor([0]))
    assert torch.isfinite(silent).all() and relative_error(together[2:], silent) < 1e-5
    states, heard = extractor.hear(samples, mask)
    assert heard.sum(dim=1).tolist() == [50, 21, 0]
    assert not states.transpose(1, 2)[~heard].any()


def test_the_window_is_encoded_as_whisper_does(model, processor):
    extractor = model.model.extractor
    features, mask = inputs_of(processor, 0.61)
    whole = extractor.audio_tower(features).last_hidden_state
    encoded = extractor.encode_audio(features, mask)[:, -1]
    assert relative_error(encoded, whole[:, : encoded.shape[1]]) < 1e-5


def test_without_padding_a_full_window_is_encoded_as_whisper_does(model, processor):
    extractor, (features, mask) = model.model.extractor, inputs_of(processor, 2.0, 2.0)
    padded = extractor.encode_audio(features, mask)
    model.config.pad_audio = False
    assert relative_error(extractor.encode_audio(features, mask), padded) < 1e-5


def test_without_padding_a_clip_is_encoded_by_itself(model, processor):
    """Neither the silence after it nor its neighbours change it, and it is as long as before."""
    extractor, (features, mask) = model.model.extractor, inputs_of(processor, 0.61, 1.4)
    padded = extractor.encode_audio(features, mask)
    model.config.pad_audio = False
    encoded, vectors = extractor.encode_audio(features, mask), extractor(features, input_features_mask=mask)
    assert encoded.shape == padded.shape and relative_error(encoded, padded) > 1e-3
    longer = features.clone()
    longer[0, :, int(mask[0].sum()) + 1 :] = 3.0
    alone = extractor(longer[:1], input_features_mask=mask[:1])
    assert relative_error(vectors[:1], alone) < 1e-5


def test_neighbours_are_averaged_over_what_is_heard():
    tokens = torch.arange(14.0).view(2, 7, 1)
    mask = torch.tensor([[1, 1, 1, 1, 1, 0, 0], [0, 1, 1, 0, 0, 0, 0]]).bool()
    means, heard = pool(tokens, mask, 3)
    assert means[..., 0].tolist() == [[1.0, 3.5, 0.0], [8.5, 0.0, 0.0]]
    assert heard.tolist() == [[True, True, False], [True, False, False]]
    same, still = pool(tokens, mask, 1)
    assert torch.equal(same[mask], tokens[mask]) and torch.equal(still, mask)


def test_an_opened_extractor_tells_clips_apart(processor):
    model = tiny_model(processor)
    features, _ = inputs_of(processor, 1.0, 1.0)
    differences = []
    for _ in range(2):
        first, second = model.model.extractor(input_features=features)
        differences.append(relative_error(first, second))
        model.model.extractor.open()
    assert differences[0] < 0.02 < 10 * differences[0] < differences[1]
