"""The processor as a user calls it: tensors, direct calls, saving and loading, and what it refuses."""

import copy
import pickle

import numpy as np
import pytest
import torch
from transformers import AutoProcessor
from transformers.utils import hub

from clips import write_clip
from helpers import assistant, encode, frames, sound, user
from transformers_empathav import EmpathAVProcessor, MediaError, MediaLimits
from transformers_empathav.testing.tiny import tiny_processor


OLDER = [user("I lost my job", emotion="sad"), assistant("I am sorry"), user("They gave no reason"), assistant("Oh")]


def count(ids, token):
    return (ids == token).sum(-1).tolist()


def same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(torch.as_tensor(one[name]), torch.as_tensor(other[name])), name


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip.mp4", seconds=1.0)


# Tensors of conversations


def test_a_mixed_batch_has_its_places_and_its_streams(processor):
    rows = [
        [*OLDER, user(("video", frames(1)), "what now?")],
        [user(("audio", sound(2)), ("video", frames(3)), "two of them")],
        [user("only words")],
        [user(("video", frames(4)), "look", ("audio", sound(5, seconds=5)))],
    ]
    inputs = encode(processor, *rows, recent_turns=1)
    assert set(inputs) == set(processor.model_input_names)
    # Five seconds are three windows of at most two seconds, each of which has two vectors.
    assert count(inputs["input_ids"], processor.av_token_id) == [2, 4, 0, 8]
    assert count(inputs["input_ids"], processor.memory_token_id) == [8, 0, 0, 0]
    assert count(inputs["history_input_ids"], processor.memory_token_id) == [8, 0, 0, 0]
    assert inputs["audio_mask"].tolist() == [0, 1, 0, 0, 1, 1, 1]
    assert inputs["video_mask"].tolist() == [1, 0, 1, 1, 0, 0, 0]
    assert inputs["input_features"].shape == (7, 8, 200) and inputs["input_features_mask"].shape == (7, 200)
    assert inputs["pixel_values_videos"].shape == (7, 3, 3, 64, 64)
    for streams, mask in (("input_features", "audio_mask"), ("pixel_values_videos", "video_mask")):
        assert inputs[streams].flatten(1).any(1).tolist() == inputs[mask].bool().tolist()
    assert inputs["input_features_mask"].sum(1).tolist() == [0, 100, 0, 0, 167, 167, 167]


def test_rows_are_padded_on_the_left_and_the_history_on_the_right(processor):
    rows = [user("a much longer message than the other")], [*OLDER[:2], user("hi")], [*OLDER, user("hi")]
    inputs = encode(processor, *rows, recent_turns=1)
    for index, row in enumerate(rows):
        alone = encode(processor, row, recent_turns=1)
        length = alone["input_ids"].shape[1]
        assert torch.equal(inputs["input_ids"][index, -length:], alone["input_ids"][0])
        assert inputs["attention_mask"][index].tolist() == [0] * (inputs["input_ids"].shape[1] - length) + [1] * length
        if index:
            width = alone["history_input_ids"].shape[1]
            assert torch.equal(inputs["history_input_ids"][index, :width], alone["history_input_ids"][0])
            assert not inputs["history_input_ids"][index, width:].any()
            assert inputs["history_attention_mask"][index].sum() == width
    assert not inputs["history_attention_mask"][0].any()


def test_the_side_of_padding_of_the_tokenizer_stays_as_it_is():
    processor = tiny_processor()
    processor.tokenizer.padding_side = "right"
    inputs = encode(processor, [user("hi")], [user("a longer one")])
    assert inputs["attention_mask"][0, 0] == 0 and processor.tokenizer.padding_side == "right"


def test_each_clip_keeps_its_own_features_in_a_batch(processor):
    clips = [("audio", sound(1)), ("video", frames(2)), ("audio", sound(3))]
    together = encode(processor, [user(clips[0], clips[1], "hi")], [user(clips[2])])
    for index, clip in enumerate(clips):
        alone = encode(processor, [user(clip)])
        for name in ("input_features", "input_features_mask", "pixel_values_videos"):
            if name in alone:
                assert torch.equal(together[name][index], alone[name][0]), name


@pytest.mark.parametrize("kind", ["np", "pt", None])
def test_tensors_of_each_kind(processor, kind):
    row = [*OLDER, user(("audio", sound(1)), "hi")]
    inputs, expected = encode(processor, row, return_tensors=kind), encode(processor, row)
    same(inputs, expected)
    assert isinstance(inputs["input_ids"], {"np": np.ndarray, "pt": torch.Tensor, None: list}[kind])
    same(encode(processor, row, processor_kwargs={"return_tensors": kind}), expected)


def test_rows_without_padding(processor):
    inputs = encode(processor, [user("hi")], [user("longer")], padding=False, return_tensors=None)
    short, long = inputs["input_ids"]
    assert len(long) - len(short) == 4


