"""Options that choose a writer: which one they give, and what makes it another one."""

import pytest
import torch

from chat_server import chat_server
from transformers_empathav.testing.tiny import tiny_model
from transformers_empathav.writers.arguments import WriterArguments
from transformers_empathav.writers.local import LocalWriter
from transformers_empathav.writers.sampling import Sampling


PROMPT = [{"role": "user", "content": "My cat ran away. [sad]"}]


def test_a_server_gets_every_option_and_the_key_of_the_variable_that_is_named(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "not mine")
    monkeypatch.setenv("MY_KEY", "mine")
    with chat_server() as server:
        arguments = WriterArguments(
            "tiny", server=server.url, api_key_variable="MY_KEY", extra_body='{"min_p": 0.1}', concurrency=3,
            requests_per_second=50.0, timeout=7.0, retries=2,
        )  # fmt: skip
        writer = arguments.open(Sampling(0.5, 0.9, 16))
        writer.write([PROMPT], [1])
    assert server.keys == ["Bearer mine"] and server.bodies[0]["min_p"] == 0.1
    assert (writer.concurrency, writer.interval) == (3, 1 / 50)
    assert (writer.client.timeout, writer.client.max_retries) == (7.0, 2)


def test_without_a_server_it_is_a_model_in_this_process(processor, tmp_path):
    tiny_model(processor).save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    sampling = Sampling(0, 1.0, 4)
    writer = WriterArguments(str(tmp_path), dtype="bfloat16").open(sampling, "cpu")
    assert isinstance(writer, LocalWriter) and writer.sampling == sampling
    assert writer.model.dtype == torch.bfloat16


def test_settings_are_what_replies_depend_on(tmp_path):
    drawn = {"temperature": 0.8, "top_p": 0.95, "max_new_tokens": 64}
    local = WriterArguments("a", adapter=str(tmp_path), rows_per_batch=4, dtype="bfloat16")
    settings = {"writer": "a", "system_prompt": None, "adapter": str(tmp_path), "adapter_sha256": None, **drawn}
    assert local.settings(Sampling()) == {**settings, "server": False, "rows_per_batch": 4, "dtype": "bfloat16"}
    (tmp_path / "adapter_model.safetensors").write_bytes(b"trained again")
    assert local.settings(Sampling())["adapter_sha256"] is not None
    assert local.settings(Sampling(repetition_penalty=1.1))["repetition_penalty"] == 1.1
    served = WriterArguments("a", server="http://a/v1", extra_body="{}", timeout=1.0, concurrency=1, rows_per_batch=4)
    assert served.settings(Sampling()) == {**settings, "adapter": None, "server": True, "extra_body": "{}"}


def test_an_adapter_is_not_for_a_server():
    with pytest.raises(ValueError, match="load it in the server"):
        WriterArguments("a", adapter="b", server="http://a/v1")
