"""`empathav chat`: line by line, over a pipe and at a terminal."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from clips import write_clip
from command import heed_interrupts
from faces import Sees
from transformers_empathav import EMOTION_LABELS
from transformers_empathav.chat.commands import Chat
from transformers_empathav.chat.conversation import Conversation
from transformers_empathav.chat.conversation_file import peek
from transformers_empathav.chat.responder import Responder
from transformers_empathav.chat.terminal import Screen
from transformers_empathav.cli import app
from transformers_empathav.processing.face_crop_empathav import Faces


SHORT = ("--max-new-tokens", "8")


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "my clip.mp4", seconds=1)


def chat(checkpoint, *lines, options=()):
    text = "".join(f"{line}\n" for line in lines)
    return CliRunner().invoke(app, ["chat", str(checkpoint), *SHORT, *map(str, options)], input=text)


def test_lines_of_a_pipe_are_answered_one_after_the_other(checkpoint, tmp_path):
    done = chat(checkpoint, "Hello", "", "How are you?", options=("--memory", tmp_path))
    assert done.exit_code == 0, done.stderr
    memory, newest = peek(tmp_path)
    assert memory.num_utterances == 0 and [said["role"] for said in newest] == ["user", "assistant"] * 2
    again = chat(checkpoint, "Bye", options=("--memory", tmp_path))
    assert "after 4 messages" in again.stdout and len(peek(tmp_path)[1]) == 6


def test_a_clip_is_heard_and_answered(checkpoint, clip, tmp_path):
    done = chat(checkpoint, f"/clip '{clip}'", "/emotion", "/memory", options=("--memory", tmp_path / "talk"))
    assert done.exit_code == 0, done.stderr
    assert "heard" in done.stdout and all(label in done.stdout for label in EMOTION_LABELS)
    assert "2 utterances, 2 of them word by word" in done.stdout and "likeliest" in done.stdout


def test_who_is_in_view_is_shown_where_it_matters(checkpoint, clip, capsys, monkeypatch):
    responder, screen = Responder(checkpoint, device="cpu"), Screen()
    people = "3 people in view, the largest face counts"
    for faces, shown in ((Faces(1), None), (Faces(3), people), (Faces(1, cut=True), "cut off by the edge")):
        monkeypatch.setattr(responder.processor, "_cropper", Sees(faces))
        Chat(responder, screen, Conversation(responder), {"max_new_tokens": 4}).line(f"/clip '{clip}'")
        chatted = capsys.readouterr().out
        screen.reply(Conversation(responder).say("Hello", [clip], max_new_tokens=4))  # as the demonstration does
        for printed in (chatted, capsys.readouterr().out):
            assert ("in view" in printed) == (shown is not None) and (shown or "") in printed


def test_a_conversation_is_saved_loaded_forgotten_and_begun_anew(checkpoint, tmp_path):
    file = tmp_path / "my talk.safetensors"
    done = chat(
        checkpoint, "One", "Two", f"/save '{file}'", "/forget 0 1", "/new", f"/load '{file}'", "/memory", "/quit", "x"
    )
    assert done.exit_code == 0, done.stderr
    for said in ("Saved 4 messages", "2 messages are remembered", "A new conversation", "Going on after 4 messages"):
        assert said in done.stdout.replace("\n", " ")
    assert len(peek(file)[1]) == 4  # what was forgotten later is still in the file, and "x" came after the end


def test_settings_are_shown_and_set(checkpoint):
    lines = (
        "/set temperature 3",
        "/set seed 4",
        "Hello",
        "/set temperature off",
        "/system Be kind.",
        "/system",
        "/help",
    )
    done = chat(checkpoint, *lines)
    assert done.exit_code == 0, done.stderr
    assert "temperature 3.0, seed 4" in done.stdout and done.stdout.count("System prompt: Be kind.") == 2
    assert "/forget" in done.stdout


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/nothing", "is no command"),
        ("/clip", "needs the name"),
        ("/clip nowhere.mp4", "nowhere.mp4"),
        ("/clip 'open", "quotation"),
        ("/forget", "needs numbers"),
        ("/forget 9", "no message 9"),
        ("/forget ²", "needs numbers"),
        ("/save", "needs the name"),
        ("/load nowhere.safetensors", "No conversation at"),
        ("/set heat 3", "knows"),
        ("/set temperature hot", "is a number"),
        ("/set max_new_tokens off", "is a number"),
        ("/set top_p nan", "is a number"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_the_chat_goes_on(line, said, checkpoint):
    done = chat(checkpoint, line, "Hello", "/memory")
    assert done.exit_code == 2 and said in done.stderr, done.stderr
    assert len([text for text in done.stderr.splitlines() if text.startswith("error: ")]) == 1
    assert "2 utterances" in done.stdout


def test_a_reply_moves_no_cursor(checkpoint):
    done = chat(checkpoint, "Hello \x1b[2J", "/memory")
    assert "\x1b[2J" not in done.stdout and "\\x1b[2J" in done.stdout


def test_ctrl_c_in_a_reply_keeps_what_was_written(checkpoint, tmp_path, monkeypatch):
    written, responder = [], Responder(checkpoint, device="cpu")

    def interrupted(self, text):
        written.append(text)
        raise KeyboardInterrupt

    monkeypatch.setattr(Screen, "piece", interrupted)
    talk = Chat(responder, Screen(), Conversation(responder), file=tmp_path)
    assert talk.line("Tell me a story")
    asked, answer = peek(tmp_path)[1]
    assert asked["content"] == "Tell me a story" and [answer["content"]] == [text.rstrip() for text in written]


def test_a_person_at_a_terminal(checkpoint, tmp_path):
    """Ctrl-C at the prompt, a line that is edited, an earlier line called back, a reply, Ctrl-D at the end."""
    pexpect = pytest.importorskip("pexpect")
    talkative = shutil.copytree(checkpoint, tmp_path / "talkative")  # its replies do not end by themselves
    settings = json.loads((talkative / "generation_config.json").read_text())
    (talkative / "generation_config.json").write_text(json.dumps({**settings, "eos_token_id": None}))
    memory = tmp_path / "memory"
    words = ["-m", "transformers_empathav.cli", "chat", str(talkative), "--max-new-tokens", "1900"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    # An interrupt throws away what the terminal has not shown yet, also half of a letter.
    options = {"env": environment, "timeout": 60, "encoding": "utf-8", "codec_errors": "replace"}
    options["preexec_fn"] = heed_interrupts
    child = pexpect.spawn(sys.executable, [*words, "--memory", str(memory)], **options)
    child.expect("you>")
    child.send("/set max_new_tokens 4\r")
    child.expect(r"\x1b\[1;3;36m4")  # the number as it is shown, not as it was typed
    child.expect("you>")
    child.send("not this")
    child.sendintr()
    child.expect("you>")
    child.send("/memorx\x7fy\r")
    child.expect(" utterances")
    child.expect("you>")
    child.send("\x1b[A\r")
    child.expect(" utterances")
    child.expect("you>")
    child.send("Tell me a story\r")
    child.expect(r"\x1b\[1m")  # the reply is in bold
    child.expect("you>")
    child.sendeof()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    asked, answer = peek(memory)[1]
    assert asked["content"] == "Tell me a story" and answer["content"]


def test_a_pipe_into_a_process_of_its_own(checkpoint, tmp_path):
    command = [sys.executable, "-m", "transformers_empathav.cli", "chat", str(checkpoint), *SHORT]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--memory", str(tmp_path)], input="Hello\n", capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "you>" not in done.stdout and json.dumps(peek(tmp_path)[1])
