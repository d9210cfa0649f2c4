"""The pipeline that travels with a checkpoint: what it gives is what predict_emotion gives."""

import copy

import pytest
from transformers import pipeline

from clips import write_clip
from helpers import encode, wake
from transformers_empathav import EmpathAVForCausalLM
from transformers_empathav.checkpoint.prompts import takes_parts
from transformers_empathav.testing.tiny import tiny_model


@pytest.fixture(scope="module")
def feel(tmp_path_factory, processor):
    folder = tmp_path_factory.mktemp("tiny")
    wake(tiny_model(processor)).save_pretrained(folder)
    processor.save_pretrained(folder)
    assert (folder / "emotion_pipeline_empathav.py").is_file()
    return pipeline("audio-visual-emotion", model=str(folder), trust_remote_code=True, device="cpu")


def test_it_gives_the_scores_of_predict_emotion(feel, processor, tmp_path):
    clip = write_clip(tmp_path / "a.mp4", seconds=1.0)
    found = feel(str(clip))
    messages = [{"role": "user", "content": [{"type": "video", "path": str(clip)}]}]
    expected = feel.model.predict_emotion(**encode(processor, messages))[0].tolist()
    assert {entry["label"]: entry["score"] for entry in found} == pytest.approx(
        dict(zip(feel.model.config.emotion_labels, expected)), abs=1e-5
    )
    assert [entry["score"] for entry in found] == sorted((entry["score"] for entry in found), reverse=True)


def test_several_clips_and_the_likeliest_alone(feel, tmp_path):
    clips = [str(write_clip(tmp_path / "a.mp4", seconds=1.0)), str(write_clip(tmp_path / "b.mp4", 0.5, fps=None))]
    found = feel(clips, top_k=1)
    assert [len(entries) for entries in found] == [1, 1] and found[0] == feel(clips[0], top_k=1)


def test_unknown_options_are_refused(feel):
    with pytest.raises(ValueError, match="no option sampling"):
        feel("a.mp4", sampling=3)


def test_a_model_that_is_loaded_already_is_taken(feel, processor, tmp_path):
    clip = str(write_clip(tmp_path / "a.mp4", seconds=1.0))
    loaded = EmpathAVForCausalLM.from_pretrained(feel.model.name_or_path)
    again = pipeline("audio-visual-emotion", model=loaded, processor=processor, device="cpu")
    assert again.model is loaded and again(clip) == feel(clip)


@pytest.mark.parametrize("content", ["I won", [{"type": "text", "text": "I "}, {"type": "text", "text": "won"}]])
def test_the_pipeline_of_texts_takes_parts(feel, content):
    tokenizer = copy.deepcopy(feel.processor.tokenizer)
    tokenizer.chat_template = takes_parts(tokenizer)
    write = pipeline("text-generation", model=feel.model, tokenizer=tokenizer, device="cpu")
    chats = [[{"role": "user", "content": text}] for text in (content, "I won")]
    options = {"max_new_tokens": 4, "do_sample": False, "return_full_text": False}
    one, other = (write(chat, **options)[0]["generated_text"] for chat in chats)
    assert one == other