def test_one_conversation_gives_a_text_a_list_of_them_texts(processor):
    text = processor.apply_chat_template([user("hi")], tokenize=False, add_generation_prompt=True)
    assert text == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert processor.apply_chat_template([[user("hi")]], add_generation_prompt=True) == [text]
    ids = processor.apply_chat_template([user("hi")], tokenize=True, add_generation_prompt=True)
    assert processor.batch_decode(ids) == [text] and processor.decode(ids[0]) == text


def test_a_message_to_be_continued_is_left_open(processor):
    text = processor.apply_chat_template([user("hi"), assistant("I am")], continue_final_message=True)
    assert text.endswith("assistant\nI am")


def test_columns_of_datasets_are_conversations(processor):
    from datasets import Dataset

    parts = [{"type": "text", "text": "hi"}, {"type": "audio", "path": "x.wav"}]  # each part gets the keys of both
    rows = [[{"role": "user", "content": parts, "emotion": "sad"}], [user("and you?")]]
    column = Dataset.from_dict({"messages": rows})["messages"]
    assert processor.apply_chat_template(column) == processor.apply_chat_template(rows)


def test_decoded_clips_stand_in_for_their_source(processor, clip):
    expected = encode(processor, [user(("video", str(clip)))])
    same(encode(processor, [user(("video", processor.load_clip(clip)))]), expected)


# Direct calls


def test_text_alone(processor):
    inputs = processor("hello")
    assert set(inputs) == {"input_ids", "attention_mask"}
    assert processor.batch_decode(inputs["input_ids"]) == ["hello"]
    assert processor(["a", "abc"])["attention_mask"].tolist() == [[0, 0, 1], [1, 1, 1]]


def test_a_direct_call_gives_what_the_chat_template_gives(processor, clip):
    messages = [*OLDER, user(("video", str(clip)), "look", ("audio", sound(1)))]
    text = processor.apply_chat_template(messages, recent_turns=1)
    videos, sounds = [str(clip), None], [None, sound(1)]
    direct = processor(text=text, videos=videos, audio=sounds, history=OLDER)
    same(direct, processor.apply_chat_template(messages, recent_turns=1, tokenize=True, return_dict=True))


def test_files_bytes_and_file_objects_give_the_same(processor, clip):
    expected = processor(text="hi", videos=str(clip))
    assert expected["audio_mask"].tolist() == expected["video_mask"].tolist() == [1]
    with open(clip, "rb") as file:
        for source in (clip, clip.read_bytes(), file, [str(clip)], {"path": str(clip), "bytes": None}):
            same(processor(text="hi", videos=source), expected)


def test_a_video_with_other_sound(processor, clip):
    inputs = processor(text="hi", videos=[frames(1)], audio=[sound(2)])
    assert inputs["audio_mask"].tolist() == inputs["video_mask"].tolist() == [1]
    message = {"role": "user", "content": [{"type": "video", "video": frames(1), "audio": sound(2)}]}
    same({**encode(processor, [message]), **(ids := dict(list(inputs.items())[:2]))}, {**inputs, **ids})
    heard = [processor(text="hi", videos=[str(clip)], audio=[other])["input_features"] for other in (None, sound(2))]
    assert not torch.equal(*heard)


def test_the_sampling_rate_of_arrays(processor):
    slow, fast = sound(1, rate=8000), sound(1, rate=16000)
    stated = processor(text="hi", audio=slow, sampling_rate=8000)["input_features"]
    decoded = processor(text="hi", audio={"array": slow, "sampling_rate": 8000})["input_features"]
    assert torch.equal(stated, decoded)
    assert processor(text="hi", audio=fast)["input_features_mask"].sum() == 100
    assert processor(text="hi", audio=slow)["input_features_mask"].sum() == 50


def test_clips_go_where_their_places_are(processor):
    av = processor.av_token
    inputs = processor(text=[f"a{av}b", "c", f"{av}{av}"], audio=[sound(1), sound(2), sound(3)])
    assert processor.batch_decode(inputs["input_ids"], skip_special_tokens=True) == ["ab", "c", ""]
    assert count(inputs["input_ids"], processor.av_token_id) == [2, 0, 4]
    fronted = processor(text=["a", "b"], audio=[sound(1), sound(2)])
    assert processor.batch_decode(fronted["input_ids"]) == [f"{av}{av}a", f"{av}{av}b"]


