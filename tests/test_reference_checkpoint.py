"""The assembled smollm2-135m checkpoint with its real backbones; none of its new parts need be trained."""

import pytest
import torch

from helpers import encode, frames, sound, user
from transformers_empathav import EmpathAVForCausalLM, EmpathAVProcessor


@pytest.fixture(scope="module")
def reference(checkpoint_dir):
    model = EmpathAVForCausalLM.from_pretrained(checkpoint_dir, dtype=torch.float32).eval()
    return model, EmpathAVProcessor.from_pretrained(checkpoint_dir)


def test_each_emotion_is_one_token(reference):
    model, _ = reference
    assert [len(tokens) for tokens in model.config.emotion_label_ids] == [1] * 7


def test_placeholders_add_no_row_to_the_vocabulary(reference):
    model, processor = reference
    assert model.lm_head.weight.shape[0] == len(processor.tokenizer) == 49152


def test_new_vectors_have_the_norm_of_the_embeddings(reference):
    model, processor = reference
    mean_norm = model.get_input_embeddings().weight.detach().norm(dim=-1).mean()
    inputs = encode(processor, [user(("video", frames(1)), "hi")])
    clip = model.get_av_features(pixel_values_videos=inputs["pixel_values_videos"])
    memory = model.compress(**processor.encode_history([user("I lost my job")]))
    for vectors in (clip, memory.flat()):
        assert float(vectors.detach().norm(dim=-1).mean()) == pytest.approx(float(mean_norm), rel=0.05)


def test_an_untrained_checkpoint_says_what_its_language_model_would_say(reference):
    """Over a reply of the bare model, clip and memory move the next-token distribution little (KL in nats)."""
    model, processor = reference
    if any(
        part.embedding_projection.linear.weight.std() > 0.01
        for part in (model.model.extractor, model.model.compressor)
    ):
        pytest.skip("this checkpoint has trained parts, which are meant to change what is said")
    words = "My dog died last night and I cannot sleep."
    plain = encode(processor, [user(words)])
    reply = model.generate(**plain, max_new_tokens=16, do_sample=False)[:, plain["input_ids"].shape[1] :]
    memory = model.compress(**processor.encode_history([user("I lost my job"), user("It hurts")]))
    full = encode(processor, [user(("audio", sound(1)), words)], memory=memory)

    def log_probs(inputs, **kwargs):
        inputs["input_ids"] = torch.cat([inputs["input_ids"], reply], dim=1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        with torch.no_grad():
            return model(**inputs, **kwargs).logits[:, -len(reply[0]) - 1 : -1].log_softmax(-1)

    bare, with_vectors = log_probs(plain), log_probs(full, memory=memory)
    divergence = (bare.exp() * (bare - with_vectors)).sum(-1).mean()
    assert 0 < divergence < 0.15
