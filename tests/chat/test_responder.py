"""Responder: turns, transcripts, and the assembled checkpoint on real clips."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import (
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Processor,
)

from clips import write_clip
from helpers import sound, wake
from transformers_empathav.chat.responder import Responder
from transformers_empathav.testing.tiny import tiny_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, processor) -> Responder:
    folder = tmp_path_factory.mktemp("tiny")
    wake(tiny_model(processor)).save_pretrained(folder)
    processor.save_pretrained(folder)
    return Responder(folder, device="cpu")


@pytest.fixture(scope="module")
def real(checkpoint_dir) -> Responder:
    return Responder(checkpoint_dir, device="cpu")


def test_a_turn_reads_its_clip_its_history_and_its_memory(tiny, tmp_path):
    low, high = (write_clip(tmp_path / f"{hertz}.wav", seconds=1, fps=None, audio_codec="pcm_s16le", frequency=hertz)
                 for hertz in (200, 3000))  # fmt: skip
    clip, text = low, "Well?"
    memory = tiny([], text="We went to the sea.", max_new_tokens=4).memory
    plain = tiny([clip], text, max_new_tokens=8)
    assert tiny([high], text, max_new_tokens=8).emotion != plain.emotion
    assert tiny([clip], text, [{"role": "user", "content": "Go away!"}], max_new_tokens=8).response != plain.response
    assert tiny([clip], text, memory=memory, max_new_tokens=8).response != plain.response
    assert tiny([clip], text, max_new_tokens=8).response == plain.response


def test_memory_of_the_caller_stays_as_it_is(tiny):
    memory = tiny([], text="Hello", max_new_tokens=4).memory
    before = memory.vectors.clone()
    longer = tiny([], text="Again", memory=memory, max_new_tokens=4).memory
    assert (memory.num_utterances, longer.num_utterances) == (2, 4)
    assert torch.equal(memory.vectors, before) and torch.equal(longer.vectors[:, : before.shape[1]], before)


def test_a_reply_is_never_empty(tiny, monkeypatch):
    written, calls = iter(["", "  \n", "At last."]), []

    def decode(*args, **kwargs):
        return next(written)

    generate = tiny.model.generate
    monkeypatch.setattr(tiny.processor, "decode", decode)
    monkeypatch.setattr(tiny.model, "generate", lambda **kwargs: calls.append(kwargs) or generate(**kwargs))
    assert tiny([], text="Hello", max_new_tokens=12).response == "At last."
    assert [call.get("min_new_tokens") for call in calls] == [None, 8, 8]


def test_the_reply_does_not_disturb_the_callers_random_numbers(tiny):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    tiny([], text="Hello", max_new_tokens=4)
    assert torch.equal(torch.rand(1), expected)


def test_several_conversations_are_no_memory_of_one(tiny):
    memory = tiny([], text="Hello", max_new_tokens=4).memory.select(torch.tensor([0, 0]))
    with pytest.raises(ValueError, match="2 conversations"):
        tiny([], text="Hello", memory=memory)


def test_a_history_that_cannot_be_remembered_is_refused_before_the_reply(tiny, monkeypatch):
    monkeypatch.setattr(tiny.model, "generate", lambda **kwargs: pytest.fail("the reply was begun"))
    clip_alone = {"role": "user", "content": [{"type": "audio", "audio": sound(0)}]}
    with pytest.raises(ValueError, match="add what was said"):
        tiny([], text="Hello", history=[clip_alone])


def test_recognisers_without_a_decoder_are_read_too(tiny, tmp_path):
    letters = {letter: index for index, letter in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefg"])}
    (tmp_path / "vocab.json").write_text(json.dumps(letters))
    tokenizer = Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json"), do_lower_case=False)
    processor = Wav2Vec2Processor(Wav2Vec2FeatureExtractor(), tokenizer)
    config = Wav2Vec2Config(
        vocab_size=len(letters), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        conv_dim=[8, 8], conv_stride=[20, 16], conv_kernel=[20, 16], num_feat_extract_layers=2,
        num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    torch.manual_seed(0)
    recogniser = Wav2Vec2ForCTC(config).eval()
    torch.nn.init.normal_(recogniser.lm_head.weight)
    recogniser.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    listening = Responder(tiny.model.config._name_or_path, asr=str(tmp_path), device="cpu")
    heard = sound(0)
    with torch.no_grad():
        logits = recogniser(**processor(heard, sampling_rate=16000, return_tensors="pt")).logits
    expected = processor.batch_decode(logits.argmax(-1))[0].strip()
    assert expected and listening.transcribe([heard]) == expected
    assert listening.transcribe([heard, heard]) == f"{expected} {expected}"


# The assembled checkpoint on real speech


def is_sound(reply):
    assert "door" in reply.transcript.lower(), reply.transcript  # both sentences of the corpus end in it
    assert sum(reply.emotion.values()) == pytest.approx(1, abs=1e-5)
    assert reply.response.strip() and np.isfinite(list(reply.seconds.values())).all()


@pytest.mark.parametrize("index", range(10))
def test_real_clips_are_heard_and_answered(index, real, data_dir):
    path = sorted((data_dir / "av_clips" / "fullframe").glob("*.mp4"))[index]
    is_sound(real([path], max_new_tokens=3))


def test_a_real_recording_in_a_process_of_its_own(checkpoint_dir, data_dir):
    path = sorted((data_dir / "ravdess_audio").rglob("*.flac"))[0]
    arguments = ["respond", str(checkpoint_dir), str(path), "--json", "--max-new-tokens", "4"]
    command = [sys.executable, "-c", "from transformers_empathav.cli import main; main()", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    reply = json.loads(done.stdout)
    assert "door" in reply["transcript"].lower() and reply["response"]
    assert sum(reply["emotion"]["scores"].values()) == pytest.approx(1, abs=1e-5)
