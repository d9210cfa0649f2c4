from transformers_empathav.pairs.sheet import write_sheet


def test_words_cannot_become_markup(tmp_path):
    candidate = {"emotion": "sad", "text": "<b>&</b>", "reason": "chosen", "emotional_distance": 0.5}
    candidate |= {"contextual_similarity": 0.25, "length_ratio": 1.0, "obedience": 0.125}
    row = {
        "id": "<id>",
        "prompt": [{"role": "user", "content": [{"type": "text", "text": "<script>alert(1)</script>"}]}],
        "chosen": [{"role": "assistant", "content": '"<i>'}],
        "emotion": "happy",
        "emotion_by": "human",
        "candidates": [candidate, {**candidate, "reason": "length"}],
    }
    write_sheet(tmp_path / "a.html", {"counter_emotional": [row] * 5}, count=2)
    page = (tmp_path / "a.html").read_text()
    assert page.count("<article>") == 2 and page.count("<tr class=chosen>") == 2
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page and "&lt;b&gt;&amp;&lt;/b&gt;" in page
    assert not any(text in page for text in ("<script", "<b>", "<i>", "<id>"))
    assert all(text in page for text in ("0.50", "0.25", "1.00", "0.12", "length"))
