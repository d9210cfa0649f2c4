"""CSV files as the corpora publish them."""

from transformers_empathav.data.dialogues.tables import mend_quotes


def test_stray_bytes_become_the_punctuation_they_were():
    assert mend_quotes("I\x92m \x93here\x94 ") == "I’m “here”"
