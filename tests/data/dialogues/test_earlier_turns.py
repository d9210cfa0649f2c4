"""Questions about earlier turns: where the fact lies, what is asked and answered, that the splits are apart."""

import pytest

from transformers_empathav.data.dialogues.corpus import load_corpus
from transformers_empathav.data.dialogues.earlier_turns import LEAST_APART, MOST_MESSAGES, earlier_turns
from transformers_empathav.data.dialogues.planted_facts import PLANTS, VALUES, values_of
from transformers_empathav.data.replies import reply_rows


def talk(*said, name="talk", emotion=None) -> dict:
    messages = [{"role": role, "content": text} for role, text in zip(("user", "assistant") * len(said), said)]
    if emotion:
        messages[0]["emotion"] = emotion
    return {"id": name, "messages": messages}


def plain(count: int, name: str) -> dict:
    return talk(*(f"{'Hm' if turn % 2 else 'Well'} {turn}" for turn in range(count)), name=name)


def both(conversations: list[dict]) -> list[dict]:
    """What either split makes of dialogues: a value belongs to one of them."""
    return [one for split in ("train", "dev") for one in earlier_turns(conversations, split) if not one["planted"]]


def test_the_last_message_answers_with_what_was_told():
    (asked,) = both([talk("Hello", "Hi", "We moved to Riga", "Oh", "Yes", "I see", "Hm", "So")])
    *before, question, answer = asked["messages"]
    assert before[asked["fact_turn"]]["content"] == "We moved to Riga" and asked["fact_value"] == "Riga"
    assert asked["fact_kind"] == "place" and not asked["planted"]
    assert question["role"] == "user" and "move" in question["content"]
    assert answer["role"] == "assistant" and "Riga" in answer["content"]
    assert [message["role"] for message in asked["messages"]] == ["user", "assistant"] * 5


def test_a_value_is_of_one_split_alone():
    talks = [
        talk(f"I live in {place}", "Oh", "Yes", "Hm", name=place) for place in "Riga Rome Oslo Bonn Kiel Bern".split()
    ]
    sides = [
        {one["fact_value"] for one in earlier_turns(talks, split) if not one["planted"]} for split in ("train", "dev")
    ]
    assert sides[0] and sides[1] and not sides[0] & sides[1] and len(sides[0] | sides[1]) == 6
    for slot in VALUES:
        train, held_out = (set(values_of(slot, split)) for split in ("train", "dev"))
        assert len(train) > 3 and len(held_out) > 2 and not train & held_out
    assert {plant.slot for plant in PLANTS} == set(VALUES)


def test_what_cannot_be_asked_for_is_not():
    near = talk("Hello", "Hi", "We moved to Riga", "Oh")
    twice = talk("We moved to Riga", "Oh", "I live in Oslo", "Hm", "Yes", "So")
    assert both([near, twice]) == []
    unlabelled, other, right = (
        talk("I was so proud", "Oh", "Yes", "Hm", emotion=emotion) for emotion in (None, "sad", "happy")
    )
    assert [len(both([one])) for one in (unlabelled, other, right)] == [0, 0, 1]


def test_planted_facts_are_told_once_and_said_to_be_planted():
    talks = [plain(4 + 2 * (number % 5), f"talk-{number}") for number in range(200)]
    for split in ("train", "dev"):
        asked = earlier_turns(talks, split)
        assert 20 < len(asked) < 70
        for one in asked:
            *before, question, answer = one["messages"]
            told = [turn for turn, message in enumerate(before) if one["fact_value"] in message["content"]]
            assert one["planted"] and told == [one["fact_turn"]] and before[told[0]]["role"] == "user"
            assert one["fact_value"].lower() in answer["content"].lower()
            assert len(before) - told[0] >= LEAST_APART and len(one["messages"]) <= MOST_MESSAGES
            assert [m["role"] for m in one["messages"]] == ["user", "assistant"] * (len(one["messages"]) // 2)
        assert len({one["messages"][-2]["content"] for one in asked}) > 10
        assert asked == earlier_turns(talks, split) != earlier_turns(talks, split, seed=1)


def test_long_dialogues_are_cut_around_the_fact():
    long = plain(60, "long")
    long["messages"][20]["content"] = "We moved to Riga"
    (asked,) = both([long])
    assert len(asked["messages"]) == MOST_MESSAGES
    assert asked["messages"][asked["fact_turn"]]["content"] == "We moved to Riga"


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "user", "content": ""}],
        [{"role": "assistant", "content": "I live in Riga"}] * 9,
        [{"role": "system", "content": "I live in Riga"}, {"role": "user", "content": " "}],
        [{"role": "user", "content": [{"type": "audio", "path": "voice.wav"}]}] * 9,
    ],
)
def test_dialogues_without_anything_to_ask_for(messages):
    assert both([{"id": "talk", "messages": messages}]) == []


def test_messages_of_one_speaker_are_joined_and_clips_left_out():
    asked = talk("I live in Riga", "Oh", "Yes", "Hm")
    asked["messages"].insert(1, {"role": "user", "content": "It rains."})
    asked["messages"].insert(2, {"role": "user", "content": [{"type": "audio", "path": "voice.wav"}]})
    (found,) = both([asked])
    assert found["messages"][0]["content"] == "I live in Riga It rains." and found["fact_turn"] == 0


def test_only_the_answer_is_a_row_and_never_without_its_fact():
    (asked,) = both([talk("Hello", "Hi", "We moved to Riga", "Oh", "Yes", "I see")])
    (row,) = reply_rows([asked])
    assert row["completion"] == [{"role": "assistant", "content": asked["messages"][-1]["content"]}]
    assert row["prompt"] == asked["messages"][:-1] and row["fact_turn"] == 2
    (cut,) = reply_rows([asked], max_turns=5)
    assert cut["prompt"][cut["fact_turn"]]["content"] == "We moved to Riga" and cut["fact_turn"] == 0
    assert reply_rows([asked], max_turns=4) == []


def test_the_real_dialogues(data_dir):
    train, dev = (load_corpus("earlier_turns", split) for split in ("train", "dev"))
    assert len(train) > 4000 and len(dev) > 200
    assert not {one["fact_value"].lower() for one in train} & {one["fact_value"].lower() for one in dev}
    for one in train + dev:
        assert one["fact_value"] in one["messages"][one["fact_turn"]]["content"]
