"""replies.jsonl: what is written is read again, and what is no such file is refused."""

import pytest

from helpers import assistant, user
from transformers_empathav.evaluation.results.replies_file import read_replies_file, write_replies_file


ROWS = [{"id": f"talk-{number}", "prompt": [user("Héllo")], "completion": [assistant("Hi")]} for number in range(2)]


def test_what_is_written_is_read_again(tmp_path):
    said = {name: [{"text": f"{name} {number}"} for number in range(2)] for name in ("bare", "tuned")}
    write_replies_file(tmp_path / "replies.jsonl", {"meld": ROWS}, {"meld": said})
    found = read_replies_file(tmp_path)
    assert found == read_replies_file(tmp_path / "replies.jsonl") and list(found) == ["meld/talk-0", "meld/talk-1"]
    assert found["meld/talk-1"] == {
        "id": "meld/talk-1",
        "context": [{"role": "user", "content": "Héllo"}],
        "gold": "Hi",
        "replies": {"bare": "bare 1", "tuned": "tuned 1"},
    }


def test_what_is_no_such_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="replies.jsonl does not exist: give an output directory"):
        read_replies_file(tmp_path)
    for line in ("{", '{"id": "a"}', "[]"):
        (tmp_path / "replies.jsonl").write_text(line)
        with pytest.raises(ValueError, match="line 1 is no context with replies"):
            read_replies_file(tmp_path)
