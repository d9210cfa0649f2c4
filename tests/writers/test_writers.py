"""Writers: in this process against plain `generate`, behind a server with everything that goes wrong there."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from chat_server import chat_server, reply_of
from helpers import assistant, sound, user, wake
from transformers_empathav.testing.tiny import tiny_model, tiny_processor, tiny_tokenizer
from transformers_empathav.writers.local import TransformersEngine
from transformers_empathav.writers.remote import ServerEngine
from transformers_empathav.writers.sampling import Sampling, as_text


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
    engine = TransformersEngine(plain / "model", sampling=GREEDY)
    together = engine.write(PROMPTS, [0, 0])
    assert together == [engine.write([prompt], [0])[0] for prompt in PROMPTS]
    model, tokenizer = LlamaForCausalLM.from_pretrained(plain / "model"), tiny_tokenizer()
    for prompt, written in zip(PROMPTS, together):
        inputs = tokenizer.apply_chat_template(
            prompt, add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        tokens = model.generate(**inputs, max_new_tokens=8, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        assert written.text == tokenizer.decode(tokens, skip_special_tokens=True).strip()
        assert written.finish_reason == ("stop" if 1 in tokens else "length")


def test_an_adapter_changes_the_writer(plain):
    with_adapter = TransformersEngine(plain / "model", plain / "adapter", GREEDY)
    assert with_adapter.write(PROMPTS, [0, 0]) != TransformersEngine(plain / "model", sampling=GREEDY).write(
        PROMPTS, [0, 0]
    )


def test_the_seed_alone_decides_the_draw(plain):
    engine = TransformersEngine(plain / "model", sampling=Sampling(1.0, 1.0, 8))
    first = engine.write(PROMPTS, [7, 8])
    state = torch.get_rng_state()
    assert engine.write(PROMPTS, [7, 8]) == first != engine.write(PROMPTS, [9, 8])
    assert torch.equal(torch.get_rng_state(), state)  # whoever draws beside it is not disturbed
    torch.manual_seed(123)
    assert engine.write(PROMPTS, [7, 8]) == first


def test_a_reply_that_ends_says_so(plain):
    engine = TransformersEngine(plain / "model", sampling=GREEDY)
    engine.ends = torch.arange(300)
    assert {written.finish_reason for written in engine.write(PROMPTS, [0, 0])} == {"stop"}


def test_a_prompt_that_does_not_fit_is_not_cut(plain):
    engine = TransformersEngine(plain / "model", sampling=GREEDY)
    long = [{"role": "user", "content": "word " * 80}]
    first, second = engine.write([long, PROMPTS[0]], [0, 0])
    assert (first.text, first.finish_reason) == ("", "prompt")
    assert second == engine.write([PROMPTS[0]], [0])[0]
    assert engine.write([long], [0]) == [first]


def tokens_as_text(tokens, **kwargs) -> list[str]:
    return [" ".join(map(str, row)) for row in tokens.tolist()]


def test_an_empathav_checkpoint_hears_clips_and_remembers(tmp_path):
    processor = tiny_processor(recent_turns=1)
    wake(tiny_model(processor)).save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    engine = TransformersEngine(tmp_path, sampling=GREEDY)
    engine.tokenizer.batch_decode = tokens_as_text  # a random model's bytes are seldom text
    prompts = [*PROMPTS, *([user(("audio", sound(seed)), "And now?")] for seed in range(4))]
    together = engine.write(prompts, [0] * 6)
    assert together == [engine.write([prompt], [0])[0] for prompt in prompts]
    assert len({written.text for written in together[2:]}) > 1  # the same words in other voices
    assert together[1] != engine.write([PROMPTS[1][-1:]], [0])[0]  # what was said before
    lora = LoraConfig(r=2, target_modules=r"model\.language_model\..*(q_proj|v_proj)", init_lora_weights=False)
    get_peft_model(engine.model, lora).save_pretrained(tmp_path / "adapter")
    adapted = TransformersEngine(tmp_path, tmp_path / "adapter", GREEDY)
    adapted.tokenizer.batch_decode = tokens_as_text
    assert all(found != before for found, before in zip(adapted.write(prompts, [0] * 6), together))


def test_a_model_without_a_chat_template_is_refused(plain, tmp_path):
    LlamaForCausalLM.from_pretrained(plain / "model").save_pretrained(tmp_path)
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no chat template"):
        TransformersEngine(tmp_path)


def test_neighbours_of_one_role_become_one_message_of_words():
    prompt = [
        {"role": "user", "content": "One.", "speaker": "Ann"},
        {
            "role": "user",
            "content": [{"type": "audio", "path": "a.wav"}, {"type": "text", "text": "Two."}],
            "emotion": "sad",
        },
        assistant("Three."),
    ]
    assert as_text(prompt) == [{"role": "user", "content": "One.\nTwo."}, assistant("Three.")]


def engine_for(server, **options):
    options = {"backoff": 0.01, "timeout": 5.0, **options}
    return ServerEngine(server.url, "tiny", Sampling(0.5, 0.9, 16), **options)


def test_a_server_is_asked_in_openais_words():
    with chat_server() as server:
        engine = engine_for(server, api_key="secret", extra_body={"repetition_penalty": 1.1})
        written = engine.write(PROMPTS, [11, 12])
    assert [found.text for found in written] == [reply_of(body) for body in server.bodies]
    assert {found.finish_reason for found in written} == {"stop"}
    assert server.bodies[1] == {
        "model": "tiny", "messages": PROMPTS[1], "temperature": 0.5, "top_p": 0.9, "max_tokens": 16, "seed": 12,
        "repetition_penalty": 1.1,
    }  # fmt: skip
    assert server.keys == ["Bearer secret"] * 2


@pytest.mark.parametrize(
    "trouble",
    [
        (429, {"Retry-After": "0"}, "slow down"),
        (500, {}, "oops"),
        (503, {}, ""),
        (200, {}, "<html>no json</html>"),
        (200, {}, "[]"),
        (200, {}, '{"choices": []}'),
        (200, {}, '{"choices": [{"message": null, "finish_reason": "stop"}]}'),
    ],
)
def test_what_may_pass_is_tried_again(trouble):
    with chat_server(lambda number, body: trouble if number < 2 else None) as server:
        (written,) = engine_for(server).write(PROMPTS[:1], [5])
        assert written.text == reply_of(server.bodies[0]) and len(server.bodies) == 3
    with chat_server(lambda number, body: trouble) as server:
        with pytest.raises(ConnectionError, match="3 tries.*run the same command again"):
            engine_for(server, retries=2).write(PROMPTS[:1], [5])
        assert len(server.bodies) == 3


def test_a_server_that_is_slow_or_away():
    with chat_server(delay=0.5) as server:
        with pytest.raises(ConnectionError, match="Timeout.*2 tries"):
            engine_for(server, timeout=0.1, retries=1).write(PROMPTS[:1], [5])
        address = server
    with pytest.raises(ConnectionError, match="gave no answer"):
        engine_for(address, retries=0).write(PROMPTS[:1], [5])


def test_a_refusal_ends_it_at_once():
    with chat_server(lambda number, body: (404, {}, '{"error": "no such model"}')) as server:
        with pytest.raises(ValueError, match="404.*no such model.*Check url, model and key"):
            engine_for(server).write(PROMPTS[:1], [5])
        assert len(server.bodies) == 1


def test_a_prompt_longer_than_the_servers_context_is_told_apart():
    said = '{"error": {"message": "This model\'s maximum context length is 2048 tokens"}}'
    with chat_server(lambda number, body: (400, {}, said)) as server:
        (written,) = engine_for(server).write(PROMPTS[:1], [5])
    assert (written.text, written.finish_reason) == ("", "prompt")


def test_requests_are_spaced():
    with chat_server() as server:
        engine_for(server, requests_per_second=20).write(PROMPTS * 3, range(6))
    assert server.times[-1] - server.times[0] >= 5 / 20 - 0.02
