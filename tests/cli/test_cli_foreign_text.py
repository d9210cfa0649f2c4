"""What others wrote, in files, names, words and replies: refused in one line, and shown without harm."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from clips import write_clip
from command import answered, refused, respond
from transformers_empathav import ConversationMemory
from transformers_empathav.chat.responder import Responder
from transformers_empathav.cli import app


ESCAPE, SHOWN = "\x1b]0;owned\x07\x9b2J\u202e\r", r"\x1b]0;owned\x07\x9b2J\u202e\r"


def is_harmless(text: str):
    assert all(character.isprintable() or character in "\n\u00a0" for character in text), ascii(text)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (r'{"role": "user", "content": "hi", "speaker": "\ud800"}', "a speaker that is not valid Unicode"),
        (r'{"role": "user", "content": [{"type": "text", "text": "\udfff"}]}', "text that is not valid Unicode"),
        (r'{"role": "\ud800", "content": "hi"}', "unknown role"),
        (r'{"role": "user", "content": "hi", "emotion": "\ud800"}', "unknown emotion"),
        (r'{"role": "user", "content": [{"type": "audio", "path": "\ud800"}]}', "a name that no file can have"),
        (r'{"role": "user", "content": [{"type": "audio", "audio": {"path": "\u0000"}}]}', "name that no file can"),
        ('{"role": "user", "content": [{"type": {"a": 1}, "text": "x"}]}', "unknown type of type dict"),
        ('{"role": ["user"], "content": "hi"}', "unknown role of type list"),
        ('{"role": "user", "content": "hi", "emotion": {}}', "unknown emotion of type dict"),
        ('{"role": "user", "content": ' + "[" * 10**5 + "]" * 10**5 + "}", "is not JSON"),
        ('{"role": ' + '{"a":' * 400 + "1" + "}" * 400 + ', "content": "hi"}', "unknown role of type dict"),
        ('{"role": "user", "content": "hi", "n": ' + "1" * 5000 + "}", "is not JSON"),
        ('{"role": ' + "1" * 4000 + ', "content": "hi"}', "unknown role of type int"),
        ('{"role": "user", "content": [{"type": "text", "text": "x", "\\u001b[2J": 1}]}', "which is not read there"),
        ('{"role": "' + "x" * 10**5 + '", "content": "hi"}', "unknown role"),
        ('{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}', "is no data URI"),
        ("\x1b[2J", "is not JSON"),
    ],
)
def test_what_json_can_hold_but_no_message_is_refused_with_its_line(line, said, checkpoint, tmp_path):
    history = tmp_path / "history.jsonl"
    history.write_text('{"role": "user", "content": "Hi"}\n' + line + "\n")
    error = refused(checkpoint, "--text", "Hello", "--history", history)
    assert "history.jsonl, line 2" in error and said in error and len(error) < 600
    is_harmless(error)


def test_openai_parts_in_a_history_are_remembered(checkpoint, tmp_path):
    history = tmp_path / "history.jsonl"
    content = [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": "data:,x"}}]
    older = [{"role": "user", "content": content}, *({"role": "user", "content": f"{n}"} for n in range(9))]
    history.write_text("\n".join(map(json.dumps, older)))
    assert answered(checkpoint, "--text", "Hello", "--history", history)["memory"]["utterances"] == 12


def test_words_and_replies_are_shown_escaped_and_given_whole(checkpoint, monkeypatch):
    write = Responder.write

    def foreign(*args, **options):
        whole = yield from write(*args, **options)
        return replace(whole, text=f"{whole.text} so {ESCAPE}")

    monkeypatch.setattr(Responder, "write", foreign)
    result = respond(checkpoint, "--text", f"Hello {ESCAPE}")
    assert result.exit_code == 0, result.exception
    is_harmless(result.stdout)
    assert f"Hello {SHOWN}" in result.stdout and f"so {SHOWN}" in result.stdout
    reply = answered(checkpoint, "--text", f"Hello {ESCAPE}")
    assert reply["transcript"] == f"Hello {ESCAPE}" and reply["response"].endswith(ESCAPE)


def test_what_is_read_out_of_a_memory_is_shown_escaped(checkpoint, tmp_path, model, processor, monkeypatch):
    memory = model.compress(**processor.encode_history([{"role": "user", "content": "Hi"}]))
    memory.save_pretrained(tmp_path)
    monkeypatch.setattr("transformers_empathav.chat.recall.recall", lambda *args: [f"said {ESCAPE}"])
    result = CliRunner().invoke(app, ["memory", str(tmp_path), "--checkpoint", str(checkpoint)])
    assert result.exit_code == 0, result.exception
    is_harmless(result.stdout)
    assert SHOWN in result.stdout and isinstance(ConversationMemory.from_pretrained(tmp_path), ConversationMemory)


def test_names_of_files_are_shown_escaped(checkpoint, tmp_path):
    name = ESCAPE.replace("/", "") + "\n.wav"
    for missing in (tmp_path / name, tmp_path / "\udcff.wav"):
        is_harmless(refused(checkpoint, missing))
        is_harmless(refused(checkpoint, "--text", "Hello", "--history", missing))
    clip = write_clip(tmp_path / "clip.wav", seconds=1, fps=None, audio_codec="pcm_s16le").rename(tmp_path / name)
    result = CliRunner().invoke(app, ["emotion", str(checkpoint), str(clip)])
    assert result.exit_code == 0, result.exception
    is_harmless(result.stdout)
    assert SHOWN in result.stdout


def test_a_name_that_is_no_unicode_and_a_warning_reach_a_terminal(checkpoint, tmp_path):
    clip = write_clip(tmp_path / "clip.wav", seconds=1, fps=None, audio_codec="pcm_s16le")
    clip.rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\x1b.wav"))
    script = (
        "import logging, os, sys; from transformers_empathav.cli import app, shared; shared.quiet_libraries();"
        "logging.getLogger('transformers_empathav.x').warning('beware of %s', sys.argv[3]); app(sys.argv[1:])"
    )
    command = [sys.executable.encode(), b"-c", script.encode(), b"emotion", os.fsencode(checkpoint)]
    command.append(os.fsencode(tmp_path) + b"/\xff\x1b.wav")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert r"\udcff\x1b.wav" in done.stdout and rf"beware of {tmp_path}/\udcff\x1b.wav" in done.stderr
    is_harmless(done.stdout)