def test_a_memory_goes_where_its_place_is(processor):
    memory = processor.memory_token
    inputs = processor(text=[f"a{memory}b", "c", "d"], history=[OLDER[:1], OLDER[:2], None])
    texts = [f"a{memory * 2}b", f"{memory * 4}c", "d"]
    assert [text.replace("<|im_end|>", "") for text in processor.batch_decode(inputs["input_ids"])] == texts
    assert "history_input_ids" not in processor(text=["a", "b"], history=[])


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ({"images": [frames(1)[0]], "text": "hi"}, "pass a photo under `videos`"),
        ({"audio": [sound(1)]}, "text is missing"),
        ({"text": []}, "text must be a string or a list"),
        ({"text": ["a", None]}, "text must be a string or a list"),
        ({"text": [user("hi")]}, "for messages use processor.apply_chat_template"),
        ({"text": "<|av|>"}, "1 places for clips .* and 0 clips"),
        ({"text": "hi", "audio": [sound(1), sound(2)]}, "0 places for clips .* and 2 clips"),
        ({"text": ["a", "b"], "audio": [sound(1)]}, "0 places for clips .* and 1 clips"),
        ({"text": "<|av|>", "audio": [None]}, "neither sound nor frames"),
        ({"text": "<|memory|>"}, "1 places for a memory .* of 0 vectors"),
        ({"text": "<|memory|><|memory|>", "history": OLDER}, "2 places for a memory .* of 8 vectors"),
        ({"text": ["a", "b"], "history": OLDER}, "2 texts and 1 histories"),
        ({"text": "a", "history": [{"role": "me", "content": "hi"}]}, "Message 1 has the unknown role 'me'"),
        ({"text": "hi", "videos": "https://example.org/x.mp4"}, "allow_urls=True"),
        ({"text": "hi", "videos": "ftp://example.org/x.mp4", "allow_urls": True}, "only http:// and https://"),
        ({"text": "hi", "videos": "missing.mp4"}, "missing.mp4: no such file"),
        ({"text": "hi", "videos": b"no media"}, "given bytes"),
        ({"text": "hi", "audio": sound(1), "limits": MediaLimits(max_seconds=0.5)}, "MediaLimits.max_seconds"),
    ],
)
def test_a_direct_call_that_cannot_be_served(processor, call, reason):
    with pytest.raises(ValueError, match=reason) as error:
        processor(**call)
    assert "\n" not in str(error.value)


def test_bounds_hold_in_conversations_too(processor):
    with pytest.raises(MediaError, match="allow_urls=True"):
        encode(processor, [user(("video", "https://example.org/x.mp4"))])
    for given in ({"limits": (limits := MediaLimits(max_seconds=0.5))}, {"processor_kwargs": {"limits": limits}}):
        with pytest.raises(MediaError, match="MediaLimits.max_seconds"):
            encode(processor, [user(("audio", sound(1)))], **given)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"tools": [{"type": "function"}]}, "tools is no argument"),
        ({"fps": 3}, "fps is no argument of apply_chat_template"),
        ({"processor_kwargs": {"fps": 3}}, "unknown fps: it may hold max_length"),
        ({"limits": {"max_second": 3}}, "limits has the unknown 'max_second': choose from max_seconds"),
        ({"recent_turns": 0}, "recent_turns is 0"),
        ({"max_length": 0}, "max_length is 0"),
        ({"conversation": [[user("hi")], []]}, "Conversation 2: The conversation is empty"),
        ({"continue_final_message": True, "add_generation_prompt": True}, "not compatible"),
    ],
)
def test_arguments_that_would_be_ignored_are_refused(processor, options, reason):
    with pytest.raises(ValueError, match=reason):
        processor.apply_chat_template(**{"conversation": [user("hi")], "tokenize": True, **options})


def test_arguments_that_ask_for_nothing_are_accepted(processor):
    expected = processor.apply_chat_template([user("hi")])
    assert processor.apply_chat_template([user("hi")], tools=None, documents=None, enable_thinking=False) == expected
    assert processor.apply_chat_template([user("hi")], processor_kwargs={"fps": None}) == expected


def test_what_generic_callers_ask_for_is_done(processor):
    asked = {"padding": "max_length", "truncation": True, "max_length": 100}
    rows = [[*OLDER, user("x" * 70)], [user("hi")]]
    inputs = encode(processor, *rows, processor_kwargs=asked)
    same(encode(processor, *rows, **asked), inputs)
    assert inputs["input_ids"].shape == inputs["attention_mask"].shape == (2, 100)
    assert inputs["attention_mask"].sum(1).tolist() == [
        encode(processor, row, max_length=100)["input_ids"].shape[1] for row in rows
    ]
    assert count(inputs["history_input_ids"], processor.memory_token_id) == [8, 0]
    few = encode(processor, [user(("video", frames(1)))], processor_kwargs={"num_frames": 2})
    assert few["pixel_values_videos"].shape[1] == 2


# Limits


