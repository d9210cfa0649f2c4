"""What a batch of conversations holds: prompts as in use, replies alone taught, clips and history once for a pair."""

import pytest
import torch
from datasets import Dataset

from chat_templates import TEMPLATES
from clips import write_clip
from helpers import assistant, encode, sound, user
from pairs import assistant_says, clip, mixed_pairs, older, pair, replies, text
from transformers_empathav.testing.tiny import tiny_processor
from transformers_empathav.training.collator import PAIR, ConversationCollator
from transformers_empathav.training.feature_cache import FeatureCache
from transformers_empathav.training.shared_vectors import shared_vectors, text_inputs


def row_of(batch, index):
    """The tokens of a row without padding."""
    return batch["input_ids"][index][batch["attention_mask"][index].bool()]


def test_the_prompt_is_that_of_use_and_the_reply_ends_where_generation_ends(processor):
    rows = mixed_pairs()
    batch = ConversationCollator(processor, PAIR)(rows)
    assert batch["input_ids"].shape[0] == 8
    for index in range(8):
        row, reply = rows[index % 4], ("oh no, I am sorry", "ha ha")[index // 4]
        taught = batch["completion_mask"][index].bool()
        assert processor.tokenizer.decode(batch["input_ids"][index][taught]) == f"{reply}<|im_end|>"
        assert taught[-1]  # replies end at the right edge
        asked = encode(processor, row["prompt"])["input_ids"][0]
        assert torch.equal(row_of(batch, index)[: len(asked)], asked)
        positions = batch["position_ids"][index][batch["attention_mask"][index].bool()]
        assert positions.tolist() == list(range(len(positions)))


def test_clips_and_history_stand_in_the_batch_once(processor):
    rows = mixed_pairs()
    batch = ConversationCollator(processor, PAIR)(rows)
    assert len(batch["input_features"]) == 2 and batch["video_mask"].tolist() == [1, 0]
    assert batch["history_input_ids"].shape[0] == 4
    assert batch["history_attention_mask"].any(dim=1).tolist() == [False, False, True, True]
    assert batch["modalities"].tolist() == [2, 1, 3 + 2]
    alone = ConversationCollator(processor)(replies(rows))
    assert torch.equal(alone["input_features"], batch["input_features"])
    assert torch.equal(alone["history_input_ids"], batch["history_input_ids"])


def test_both_replies_get_the_same_vectors_and_a_batch_is_its_rows(model, processor):
    rows, collator = mixed_pairs(), ConversationCollator(processor, PAIR)

    def logits(rows):
        batch = collator(rows)
        vectors = shared_vectors(model, batch, replies=2)
        for tensor in vectors.values():
            assert torch.equal(*tensor.chunk(2))
        text_only = {name: tensor for name, tensor in text_inputs(batch).items() if name != "modalities"}
        mask = text_only.pop("completion_mask")
        with torch.no_grad():
            return model(**text_only, **vectors).logits, mask

    together, mask = logits(rows)
    for index, row in enumerate(rows):
        alone, alone_mask = logits([row])
        for side in range(2):
            batched = together[side * 4 + index][mask[side * 4 + index].bool()]
            assert torch.allclose(batched, alone[side][alone_mask[side].bool()], atol=1e-4)


def test_labels_are_the_reply_alone(processor):
    batch = ConversationCollator(processor)(replies(mixed_pairs()))
    taught = [processor.tokenizer.decode(row[row != -100]) for row in batch["labels"]]
    assert taught == ["oh no, I am sorry<|im_end|>"] * 4 and "completion_mask" not in batch


def test_cached_features_give_the_vectors_of_decoded_clips(tmp_path, model, processor):
    write_clip(tmp_path / "one.mp4", seconds=0.5, size=(64, 64))
    write_clip(tmp_path / "two.mp4", seconds=3.0, size=(64, 64), frequency=900.0)  # two windows
    rows = [
        pair("a", [{"type": "video", "path": str(tmp_path / "one.mp4")}]),
        pair(
            "b",
            [
                {"type": "video", "path": str(tmp_path / "two.mp4")},
                {"type": "audio", "path": str(tmp_path / "one.mp4")},
            ],
        ),
    ]
    plain = ConversationCollator(processor, PAIR)(rows)
    cache = FeatureCache(model.model.extractor, processor, tmp_path / "cache", dtype=torch.float32)
    collator = ConversationCollator(processor, PAIR, cache=cache)
    for batch in (collator(rows), collator(rows)):  # computed, then read
        assert "input_features" not in batch and torch.equal(batch["input_ids"], plain["input_ids"])
        assert batch["modalities"].tolist() == plain["modalities"].tolist() == [4, 3, 0]
        given, wanted = (shared_vectors(model, one)["av_embeds"] for one in (batch, plain))
        assert torch.allclose(given, wanted, atol=1e-5)


def test_what_does_not_fit_becomes_history_and_is_never_cut(processor):
    row = pair("long", [clip(1)], turns=3)
    wide = ConversationCollator(processor, PAIR)([row])
    limit = wide["input_ids"].shape[1] - 1
    batch = ConversationCollator(processor, PAIR, max_length=limit)([row])
    assert "history_input_ids" not in wide and batch["input_ids"].shape[1] <= limit
    assert "turn 0" in processor.tokenizer.decode(batch["history_input_ids"][0])
    shown = processor.tokenizer.decode(row_of(batch, 0))
    assert "turn 0" not in shown and "I am long" in shown and "oh no, I am sorry<|im_end|>" in shown
    assert (row_of(batch, 0) == processor.av_token_id).sum() == processor.num_query_tokens


def test_clips_of_messages_that_became_history_are_not_shown(processor):
    spoken = {"role": "user", "content": [clip(1), *text("first words")]}
    row = pair("b", [clip(2, "audio")], turns=4)
    row["prompt"] = [spoken, *row["prompt"]]
    batch = ConversationCollator(processor, PAIR)([row])
    assert batch["modalities"].tolist() == [1, 0, 2] and batch["audio_mask"].tolist() == [1]


def test_rows_that_cannot_fit_are_named_or_left_out_and_counted(processor, caplog):
    rows = [pair("fine"), pair("endless", chosen=assistant_says("word " * 60))]
    collator = ConversationCollator(processor, PAIR, max_length=200)
    with pytest.raises(
        ValueError, match="Row endless cannot be used: The reply takes 301 tokens and max_length is 200"
    ):
        collator(rows)
    with pytest.raises(ValueError, match="Row fine cannot be used: The newest message"):
        ConversationCollator(processor, PAIR, max_length=40)(rows[:1])
    assert [row["id"] for row in collator.usable(rows)] == ["fine"]
    assert "1 of 2 rows do not fit into 200 positions" in caplog.text and "endless" in caplog.text
    with pytest.raises(ValueError, match="2 of 2 rows do not fit into 40 positions.* None is left: raise max_length"):
        ConversationCollator(processor, PAIR, max_length=40).usable(rows)
    assert collator.usable([]) == []


def test_rows_whose_memory_alone_does_not_fit_are_left_out_too(processor, caplog):
    said = [{"role": role, "content": "go on"} for role in ("user", "assistant")]
    rows = [{**pair(f"{turns}"), "prompt": said * turns + said[:1]} for turns in (1, 20, 200)]
    collator = ConversationCollator(processor, PAIR, max_length=400)
    kept = collator.usable(rows)
    assert [row["id"] for row in kept] == ["1", "20"]
    collator(kept)
    with pytest.raises(ValueError, match="Row 200 cannot be used: .* of them memory"):
        collator(rows)


@pytest.mark.parametrize(
    "change, told",
    [
        ({"prompt": [{"role": "user", "content": [{"type": "video", "path": "missing.mp4"}]}]}, "missing.mp4"),
        ({"prompt": [{"role": "user", "content": "hi", "video": "clip.mp4"}]}, "'video', which is not read there"),
        ({"prompt": [{"role": "user", "content": [{"type": "image", "path": "a.png"}]}]}, "unknown type 'image'"),
        ({"chosen": [{"role": "user", "content": "hi"}]}, "'chosen' is not a list of one message of role assistant"),
        ({"rejected": []}, "'rejected' is not a list of one message"),
        ({"rejected": [{"role": "assistant", "content": [clip(1)]}]}, "'rejected' holds a clip"),
        ({"prompt": []}, "The conversation is empty"),
        ({"prompt": ["hello"]}, "no attribute"),
        ({"prompt": None}, "None"),
        ({"audio": [1.0]}, "'audio' would never reach the model"),
        ({"mood": "sad"}, "Nothing reads the column 'mood'"),
    ],
)
def test_a_corrupt_row_names_itself(processor, change, told):
    with pytest.raises(ValueError, match="Row bad cannot be used") as raised:
        ConversationCollator(processor, PAIR)([pair("good"), {**pair("bad"), **change}])
    assert told in str(raised.value)


def test_a_row_that_is_none_is_named_before_training_too(processor):
    with pytest.raises(ValueError, match="Row bad cannot be used"):
        ConversationCollator(processor, PAIR).usable([pair("good"), {**pair("bad"), "chosen": None}])


def test_a_row_of_a_stream_that_does_not_fit_is_skipped_and_counted(processor, caplog):
    """With a warning for the first, the second, the fourth, ..."""
    rows = [pair(f"{number}", rejected=assistant_says("ha " * (100 if number % 2 else 1))) for number in range(10)]
    stream = Dataset.from_list(rows).to_iterable_dataset()
    collator = ConversationCollator(processor, PAIR, max_length=200)
    assert [row["id"] for row in collator.usable(stream)] == ["0", "2", "4", "6", "8"]
    told = [line for line in caplog.text.splitlines() if "rows of the stream so far do not fit" in line]
    assert len(told) == 3 and "1 of 2 rows" in told[0] and "2 of 4 rows" in told[1] and "4 of 8 rows" in told[2]
    assert "the last one 7" in told[2]


def test_widths_are_padded_to_a_multiple(processor):
    rows = mixed_pairs()
    one = ConversationCollator(processor, PAIR)(rows)
    other = ConversationCollator(processor, PAIR, pad_to_multiple_of=128)(rows)
    assert one["input_ids"].shape[1] % 128 and other["input_ids"].shape[1] % 128 == 0
    for index in range(8):
        assert torch.equal(row_of(one, index), row_of(other, index))
    assert torch.equal(one["completion_mask"].sum(dim=1), other["completion_mask"].sum(dim=1))


def test_numbers_are_tensors_and_must_be_numbers(processor):
    rows = mixed_pairs(with_numbers=True)
    collator = ConversationCollator(processor, PAIR, numbers=("emotional_distance",), ignored_columns=("weight",))
    assert torch.allclose(collator(rows)["emotional_distance"], torch.tensor([0.2, 0.5, 1.0, 0.0]))
    for wrong in (None, "far", float("nan"), float("inf")):
        spoilt = [rows[0], {**rows[1], "emotional_distance": wrong}]
        for use in (collator, collator.usable):
            with pytest.raises(ValueError, match=f"Row b has {wrong!r} under 'emotional_distance', where a finite"):
                use(spoilt)
    with pytest.raises(ValueError, match="'emotional_distance' is missing"):
        collator([{name: value for name, value in rows[0].items() if name != "emotional_distance"}])


def test_a_template_that_writes_the_prompt_otherwise_is_refused(processor, monkeypatch):
    template = processor.chat_template.replace("{{ message['content'] }}", "{{ loop.length }}{{ message['content'] }}")
    monkeypatch.setattr(processor, "chat_template", template)
    with pytest.raises(ValueError, match="Row a cannot be used: The chat template writes the prompt otherwise"):
        ConversationCollator(processor, PAIR)([pair("a")])


def test_the_newest_messages_may_be_more_or_fewer(processor):
    row = {"id": "a", "prompt": [*older(4), *pair("a")["prompt"]], "completion": assistant_says("yes")}
    batch = ConversationCollator(processor, recent_turns=1)([row])
    assert batch["modalities"].tolist() == [0, 0, 4]
    assert "history_input_ids" not in ConversationCollator(processor, recent_turns=9)([row])
    own = ConversationCollator(processor, recent_turns=9)([{**row, "recent_turns": 1}])
    assert all(torch.equal(own[name], batch[name]) for name in batch)
    with pytest.raises(ValueError, match="recent_turns is 0: give a whole number of at least 1"):
        ConversationCollator(processor)([{**row, "recent_turns": 0}])


@pytest.mark.parametrize("name", TEMPLATES)
def test_any_chat_template_is_taught_as_it_is_asked(name):
    processor = tiny_processor(chat_template=TEMPLATES[name], system_prompt="Be kind.")
    prompt, reply = [user("a"), assistant("b"), user("c", ("audio", sound(1)))], [assistant("well")]
    row = ConversationCollator(processor).encode({"prompt": prompt, "completion": reply})
    whole = processor.apply_chat_template([*prompt, *reply]).replace(processor.av_token, processor.av_token * 2)
    taught = processor.decode(row["prompt"]) + processor.decode(row["replies"][0])
    assert whole.startswith(taught) and len(whole) - len(taught) <= 1  # but for a line break after the end token
