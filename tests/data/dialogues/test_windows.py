"""Windows of messages for the compressor."""

from transformers_empathav.data.dialogues.windows import windows


def test_windows_hold_every_message_once():
    conversations = [{"id": "a", "messages": [{"role": "user", "content": str(index)} for index in range(7)]}]
    cut = windows(conversations, 3)
    assert sorted(len(window) for window in cut) == [1, 3, 3]
    assert sorted(message["content"] for window in cut for message in window) == [str(index) for index in range(7)]


def test_sizes_vary_by_seed_and_empty_messages_are_left_out():
    texts = ["a", " ", *"bcdefghijklmnop"]
    conversations = [{"id": "a", "messages": [{"role": "user", "content": text} for text in texts]}]
    cut = windows(conversations, 4, vary=True)
    assert {len(window) for window in cut} <= {1, 2, 3, 4} and len({len(window) for window in cut}) > 1
    assert sorted(message["content"] for window in cut for message in window) == list("abcdefghijklmnop")
    assert cut == windows(conversations, 4, vary=True) != windows(conversations, 4, seed=1, vary=True)


def test_of_a_message_with_clips_the_words_are_read():
    clip = {"type": "video", "path": "a.mp4"}
    said = [{"role": "user", "content": [clip, {"type": "text", "text": "Hi"}]}, {"role": "user", "content": [clip]}]
    assert windows([{"id": "a", "messages": said}], 2) == [[{"role": "user", "content": "Hi"}]]


def test_a_share_of_messages_is_said_in_one_breath_with_the_one_before_and_no_word_is_lost():
    messages = [{"role": ("user", "assistant")[index % 2], "content": f"w{index}"} for index in range(40)]
    cut = windows([{"id": "a", "messages": messages}], 3, joined=0.4)
    said = [message["content"] for window in cut for message in window]
    assert sorted(" ".join(said).split()) == sorted(message["content"] for message in messages)
    assert 10 < len(said) < 38 and any(" " in text for text in said)
    assert windows([{"id": "a", "messages": messages}], 3) != cut
