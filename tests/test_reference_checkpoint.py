"""The assembled smollm2-135m checkpoint with its real backbones; none of its new parts need be trained."""

import os
from dataclasses import replace

import pytest
import torch

from helpers import encode, frames, sound, user
from transformers_empathav import EmpathAVForCausalLM, EmpathAVProcessor
from transformers_empathav.data.clips.corpus import load_clip_corpus
from transformers_empathav.training.compressor.collator import ReconstructionCollator
from transformers_empathav.training.compressor.reconstruction import text_losses


@pytest.fixture(scope="module")
def reference(checkpoint_dir):
    model = EmpathAVForCausalLM.from_pretrained(checkpoint_dir, dtype=torch.float32).eval()
    return model, EmpathAVProcessor.from_pretrained(checkpoint_dir)


def is_trained(projection) -> bool:
    """Before training the linear part of the projection is small, see `EmbeddingProjection`."""
    return bool(projection.linear.weight.std() > 0.01)


def test_each_emotion_is_one_token(reference):
    model, _ = reference
    assert [len(tokens) for tokens in model.config.emotion_label_ids] == [1] * 7


def test_placeholders_add_no_row_to_the_vocabulary(reference):
    model, processor = reference
    assert model.lm_head.weight.shape[0] == len(processor.tokenizer) == 49152


@pytest.mark.parametrize("part", ["extractor", "compressor"])
def test_new_vectors_have_one_norm_and_begin_with_that_of_the_embeddings(reference, part):
    model, processor = reference
    if part == "extractor":
        inputs = encode(processor, [user(("video", frames(1)), "hi")])
        vectors = model.get_av_features(pixel_values_videos=inputs["pixel_values_videos"])
    else:
        vectors = model.compress(**processor.encode_history([user("I lost my job"), user("Why?")])).flat()
    projection = getattr(model.model, part).embedding_projection
    norm = float(projection.scale.detach()) * vectors.shape[-1] ** 0.5
    assert torch.allclose(vectors.detach().norm(dim=-1), torch.tensor(norm), rtol=0.05)
    if not is_trained(projection):
        mean_norm = model.get_input_embeddings().weight.detach().norm(dim=-1).mean()
        assert norm == pytest.approx(float(mean_norm), rel=0.05)


@pytest.mark.parametrize("part", ["extractor", "compressor"])
def test_an_untrained_part_leaves_the_language_model_to_say_what_it_would_say(reference, part):
    """Over a reply of the bare model, clip or memory moves the next-token distribution little (KL in nats)."""
    model, processor = reference
    if is_trained(getattr(model.model, part).embedding_projection):
        pytest.skip(f"the {part} of this checkpoint is trained, and meant to change what is said")
    words = "My dog died last night and I cannot sleep."
    plain = encode(processor, [user(words)])
    reply = model.generate(**plain, max_new_tokens=16, do_sample=False)[:, plain["input_ids"].shape[1] :]
    if part == "extractor":
        memory, full = None, encode(processor, [user(("audio", sound(1)), words)])
    else:
        memory = model.compress(**processor.encode_history([user("I lost my job"), user("It hurts")]))
        full = encode(processor, [user(words)], memory=memory)

    def log_probs(inputs, **kwargs):
        inputs["input_ids"] = torch.cat([inputs["input_ids"], reply], dim=1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        with torch.no_grad():
            return model(**inputs, **kwargs).logits[:, -len(reply[0]) - 1 : -1].log_softmax(-1)

    bare, with_vectors = log_probs(plain), log_probs(full, memory=memory)
    divergence = (bare.exp() * (bare - with_vectors)).sum(-1).mean()
    assert 0 < divergence < 0.15


def test_a_trained_memory_carries_what_was_said(reference):
    """The frozen language model finds an utterance far likelier from its own memory than from another's."""
    model, processor = reference
    if not is_trained(model.model.compressor.embedding_projection):
        pytest.skip("the compressor of this checkpoint is not trained")
    said = ["My sister is getting married in June!", "I failed the exam again.", "The cat broke my favourite cup."]
    batch = ReconstructionCollator(processor)([[{"role": "user", "content": text}] for text in said])
    memory = model.compress(batch["history_input_ids"], batch["history_attention_mask"])
    with torch.no_grad():
        own = text_losses(model, batch, vectors=memory.flat())[0].mean()
        other = text_losses(model, batch, vectors=memory.vectors.roll(1, dims=0).flatten(0, 1))[0].mean()
    assert other - own > 0.5


@pytest.mark.skipif("EMPATHAV_DATA" not in os.environ, reason="EMPATHAV_DATA names no folder of clips")
def test_the_predicted_emotion_moves_with_the_voice(reference):
    """
    Voices of filmed clips are exchanged, and take their emotions along, all but one at most: the man who is filmed was
    left out of training.
    """
    model, processor = reference
    if not is_trained(model.model.extractor.embedding_projection):
        pytest.skip("the extractor of this checkpoint is not trained")
    clips = {}
    for item in load_clip_corpus("av_clips/faces"):
        clips.setdefault(item["messages"][-1]["emotion"], item["messages"][-1]["content"][0]["path"])
    emotions = ["angry", "happy", "fearful", "sad"]
    decoded = [processor.load_clip(clips[emotion])[0] for emotion in emotions]
    exchanged = [replace(clip, audio=decoded[index - 1].audio) for index, clip in enumerate(decoded)]
    voices = [emotions[index - 1] for index in range(len(emotions))]

    own, other = (
        model.predict_emotion(**encode(processor, *[[user(("video", [clip]))] for clip in windows])).detach()
        for windows in (decoded, exchanged)
    )
    column = [model.config.emotion_labels.index(emotion) for emotion in voices]
    gained = torch.stack([other[row, label] - own[row, label] for row, label in enumerate(column)])
    assert (gained > 0).sum() >= 3 and gained.mean() > 0.1
