"""A visitor of the page: what is heard, said, stopped, forgotten and reopened, and what is shown of it."""

import shutil

import pytest

from clips import write_clip
from faces import Sees
from transformers_empathav.chat import web_show as show
from transformers_empathav.chat.conversation import Conversation
from transformers_empathav.chat.reply import Reply
from transformers_empathav.chat.visit import Limits, Visit
from transformers_empathav.processing.face_crop_empathav import Faces


@pytest.fixture
def visit(responder) -> Visit:
    return Visit(responder, Limits(seconds=2, megabytes=1, characters=400), max_new_tokens=6)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", seconds=1)


def said(visit, text) -> Reply:
    *pieces, reply = visit.say(text)
    assert "".join(pieces) == reply.response
    return reply


def texts(visit) -> list[str]:
    return [message["content"] for message in show.messages(visit)]


def test_what_was_heard_is_said_with_the_corrected_words(visit, responder, clip, tmp_path):
    uploaded = shutil.copy(clip, tmp_path)
    heard = visit.hear(uploaded)
    assert not (tmp_path / "clip.mp4").exists()
    assert show.newest_emotion(visit) == (heard.reading, heard.emotion)
    reply = said(visit, "I miss them.")
    assert visit.heard is None and reply.transcript == "I miss them." and reply.emotion == heard.emotion
    alone = Conversation(responder).say("I miss them.", [clip], max_new_tokens=6)
    assert alone.response == reply.response
    assert texts(visit) == [f"I miss them.\n[heard and seen: {heard.reading}]", show.as_text(reply.response)]
    said(visit, "Well?")
    assert texts(visit)[2] == "Well?"  # the clip was of the turn before


def test_several_people_in_view_are_shown_with_the_message(visit, responder, clip, tmp_path, monkeypatch):
    monkeypatch.setattr(responder.processor, "_cropper", Sees(Faces(2, cut=True)))
    heard = visit.hear(shutil.copy(clip, tmp_path))
    reply = said(visit, "It is us.")
    assert reply.view == heard.view and reply.view.startswith("2 people in view") and "cut off" in reply.view
    assert texts(visit)[0] == f"It is us.\n[heard and seen: {show.with_view(heard.reading, heard.view)}]"
    monkeypatch.setattr(responder.processor, "_cropper", Sees(Faces(1)))
    assert visit.hear(shutil.copy(clip, tmp_path)).view == "" and show.with_view("sad", "") == "sad"
    assert said(visit, "It is me.").view == "" and "in view" not in texts(visit)[2]


def test_visits_of_one_responder_do_not_see_each_other(visit, responder):
    other = Visit(responder, max_new_tokens=6)
    streams = visit.say("One"), other.say("Two")
    replies = [[*pieces][-1].response for pieces in ([*stream] for stream in streams)]
    assert replies == [Conversation(responder).say(text, max_new_tokens=6).response for text in ("One", "Two")]
    assert texts(visit)[0] == "One" and texts(other)[0] == "Two" and len(texts(other)) == 2


def test_a_stopped_reply_stays_as_far_as_it_came(responder):
    visit = Visit(responder, max_new_tokens=64)
    stream = visit.say("I want to kill myself.")
    first = next(stream)
    visit.stop()
    assert list(stream) == []
    assert texts(visit) == ["I want to kill myself.", show.as_text(first.rstrip())]
    assert visit.safety.kind == "suicide"
    assert "988" in show.help_lines(visit.safety)
    said(visit, "Hello")
    assert visit.safety.kind == "suicide"  # and it stays
    visit.begin()
    assert visit.safety is None and show.help_lines(None) == ""


@pytest.mark.parametrize("text, why", [("", "nothing to answer"), ("x" * 401, "401 characters, and at most 400")])
def test_a_refused_message_leaves_the_conversation(visit, text, why):
    said(visit, "Hello")
    before = texts(visit)
    with pytest.raises(ValueError, match=why):
        list(visit.say(text))
    assert texts(visit) == before and len(visit.conversation) == len(visit.lines) == 2


def test_an_upload_that_cannot_be_used_is_named_and_gone(visit, tmp_path):
    no_film = tmp_path / "<b>no film.mp4"
    no_film.write_text("words\n" * 100)
    long = write_clip(tmp_path / "long.wav", seconds=4, fps=None, audio_codec="pcm_s16le")
    large = tmp_path / "large.mp4"
    large.write_bytes(bytes(2**20 + 1))
    for path, why in (
        (no_film, "^<b>no film.mp4: it is no media"),
        (long, "^long.wav: .*4"),
        (large, "larger than 1 MB"),
    ):
        with pytest.raises(ValueError, match=why):
            visit.hear(path)
        assert not path.exists() and visit.heard is None


def test_saved_and_reopened_it_goes_on(visit, responder, clip, tmp_path):
    visit.hear(shutil.copy(clip, tmp_path))
    said(visit, "One")
    said(visit, "Two")
    file = tmp_path / "talk.safetensors"
    file.write_bytes(visit.pack())
    other = Visit(responder, max_new_tokens=6)
    other.reopen(file)
    assert not file.exists() and texts(other) == texts(visit)
    assert show.over_time(other).equals(show.over_time(visit))
    assert said(other, "Three").response == said(visit, "Three").response
    assert other.full_prompt() == visit.full_prompt()
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="^broken.safetensors is damaged"):
        other.reopen(broken)
    assert len(texts(other)) == 6


def test_words_that_are_gone_are_said_to_be(visit, responder):
    visit.conversation.recent_turns = 2
    for text in ("One", "Two", "Three"):
        said(visit, text)
    whole = visit.full_prompt()
    assert visit.prompt != whole and f"{whole:,}" in show.memory(visit)
    reopened = Visit(responder)
    reopened._take(visit.conversation)
    assert texts(reopened)[0] == "(4 earlier messages are remembered, but not word by word.)"
    assert [label for label, _ in show.choices(reopened)][:2] == ["1: no longer word by word"] + [
        "2: no longer word by word"
    ]
    assert "6" in show.memory(reopened)
    said(reopened, "Four")
    assert "more than" in show.memory(reopened)


def test_forgotten_messages_are_gone_from_the_page_and_the_conversation(visit):
    for text in ("One", "Two"):
        said(visit, text)
    assert [number for _, number in show.choices(visit)] == [0, 1, 2, 3]
    visit.forget([0, 1])
    assert texts(visit)[0] == "Two" and len(texts(visit)) == len(visit.conversation) == 2
    assert list(show.over_time(visit)["turn"].unique()) == [1]


def test_the_full_prompt_is_that_of_all_words(visit, responder, clip, tmp_path):
    assert visit.full_prompt() == 0 and "none yet" in show.memory(visit)
    visit.hear(shutil.copy(clip, tmp_path))
    reply = said(visit, "One")
    assert visit.full_prompt() == reply.tokens["prompt"]
    said(visit, "Two")
    assert visit.full_prompt() == visit.prompt


def test_what_comes_from_outside_is_text():
    assert show.as_text("<img src=x onerror=a> {{x}} ${y} \x1b[2J") == (
        "&lt;img src=x onerror=a&gt; &#123;&#123;x&#125;&#125; &#36;&#123;y&#125; \\x1b[2J"
    )
    assert show.status("<b>a</b>\nb", wrong=True) == '<p class="wrong">&lt;b&gt;a&lt;/b&gt; b</p>'
    assert show.linked("<b>", "javascript:alert(1)") == "&lt;b&gt;"
