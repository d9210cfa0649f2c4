"""A writer in this process, against plain `generate`."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from chat_templates import GEMMA
from helpers import assistant, sound, user, wake
from transformers_empathav.testing.tiny import tiny_model, tiny_processor, tiny_tokenizer
from transformers_empathav.writers.local import LocalWriter
from transformers_empathav.writers.sampling import Sampling


PROMPTS = [
    [{"role": "user", "content": "My cat ran away. [sad]"}],
    [{"role": "user", "content": "Hi"}, assistant("Hello!"), {"role": "user", "content": "I won the race! [happy]"}],
]
GREEDY = Sampling(temperature=0, max_new_tokens=8)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A tiny language model as a directory, and a LoRA adapter for it that changes what it writes."""
    folder, tokenizer = tmp_path_factory.mktemp("plain"), tiny_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=256, bos_token_id=0, eos_token_id=1, pad_token_id=1, initializer_range=0.2,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    adapted.save_pretrained(folder / "adapter")
    return folder


def test_a_batch_writes_what_each_prompt_alone_would(plain):
    writer = LocalWriter.from_pretrained(plain / "model", sampling=GREEDY)
    together = writer.write(PROMPTS, [0, 0])
    assert together == [writer.write([prompt], [0])[0] for prompt in PROMPTS]
    model, tokenizer = LlamaForCausalLM.from_pretrained(plain / "model"), tiny_tokenizer()
    for prompt, written in zip(PROMPTS, together):
        inputs = tokenizer.apply_chat_template(
            prompt, add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        tokens = model.generate(**inputs, max_new_tokens=8, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        assert written.text == tokenizer.decode(tokens, skip_special_tokens=True).strip()
        assert written.finish_reason == ("stop" if 1 in tokens else "length")


def test_an_adapter_changes_the_writer(plain):
    with_adapter = LocalWriter.from_pretrained(plain / "model", plain / "adapter", GREEDY)
    assert with_adapter.write(PROMPTS, [0, 0]) != LocalWriter.from_pretrained(plain / "model", sampling=GREEDY).write(
        PROMPTS, [0, 0]
    )


def test_a_repetition_penalty_is_that_of_generate(plain):
    penalised = LocalWriter.from_pretrained(plain / "model", sampling=Sampling(0, 1.0, 8, repetition_penalty=1.8))
    model, tokenizer = LlamaForCausalLM.from_pretrained(plain / "model"), tiny_tokenizer()
    inputs = tokenizer.apply_chat_template(
        PROMPTS[0], add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    tokens = model.generate(**inputs, max_new_tokens=8, do_sample=False, repetition_penalty=1.8)
    expected = tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()
    (written,) = penalised.write(PROMPTS[:1], [0])
    (plainly,) = LocalWriter.from_pretrained(plain / "model", sampling=GREEDY).write(PROMPTS[:1], [0])
    assert written.text == expected != plainly.text


def test_the_seed_alone_decides_the_draw(plain):
    writer = LocalWriter.from_pretrained(plain / "model", sampling=Sampling(1.0, 1.0, 8))
    first = writer.write(PROMPTS, [7, 8])
    state = torch.get_rng_state()
    assert writer.write(PROMPTS, [7, 8]) == first != writer.write(PROMPTS, [9, 8])
    assert torch.equal(torch.get_rng_state(), state)  # whoever draws beside it is not disturbed
    torch.manual_seed(123)
    assert writer.write(PROMPTS, [7, 8]) == first


def test_a_reply_that_ends_says_so(plain):
    writer = LocalWriter.from_pretrained(plain / "model", sampling=GREEDY)
    writer.model.generation_config.eos_token_id = list(range(300))
    assert {written.finish_reason for written in writer.write(PROMPTS, [0, 0])} == {"stop"}


def test_a_prompt_that_does_not_fit_is_not_cut(plain):
    writer = LocalWriter.from_pretrained(plain / "model", sampling=GREEDY)
    long = [{"role": "user", "content": "word " * 80}]
    first, second = writer.write([long, PROMPTS[0]], [0, 0])
    assert (first.text, first.finish_reason) == ("", "prompt")
    assert second == writer.write([PROMPTS[0]], [0])[0]
    assert writer.write([long], [0]) == [first]


def tokens_as_text(tokens, **kwargs) -> list[str]:
    return [" ".join(map(str, row)) for row in tokens.tolist()]


def test_an_empathav_checkpoint_hears_clips_and_remembers(tmp_path):
    processor = tiny_processor(recent_turns=1)
    wake(tiny_model(processor)).save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    writer = LocalWriter.from_pretrained(tmp_path, sampling=GREEDY)
    writer.tokenizer.batch_decode = tokens_as_text  # a random model's bytes are seldom text
    prompts = [*PROMPTS, *([user(("audio", sound(seed)), "And now?")] for seed in range(4))]
    together = writer.write(prompts, [0] * 6)
    assert together == [writer.write([prompt], [0])[0] for prompt in prompts]
    assert len({written.text for written in together[2:]}) > 1  # the same words in other voices
    assert together[1] != writer.write([PROMPTS[1][-1:]], [0])[0]  # what was said before
    lora = LoraConfig(r=2, target_modules=r"model\.language_model\..*(q_proj|v_proj)", init_lora_weights=False)
    get_peft_model(writer.model, lora).save_pretrained(tmp_path / "adapter")
    adapted = LocalWriter.from_pretrained(tmp_path, tmp_path / "adapter", GREEDY)
    adapted.tokenizer.batch_decode = tokens_as_text
    assert all(found != before for found, before in zip(adapted.write(prompts, [0] * 6), together))


def test_a_model_without_a_chat_template_is_refused(plain, tmp_path):
    LlamaForCausalLM.from_pretrained(plain / "model").save_pretrained(tmp_path)
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no chat template"):
        LocalWriter.from_pretrained(tmp_path)


def test_a_writer_whose_template_takes_no_system_message_reads_it_all_the_same(plain, monkeypatch):
    writer, seen = LocalWriter.from_pretrained(plain / "model", sampling=GREEDY), []
    writer.tokenizer.chat_template = GEMMA
    monkeypatch.setattr(writer, "generate", lambda inputs, seed: seen.append(inputs) or [None])
    writer.write([[{"role": "system", "content": "Be kind."}, user("I lost my job.")]], [0])
    text = writer.tokenizer.decode(seen[0]["input_ids"][0])
    assert text == "<|im_start|><turn>user\nBe kind.\n\nI lost my job.<end>\n<turn>model\n"
