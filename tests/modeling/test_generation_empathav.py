"""predict_emotion: which turn it reads, and that its scores are what the documentation says."""

import pytest
import torch

from helpers import assistant, encode, frames, relative_error, sound, user
from transformers_empathav.modeling.configuration_empathav import EmpathAVConfig
from transformers_empathav.testing.tiny import tiny_model


def test_scores_are_probabilities(model, processor):
    scores = model.predict_emotion(**encode(processor, [user(("audio", sound(1)), "hi")], [user("words")]))
    assert scores.shape == (2, 7) and scores.dtype == torch.float32
    assert torch.allclose(scores.sum(dim=1), torch.ones(2))


def test_a_score_is_the_mean_log_probability_of_the_label(model, processor):
    """Against one plain forward for each label, written out."""
    inputs = encode(processor, [user(("audio", sound(1)), "hi")])
    vectors = model.get_av_features(
        input_features=inputs["input_features"], input_features_mask=inputs["input_features_mask"]
    )
    config, expected = model.config, []
    slot = config.emotion_prompt_ids.index(config.av_token_id)
    placeholders = [config.av_token_id] * config.num_query_tokens
    prompt = config.emotion_prompt_ids[:slot] + placeholders + config.emotion_prompt_ids[slot + 1 :]
    for label in config.emotion_label_ids:
        ids = torch.tensor([prompt + label])
        with torch.no_grad():
            log_probs = model(ids, av_embeds=vectors).logits.log_softmax(-1)[0, len(prompt) - 1 : -1]
        expected.append(log_probs.gather(1, torch.tensor(label)[:, None]).mean())
    expected = torch.stack(expected).softmax(0)
    assert relative_error(model.predict_emotion(**inputs)[0], expected) < 1e-5


def test_a_batch_of_mixed_rows_equals_its_rows(model, processor):
    rows = [
        [user(("audio", sound(1)), "a")],
        [user("only words, and rather many of them")],
        [user(("video", frames(2))), assistant("ok"), user(("audio", sound(3)), "b")],
        [user(("video", frames(4)), ("audio", sound(5)), "c")],
    ]
    together = model.predict_emotion(**encode(processor, *rows))
    for index, row in enumerate(rows):
        assert relative_error(together[index : index + 1], model.predict_emotion(**encode(processor, row))) < 1e-4, (
            index
        )


def test_only_the_last_user_turn_counts(model, processor):
    last = user(("audio", sound(2)), "so")
    alone = model.predict_emotion(**encode(processor, [last]))
    before = [user(("audio", sound(1)), "before"), assistant("yes")]
    assert relative_error(model.predict_emotion(**encode(processor, [*before, last])), alone) < 1e-5
    other = [user(("audio", sound(2))), assistant("yes"), user(("audio", sound(1)), "so")]
    assert relative_error(model.predict_emotion(**encode(processor, other)), alone) > 1e-3


def test_a_turn_without_clips_is_scored_from_its_text(model, processor):
    glad, sad = (model.predict_emotion(**encode(processor, [user(text)])) for text in ("I won", "he died"))
    assert relative_error(glad, sad) > 1e-4
    with_older_clip = [user(("audio", sound(1)), "x"), assistant("y"), user("I won")]
    assert relative_error(model.predict_emotion(**encode(processor, with_older_clip)), glad) < 1e-5


def test_a_clip_without_any_stream_counts_as_none(model, processor):
    inputs = encode(processor, [user(("audio", sound(1)), "I won")])
    inputs["audio_mask"] = torch.zeros_like(inputs["audio_mask"])
    assert (
        relative_error(model.predict_emotion(**inputs), model.predict_emotion(**encode(processor, [user("I won")])))
        < 1e-5
    )


@pytest.mark.parametrize("text", ["\nline first", "user\nuser\n", "ends in a break\n"])
def test_text_that_looks_like_a_marker_is_still_the_turn(model, processor, text):
    scores = model.predict_emotion(**encode(processor, [user("before"), assistant("ok"), user(text)]))
    assert relative_error(scores, model.predict_emotion(**encode(processor, [user(text)]))) < 1e-5


def test_without_a_prompt_the_error_says_how_to_get_one(processor):
    model = tiny_model(processor, emotion_prompt_ids=None)
    with pytest.raises(ValueError, match="empathav assemble"):
        model.predict_emotion(torch.tensor([[5, 6]]))


def test_a_temperature_makes_what_is_said_of_clips_less_sure_and_texts_stay(model, processor):
    inputs = encode(processor, [user(("audio", sound(1)))], [user("only words")])
    clip, text = model.predict_emotion(**inputs)
    model.config.emotion_temperature = 2.0
    cooled, same = model.predict_emotion(**inputs)
    assert torch.allclose(cooled, (clip.log() / 2).softmax(dim=-1), atol=1e-6) and torch.allclose(same, text)
    with pytest.raises(ValueError, match="emotion_temperature is 0, which must be above 0"):
        EmpathAVConfig(emotion_temperature=0)