def test_limits_of_the_processor_hold_in_every_call(tmp_path):
    processor = tiny_processor(limits={"max_seconds": 0.5})
    for call in (
        lambda **limits: encode(processor, [user(("audio", sound(1)))], **limits),
        lambda **limits: processor("hi", audio=sound(1), **limits),
        lambda **limits: processor.load_clip(sound(1), kind="audio", **limits),
    ):
        with pytest.raises(MediaError, match="MediaLimits.max_seconds"):
            call()
        with pytest.raises(MediaError, match="MediaLimits.max_seconds"):  # of the call, the others of the processor
            call(limits={"max_samples": 10**6})
        call(limits={"max_seconds": 2})
        call(limits=MediaLimits())
    processor.save_pretrained(tmp_path)
    again = EmpathAVProcessor.from_pretrained(tmp_path)
    assert again.media_limits == processor.media_limits == MediaLimits(max_seconds=0.5)
    assert EmpathAVProcessor.from_pretrained(tmp_path, limits={"max_side": 9}).media_limits == MediaLimits(max_side=9)
    tiny_processor(limits=MediaLimits(max_seconds=3)).save_pretrained(tmp_path)
    assert EmpathAVProcessor.from_pretrained(tmp_path).media_limits == MediaLimits(max_seconds=3)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"max_second": 3}, "limits has the unknown 'max_second': choose from max_seconds, max_frames"),
        ({"max_seconds": -1}, "max_seconds is -1: give one number above zero"),
        ({"max_seconds": "long"}, "max_seconds is 'long': give one number"),
    ],
)
def test_limits_that_are_none(limits, reason):
    with pytest.raises(ValueError, match=reason):
        tiny_processor(limits=limits)


# Construction, saving and loading


def test_a_placeholder_that_the_tokenizer_lacks():
    with pytest.raises(ValueError, match=r"does not know the placeholder '<\|clip\|>'"):
        tiny_processor(av_token="<|clip|>")


def test_windows_that_the_feature_extractor_would_cut():
    with pytest.raises(ValueError, match="cuts sound off after 2 s: give window_seconds=2"):
        tiny_processor(window_seconds=2.5)


def test_saved_and_loaded_it_is_the_same(tmp_path):
    settings = {"recent_turns": 2, "system_prompt": "Be kind.", "num_query_tokens": 3, "reply_tokens": 9}
    processor = tiny_processor(emotion_labels=["sad", "glad"], chat_template="{{ messages }}", **settings)
    processor.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    for loader in (EmpathAVProcessor, AutoProcessor):
        again = loader.from_pretrained(tmp_path)
        assert type(again) is EmpathAVProcessor
        assert again.to_dict().items() <= processor.to_dict().items()  # which has its auto_map besides
        assert again.chat_template == processor.chat_template and again.max_length == processor.max_length
        row = [*[dict(message, emotion="glad") for message in OLDER], user(("audio", sound(1)), "hi")]
        same(encode(again, row), encode(processor, row))
    assert EmpathAVProcessor.from_pretrained(tmp_path, recent_turns=7).recent_turns == 7


def test_the_cascade_travels_with_the_processor(tmp_path):
    (cascade := tmp_path / "faces.xml").write_text("<cascade/>")
    processor = tiny_processor()
    processor.use_face_cascade(cascade)
    for folder in ("one", "two", "two"):
        processor.save_pretrained(tmp_path / folder)
        assert (tmp_path / folder / "faces.xml").read_text() == "<cascade/>"
        processor = EmpathAVProcessor.from_pretrained(tmp_path / folder)
        assert processor.face_cascade == "faces.xml"


def test_the_cascade_is_pushed_too(tmp_path, monkeypatch):
    (cascade := tmp_path / "faces.xml").write_text("<cascade/>")
    processor, pushed = tiny_processor(), []

    def upload(self, directory, repo_id, **kwargs):
        from pathlib import Path

        pushed.append((repo_id, {path.name for path in Path(directory).iterdir()}))

    class Hub:
        def create_repo(self, repo_id, **kwargs):
            return self

        repo_id = "me/it"

    class Card:
        def save(self, path):
            pass

    processor.use_face_cascade(cascade)
    monkeypatch.setattr(hub, "hf_api", Hub)
    monkeypatch.setattr(hub, "create_and_tag_model_card", lambda *args, **kwargs: Card())
    monkeypatch.setattr(EmpathAVProcessor, "_upload_modified_files", upload)
    processor.save_pretrained(tmp_path / "it", push_to_hub=True)
    ((repo_id, names),) = pushed
    assert repo_id == "me/it" and {"faces.xml", "processor_config.json", "tokenizer.json"} <= names


def test_it_can_be_copied_and_sent_to_workers(tmp_path):
    processor = tiny_processor()
    processor.use_face_cascade(tmp_path / "faces.xml")
    row = [*OLDER, user("hi <|av|>")]
    for again in (copy.deepcopy(processor), pickle.loads(pickle.dumps(processor))):
        same(encode(again, row), encode(processor, row))
