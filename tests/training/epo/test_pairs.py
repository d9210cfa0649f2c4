"""Pairs from directories, files and by name."""

import json

import pytest
from datasets import Dataset

from pairs import pair
from transformers_empathav.training.epo.pairs import from_memory, load_pairs, named_pairs


def test_sources_follow_one_another_and_are_of_one_kind(tmp_path):
    rows = [pair("a"), pair("b")]
    Dataset.from_list(rows).save_to_disk(tmp_path / "saved")
    rows[0]["prompt"][0]["content"] = "plain words"
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = load_pairs([str(tmp_path / "saved"), str(tmp_path / "own.jsonl")])
    assert found["id"] == ["a", "b", "a", "b"]
    assert found[2]["prompt"][0]["content"] == [{"type": "text", "text": "plain words"}]
    Dataset.from_list([pair("c", mood="sad")]).save_to_disk(tmp_path / "other")
    with pytest.raises(ValueError, match="have other columns or types"):
        load_pairs([str(tmp_path / "saved"), str(tmp_path / "other")])
    with pytest.raises(ValueError, match="There are no pairs"):
        load_pairs([])


def test_of_a_source_some_pairs_may_be_taken(tmp_path):
    saved = str(tmp_path / "saved")
    Dataset.from_list([pair(name) for name in "abcde"]).save_to_disk(saved)
    for slice_, expected in (("[:2]", "ab"), ("[3:]", "de"), ("[1:3]", "bc"), ("[:99]", "abcde"), ("[:]", "abcde")):
        assert "".join(load_pairs([saved + slice_])["id"]) == expected
    with pytest.raises(ValueError, match=r"saved\[7:\] holds no pair: there are 5"):
        load_pairs([saved + "[7:]"])


def test_a_line_that_is_no_pair_is_named(tmp_path):
    path = tmp_path / "own.jsonl"
    for line in ("{", "[]", '{"prompt": []}', '{"prompt": [], "chosen": [], "rejected": [{"role": "assistant"}]}'):
        path.write_text(json.dumps(pair("a")) + f"\n{line}\n")
        with pytest.raises(ValueError, match="own.jsonl, line 2 is no pair"):
            load_pairs([str(path)])


def test_held_out_sets_have_names_of_their_own(tmp_path):
    Dataset.from_list([pair("a"), pair("b")]).save_to_disk(tmp_path / "saved")
    found = named_pairs([f"random={tmp_path / 'saved'}", str(tmp_path / "saved")], rows=1)
    assert {name: dataset["id"] for name, dataset in found.items()} == {"random": ["a"], "pairs": ["a"]}
    with pytest.raises(ValueError, match="Two sets of held-out pairs are called x"):
        named_pairs([f"x={tmp_path / 'saved'}"] * 2, rows=1)


def test_what_is_no_source_of_pairs_says_what_to_name(tmp_path):
    with pytest.raises(ValueError, match="There are no pairs at .*nowhere.*: make them by") as error:
        load_pairs([str(tmp_path / "nowhere")])
    assert "\n" not in str(error.value)
    Dataset.from_list([pair("a")]).save_to_disk(tmp_path / "runs" / "opposite")
    with pytest.raises(ValueError, match="name one, .*opposite"):
        load_pairs([str(tmp_path / "runs")])


def test_clips_of_json_lines_are_found_from_the_file(tmp_path):
    row = pair("a", [{"type": "video", "path": "clips/a.mp4"}])
    (tmp_path / "own.jsonl").write_text(json.dumps(row) + "\n")
    assert load_pairs([str(tmp_path / "own.jsonl")])[0]["prompt"][0]["content"][0]["path"] == str(
        tmp_path / "clips/a.mp4"
    )


def test_a_share_of_the_pairs_is_answered_from_the_memory():
    pairs = Dataset.from_list([pair(str(number)) for number in range(100)])
    drawn, again, other = (list(from_memory(pairs, 0.3, seed)["recent_turns"]) for seed in (0, 0, 1))
    assert set(drawn) == {1, None} and 10 <= drawn.count(1) <= 50
    assert drawn == again != other
    assert from_memory(pairs, 0.0, seed=0) is pairs and set(from_memory(pairs, 1.0, seed=0)["recent_turns"]) == {1}
    with pytest.raises(ValueError, match="memory_only is 1.5: give a share"):
        from_memory(pairs, 1.5, seed=0)
    with pytest.raises(ValueError, match="have a column recent_turns of their own"):
        from_memory(from_memory(pairs, 1.0, seed=0), 0.3, seed=0)
