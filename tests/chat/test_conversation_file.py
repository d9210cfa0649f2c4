"""A conversation on disk: the same next reply in a new process, nothing half written, nothing damaged taken."""

import json
import multiprocessing
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, load_file, save

from clips import write_clip
from helpers import relative_error, wake
from transformers_empathav import ConversationMemory
from transformers_empathav.chat.conversation import Conversation
from transformers_empathav.chat.conversation_file import pack_conversation, peek, unpack_conversation
from transformers_empathav.chat.responder import Responder
from transformers_empathav.modeling.memory_file_empathav import digest
from transformers_empathav.testing.tiny import tiny_model


@pytest.fixture
def conversation(responder, tmp_path) -> Conversation:
    clip = write_clip(tmp_path / "clip.wav", seconds=1, fps=None, audio_codec="pcm_s16le")
    conversation = Conversation(responder, recent_turns=2, system="Be kind.", keep_transcript=True)
    for text in ("My dog is called Bello", "He died", "Well?"):
        conversation.say(text, [clip], max_new_tokens=4)
    return conversation


def answer(folder, path, queue):
    torch.set_num_threads(1)
    loaded = Conversation.load(path, Responder(folder, device="cpu"))
    queue.put(loaded.say("And now?", max_new_tokens=6).response)


def test_another_process_goes_on_as_this_one_does(conversation, responder, tmp_path):
    path = tmp_path / "talk.safetensors"
    conversation.save(path)
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=answer, args=(responder.model.config._name_or_path, path, queue))
    process.start()
    there = queue.get(timeout=120)
    process.join()
    assert there == conversation.say("And now?", max_new_tokens=6).response


def test_all_of_it_comes_back(conversation, responder, tmp_path):
    conversation.save(tmp_path)
    loaded = Conversation.load(tmp_path, responder)
    for name in ("system", "recent_turns", "messages", "emotions", "transcript"):
        assert getattr(loaded, name) == getattr(conversation, name), name
    assert torch.equal(loaded.memory.vectors, conversation.memory.vectors)
    for one, other in zip(loaded.tail, conversation.tail, strict=True):
        assert (one.vectors is None) == (other.vectors is None)
        assert one.vectors is None or torch.equal(one.vectors, other.vectors)
    assert peek(tmp_path)[1] == conversation.messages
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == ["conversation.safetensors"]


def test_a_directory_of_a_memory_alone_is_read(conversation, responder, tmp_path):
    conversation.compress()
    conversation.memory.save_pretrained(tmp_path)
    loaded = Conversation.load(tmp_path, responder)
    assert loaded.messages == [] and len(loaded) == len(conversation)
    assert relative_error(loaded.memory.vectors, conversation.memory.vectors) == 0
    loaded.save(tmp_path)
    assert ConversationMemory.from_pretrained(tmp_path).num_utterances == 6  # the older file stays
    assert peek(tmp_path)[0].num_utterances == 6


def test_two_writers_do_not_undo_each_other(conversation, responder, tmp_path):
    conversation.save(tmp_path)
    one, other = Conversation.load(tmp_path, responder), Conversation.load(tmp_path, responder)
    one.say("I am first", max_new_tokens=4)
    one.save(tmp_path)
    one.save(tmp_path)
    before = (tmp_path / "conversation.safetensors").read_bytes()
    with pytest.raises(ValueError, match="someone else"):
        other.save(tmp_path)
    assert (tmp_path / "conversation.safetensors").read_bytes() == before


def rewritten(data: bytes, change) -> bytes:
    """A conversation whose content was changed by someone who knows how its checksum is made."""
    tensors = load(data)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    state = json.loads(header["conversation"])
    change(state, tensors)
    text = json.dumps(state)
    return save(tensors, {"format": "1", "conversation": text, "checksum": digest(text, tensors)})


@pytest.mark.parametrize(
    "change",
    [
        lambda state, tensors: state.update(tail=[{"role": "nobody", "content": "x"}]),
        lambda state, tensors: state.update(tail=7),
        lambda state, tensors: state.pop("emotions"),
        lambda state, tensors: state.update(system=3),
        lambda state, tensors: state.update(recent_turns="4"),
        lambda state, tensors: state.update(recent_turns=0),
        lambda state, tensors: state.update(transcript=[{"role": "user", "content": "x"}]),
        lambda state, tensors: state["emotions"][0].update(turn=99),
        lambda state, tensors: state["emotions"][0].update(scores={"sad": 1.0}),
        lambda state, tensors: state["emotions"].append(None),
        lambda state, tensors: tensors.update(memory=torch.zeros(9, dtype=torch.uint8)),
        lambda state, tensors: tensors.pop("memory"),
        lambda state, tensors: tensors.update({"clips.0": torch.zeros(1, 2, 3)}),
        lambda state, tensors: tensors.update({"clips.0": tensors["clips.0"] * torch.nan}),
        lambda state, tensors: tensors.update({"clips.x": torch.zeros(1)}),
        lambda state, tensors: tensors.update({"clips.9": tensors["clips.0"] + 1}),
    ],
)
def test_what_no_conversation_writes_is_refused_in_one_line(change, conversation, responder):
    data = rewritten(pack_conversation(conversation), change)
    with pytest.raises(ValueError) as error:
        unpack_conversation(data, responder)
    assert len(str(error.value).splitlines()) == 1 and len(str(error.value)) < 600


def test_damage_is_refused(conversation, responder):
    data = pack_conversation(conversation)
    for broken in (b"", data[:100], data[:-1], data[:-40] + bytes(40)):
        with pytest.raises(ValueError, match="is damaged"):
            unpack_conversation(broken, responder)
    assert rewritten(data, lambda state, tensors: None) != b""


def test_another_checkpoint_is_refused(conversation, processor, tmp_path):
    folder = tmp_path / "other"
    torch.manual_seed(99)
    wake(tiny_model(processor, seed=5), scale=7.0).save_pretrained(folder)
    processor.save_pretrained(folder)
    with pytest.raises(ValueError, match="checkpoint"):
        unpack_conversation(pack_conversation(conversation), Responder(folder, device="cpu"))


def test_words_are_in_the_file_only_where_they_are_wanted(responder, tmp_path):
    lines = [{"role": role, "content": f"{role} secret {n}"} for n in range(4) for role in ("user", "assistant")]
    Conversation(responder, lines, recent_turns=2).save(tmp_path / "words.safetensors")
    assert b"secret 0" not in (tmp_path / "words.safetensors").read_bytes()
    Conversation(responder, lines, recent_turns=2, keep_transcript=True).save(tmp_path / "all.safetensors")
    assert b"secret 0" in (tmp_path / "all.safetensors").read_bytes()
    with safe_open(tmp_path / "all.safetensors", "pt") as file:
        assert set(file.metadata()) == {"format", "conversation", "checksum"}
    assert load_file(tmp_path / "all.safetensors")["memory"].dtype == torch.uint8
    assert os.stat(tmp_path / "all.safetensors").st_size > 0
