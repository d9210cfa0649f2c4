"""What is shown of text from outside."""

import pytest

from transformers_empathav.chat.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x9b31m", r"\x9b31m"),
        ("a\rb\x08\x00\x7f", r"a\rb\x08\x00\x7f"),
        ("\u202egpj.exe\u2066", r"\u202egpj.exe\u2066"),
        ("a\u2028b", r"a\u2028b"),
        ("\ud800\udcff", r"\ud800\udcff"),
        ("\U000e0041", r"\U000e0041"),
        ("a\nb\tc", r"a\nb\tc"),
    ],
)
def test_what_cannot_be_seen_is_written_out(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown


@pytest.mark.parametrize(
    "text", ["", "caf\u00e9\u00a0!", "\u4f60\u597d", "\U0001f468\u200d\U0001f469\u2764\ufe0f", "e\u0301", r"C:\new"]
)
def test_what_can_be_seen_stays(text):
    assert printable(text) == text


def test_lines_stay_where_they_may():
    assert printable("a\n\tb\r\x1b", lines=True) == "a\n\tb\\r\\x1b"
