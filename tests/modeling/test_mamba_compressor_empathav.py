"""The compressor: reading in pieces is reading in one go, whatever the pieces and the other rows of the batch."""

import pytest
import torch

from helpers import relative_error
from transformers_empathav.testing.tiny import tiny_model


TURNS = [
    {"role": "user", "content": "I lost my job on Monday."},
    {"role": "assistant", "content": "That must hurt. What happened?"},
    {"role": "user", "content": "They gave no reason at all.", "emotion": "angry"},
    {"role": "assistant", "content": ""},
    {"role": "user", "content": "I keep thinking about it."},
]


def same(one, other, tolerance=1e-5):
    assert one.lengths.tolist() == other.lengths.tolist()
    for name in ("vectors",):
        assert relative_error(getattr(one, name), getattr(other, name)) < tolerance
    for name in ("conv", "ssm"):
        ours, theirs = getattr(one.state, name), getattr(other.state, name)
        assert relative_error(ours, theirs) < tolerance if theirs.any() else not ours.any()


@pytest.fixture(params=["mamba2", "mamba", "mamba2, each utterance by itself"])
def any_model(request, processor):
    kind, _, apart = request.param.partition(",")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "vocab_size": 1}
    sizes |= dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
    if kind == "mamba2":
        sizes |= {"num_heads": 4, "head_dim": 16, "n_groups": 1, "chunk_size": 8}
    model = tiny_model(processor, compressor_config={"model_type": kind, **sizes}, carry_state=not apart)
    with torch.no_grad():  # at initialisation the state hardly matters, and an error in it would hide
        for name, parameter in model.model.compressor.state_space.named_parameters():
            if name.endswith(("in_proj.weight", "x_proj.weight")):
                parameter.mul_(4)
        model.model.compressor.embedding_projection.linear.weight.mul_(50)
    return model


def test_turn_by_turn_equals_one_pass(any_model, processor):
    memory = None
    for turn in TURNS:
        memory = any_model.compress(**processor.encode_history([turn]), memory=memory)
    same(memory, any_model.compress(**processor.encode_history(TURNS)))
    assert memory.num_utterances == len(TURNS)


def test_token_by_token_equals_one_pass(any_model, processor):
    history = processor.encode_history(TURNS[:2])
    memory = None
    for token in history["history_input_ids"].split(1, dim=1):
        memory = any_model.compress(token, memory=memory)
    same(memory, any_model.compress(**history))


def test_a_ragged_batch_equals_its_rows_and_goes_on_alike(any_model, processor):
    rows = [TURNS[:3], TURNS[:1], []]
    memory = any_model.compress(**processor.encode_history(rows))
    memory = any_model.compress(**processor.encode_history([TURNS[3:], TURNS[1:3], TURNS[:2]]), memory=memory)
    for index, turns in enumerate([TURNS, TURNS[:3], TURNS[:2]]):
        alone = any_model.compress(**processor.encode_history(turns))
        length = int(alone.lengths)
        assert int(memory.lengths[index]) == length
        assert relative_error(memory.vectors[index, :length], alone.vectors[0]) < 1e-5
        assert not memory.vectors[index, length:].any()


def test_without_a_carried_state_an_utterance_is_kept_as_if_it_were_alone(any_model, processor):
    together = any_model.compress(**processor.encode_history(TURNS))
    alone = torch.cat([any_model.compress(**processor.encode_history([turn])).vectors for turn in TURNS], dim=1)
    same_vectors = relative_error(together.vectors, alone) < 1e-5
    assert same_vectors != any_model.config.carry_state
    empty = not (together.state.ssm.any() or together.state.conv.any())
    assert empty != any_model.config.carry_state


def test_a_memory_of_a_carried_state_is_gone_on_with_from_an_empty_one(any_model, processor):
    model = any_model
    if model.config.carry_state:
        pytest.skip("its state is carried")
    model.config.carry_state = True
    before = model.compress(**processor.encode_history(TURNS[:2]))
    model.config.carry_state = False
    after = model.compress(**processor.encode_history(TURNS[2:3]), memory=before)
    alone = model.compress(**processor.encode_history(TURNS[2:3]))
    assert before.state.ssm.any() and relative_error(after.vectors[:, 4:], alone.vectors) < 1e-5


def test_a_memory_stays_as_it_is_when_it_is_continued(any_model, processor):
    first = any_model.compress(**processor.encode_history(TURNS[:2]))
    before = first.vectors.clone(), first.state.ssm.clone()
    any_model.compress(**processor.encode_history(TURNS[2:]), memory=first)
    assert torch.equal(first.vectors, before[0]) and torch.equal(first.state.ssm, before[1])


def test_an_utterance_of_ten_thousand_tokens_leaves_its_vectors(any_model, processor):
    history = processor.encode_history([{"role": "user", "content": "word " * 2000}, TURNS[0]])
    assert history["history_input_ids"].shape[1] > 10_000
    memory = any_model.compress(**history)
    assert memory.lengths.tolist() == [4] and memory.is_finite()
    pieces = None
    for piece in history["history_input_ids"].split(3001, dim=1):
        pieces = any_model.compress(piece, memory=pieces)
    same(memory, pieces)


def test_the_state_does_not_grow(any_model, processor):
    short = any_model.compress(**processor.encode_history(TURNS[:1]))
    long = any_model.compress(**processor.encode_history(TURNS * 4))
    assert short.state.ssm.shape == long.state.ssm.shape
    per_vector = long.vectors.shape[-1] * 4 + 8 + 1  # its values, its turn and its role
    assert long.nbytes - short.nbytes == (long.num_vectors - short.num_vectors) * per_vector


def test_vectors_have_the_norm_of_the_embeddings(processor):
    model = tiny_model(processor)
    embeddings = model.get_input_embeddings().weight
    model.model.compressor.embedding_projection.fit_to(embeddings, anchor_id=7)
    vectors = model.compress(**processor.encode_history(TURNS)).vectors[0]
    mean_square = embeddings.detach().square().mean(dim=-1).sqrt().mean()
    assert torch.allclose(vectors.square().mean(dim=-1).sqrt(), mean_square.expand(len(vectors)), rtol=1e-3)


def test_gradients_flow_through_the_memory(model, processor):
    memory = model.model.compress(**processor.encode_history(TURNS[:2]))
    memory = model.model.compress(**processor.encode_history(TURNS[2:]), memory=memory)
    memory.vectors[0, -1].sum().backward()
    assert model.model.compressor.input_projection.weight.grad.abs().sum() > 0


def test_a_memory_of_another_number_of_rows_is_refused(model, processor):
    memory = model.compress(**processor.encode_history(TURNS[:1]))
    with pytest.raises(ValueError, match="2 rows and a memory of 1"):
        model.compress(**processor.encode_history([TURNS[:1], TURNS[:2]]), memory=memory)


def test_a_memory_of_other_sizes_is_refused(model, processor):
    other = tiny_model(
        processor,
        compressor_config={
            "model_type": "mamba2", "hidden_size": 16, "num_heads": 2, "head_dim": 16, "num_hidden_layers": 1,
            "n_groups": 1, "state_size": 4, "vocab_size": 1,
        },
    )  # fmt: skip
    memory = other.compress(**processor.encode_history(TURNS[:1]))
    with pytest.raises(ValueError, match="another|does not fit|state"):
        model.compress(**processor.encode_history(TURNS[1:]), memory=memory)
