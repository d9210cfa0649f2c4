"""Responder: turns, transcripts, and the assembled checkpoint on real clips."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import transformers_empathav
from clips import write_clip
from helpers import relative_error, sound, wake
from recogniser import listening
from transformers_empathav.chat.responder import Responder
from transformers_empathav.cli.respond import respond
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


def calls_of(module: torch.nn.Module, monkeypatch) -> list:
    """A list that grows by an entry with each call of a module."""
    calls, forward = [], module.forward
    monkeypatch.setattr(module, "forward", lambda *args, **kwargs: calls.append(args) or forward(*args, **kwargs))
    return calls


def test_a_turn_encodes_its_clip_and_reads_its_history_once(tiny, tmp_path, monkeypatch):
    clip = write_clip(tmp_path / "clip.mp4", seconds=1)
    history = [{"role": role, "content": f"Line {n}."} for n in range(6) for role in ("user", "assistant")]
    extractor, compressor, generate = tiny.model.model.extractor, tiny.model.model.compressor, tiny.model.generate
    heard, seen = (calls_of(tower, monkeypatch) for tower in (extractor.audio_tower, extractor.vision_tower))
    mixed, tries, read, embed = calls_of(extractor.qformer, monkeypatch), [], [], compressor.forward
    monkeypatch.setattr(
        compressor, "forward", lambda embeds, **kwargs: read.append(embeds.shape[1]) or embed(embeds, **kwargs)
    )

    def generated(**kwargs):  # the first two tries write nothing
        tries.append(kwargs)
        written = generate(**kwargs) if len(tries) > 2 else [kwargs["input_ids"]]
        return written

    monkeypatch.setattr(tiny.model, "generate", generated)
    reply = tiny([clip], "Well?", history, max_new_tokens=12)
    assert (len(heard), len(seen), len(mixed), len(tries)) == (1, 1, 1, 3)
    monkeypatch.undo()
    felt = {"emotion": reply.reading} if reply.reading in reply.emotion else {}
    answer = {"role": "assistant", "content": reply.response}
    whole = tiny.processor.encode_history([*history, {"role": "user", "content": "Well?", **felt}, answer])
    assert sum(read) == whole["history_input_ids"].shape[1]
    anew = tiny.model.compress(**whole, memory=tiny.model.empty_memory(max_vectors=tiny.max_vectors))
    assert relative_error(reply.memory.vectors, anew.vectors) < 1e-4
    assert reply.memory.num_utterances == 14 and reply.verbatim == 0


def test_the_way_of_a_clip_goes_through_few_doors(tiny, tmp_path, monkeypatch):
    """
    Whoever follows a clip from the command to a reply, model loaded and nothing remembered yet, goes from room to room
    through so many files; a room's other files are behind them.
    """
    clip = write_clip(tmp_path / "clip.mp4", seconds=1)
    package, doors = str(Path(transformers_empathav.__file__).parent), set()

    def room(name: str) -> str | None:
        return Path(name).relative_to(package).parts[0] if name.startswith(package) else None

    def watch(frame, event, argument):
        name = frame.f_code.co_filename
        if event == "call" and (here := room(name)) and frame.f_back:
            there = room(frame.f_back.f_code.co_filename)
            if there not in (None, here):
                doors.add(Path(name).relative_to(package).as_posix())

    monkeypatch.setattr("transformers_empathav.chat.responder.Responder", lambda *args, **kwargs: tiny)
    monkeypatch.setattr(tiny, "transcribe", listening(tiny, tmp_path))
    try:
        sys.setprofile(watch)
        respond(tiny.model.config._name_or_path, [str(clip)], as_json=True)
    finally:
        sys.setprofile(None)
    print("\n".join(sorted(doors)))
    assert len(doors) <= 15, "\n".join(sorted(doors))
    assert {"chat/conversation.py", "processing/clip_loading_empathav.py"} <= doors


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
        tiny([], text="Hello", history=[clip_alone, *({"role": "user", "content": "So?"} for _ in range(9))])


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
