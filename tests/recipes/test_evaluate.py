"""The evaluation as users run it: processes, tiny models, JSON lines of their own; killed, resumed, from the cache."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chat_server import chat_server
from helpers import load_recipe, wake
from texts import write_classifier, write_encoder
from transformers_empathav.testing.tiny import tiny_model, tiny_processor


RECIPE = Path(__file__).parents[2] / "recipes" / "evaluate.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    processor = tiny_processor(recent_turns=2)
    for seed, name in enumerate(("bare", "tuned")):
        wake(tiny_model(processor, seed)).save_pretrained(folder / name)
        processor.save_pretrained(folder / name)
    for seed, name in enumerate(("first", "second")):
        write_classifier(folder / name, seed)
    write_encoder(folder / "encoder", seed=2)
    with open(folder / "talks.jsonl", "w") as file:
        for talk in range(6):
            messages = [
                {"role": ("user", "assistant")[turn % 2], "content": f"turn {turn} of {talk}", "emotion": "sad"}
                for turn in range(6)
            ]
            file.write(json.dumps({"id": f"talk{talk}", "split": "dev", "messages": messages}) + "\n")
    return folder


def command(folder, output, **options):
    options = {
        "systems": [f"bare={folder / 'bare'}", f"tuned={folder / 'tuned'}"],
        "output_dir": output,
        "corpora": [folder / "talks.jsonl"],
        "contexts": 8,
        "max_new_tokens": 5,
        "batch_size": 3,
        "emotion_scorers": [f"own={folder / 'first'}", f"other={folder / 'second'}"],
        "embedder": folder / "encoder",
        **options,
    }
    arguments = []
    for name, value in options.items():
        arguments += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return [sys.executable, str(RECIPE), *arguments]


def launch(folder, output, **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command(folder, output, **options), capture_output=True, text=True, cwd=folder, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def finished(folder):
    """One whole run, with history, judge and BERTScore."""

    def rates(number, body):
        first, second = (body["messages"][0]["content"].count(mark) % 5 + 1 for mark in "ae")
        rated = json.dumps({side: {"semantics": first, "empathy": second} for side in "AB"})
        choices = [{"index": 0, "message": {"role": "assistant", "content": rated}, "finish_reason": "stop"}]
        return 200, {}, json.dumps({"choices": choices})

    options = {
        "history_system": "tuned",
        "history_corpus": folder / "talks.jsonl",
        "history_more_than": 2,
        "bertscore": folder / "encoder",
        "judge_contexts": 3,
        "likelihood": folder / "bare",
        "specificity_contexts": 4,
        "specificity_choices": 3,
        "judge_model": "tiny",
    }
    with chat_server(rates) as server:
        printed = launch(folder, folder / "out", judge_url=server.url, **options)
        asked = len(server.bodies)
    return {"printed": printed, "options": {**options, "judge_url": server.url}, "asked": asked}


def test_results_have_every_row_with_counts_intervals_and_provenance(folder, finished):
    results = json.loads((folder / "out" / "results.json").read_text())
    corpus = results["corpora"]["talks"]
    assert corpus["contexts"] == 8 and list(corpus["systems"]) == ["bare", "tuned"]
    measured = corpus["systems"]["tuned"]
    for name in ("emotional_similarity (own)", "emotion_accuracy (other)", "bertscore_f1", "perplexity", "bleu"):
        row = measured[name]
        assert row["n"] == 8 and row["low"] <= row["value"] <= row["high"]
    assert measured["specificity"]["n"] == 4 and measured["emotional_fit (own)"]["n"] == 8
    pair = corpus["comparisons"]["tuned - bare"]
    assert 0 < pair["all"]["perplexity"]["p"] <= 1
    assert pair["length_matched"] is None and pair["length_matched_contexts"] <= 8
    assert set(results["history"][0]["variants"]) == {"none", "last_k", "mean_pooled", "other", "own", "full"}
    assert results["history"][0]["variants"]["full"]["above_full"]["value"] == 0
    digests = {one["digest"] for one in {**results["systems"], **results["instruments"]}.values()}
    assert len(digests) == 5 and results["versions"]["transformers"]
    assert corpus["judge"]["pairs"]["tuned - bare"]["contexts"] == 3 and finished["asked"] == 6


def test_tables_plots_and_replies_are_written(folder, finished):
    assert "emotional similarity (own)" in finished["printed"]
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in (folder / "out" / "plots").iterdir())
    lines = [json.loads(line) for line in (folder / "out" / "replies.jsonl").read_text().splitlines()]
    assert len(lines) == 8 and set(lines[0]["replies"]) == {"bare", "tuned"} and lines[0]["gold"].startswith("turn")


def test_from_the_cache_it_writes_the_same_bytes(folder, finished):
    """Also the judge, whose server is gone."""
    before = {name: (folder / "out" / name).read_bytes() for name in ("results.json", "replies.jsonl", "cache.jsonl")}
    launch(folder, folder / "out", **finished["options"])
    assert {name: (folder / "out" / name).read_bytes() for name in before} == before


def test_a_killed_run_goes_on(folder, finished):
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command(folder, folder / "killed"), cwd=folder, **quiet)
    cache = folder / "killed" / "cache.jsonl"
    deadline = time.monotonic() + 300
    while not (cache.exists() and len(cache.read_bytes().splitlines()) >= 3):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = cache.read_bytes()
    assert not (folder / "killed" / "results.json").exists()
    launch(folder, folder / "killed")
    assert cache.read_bytes().startswith(kept[: kept.rfind(b"\n") + 1])
    whole = (folder / "out" / "cache.jsonl").read_text().splitlines()
    assert set(cache.read_text().splitlines()) <= set(whole)
    resumed, uninterrupted = (
        json.loads((folder / name / "results.json").read_text())["corpora"]["talks"] for name in ("killed", "out")
    )
    for part in ("bleu", "perplexity", "emotional_similarity (own)"):
        assert resumed["systems"]["tuned"][part] == uninterrupted["systems"]["tuned"][part]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "at least one"),
        (["--systems", "a=x", "a=y"], "each name once"),
        (["--systems", "a=x", "--history_system", "b"], "history_system b is none of the systems a"),
        (["--systems", "a=x", "--judge_url", "http://127.0.0.1/v1"], "needs --judge_model"),
        (["--systems", "a=x", "--history", "some"], "choose memory, none or full"),
    ],
)
def test_what_would_end_badly_is_said_before_any_work(options, said, tmp_path):
    recipe = load_recipe("evaluate")
    with pytest.raises(ValueError, match=said):
        recipe.main(recipe.parse_groups(recipe.Script, ["--output_dir", str(tmp_path / "none"), *options]))
    assert not (tmp_path / "none").exists()


def test_the_configuration_is_understood_and_options_are_flat():
    config = RECIPE.parent / "configs" / "evaluate_smollm2-135m.yaml"
    recipe = load_recipe("evaluate")
    options = ["--config", str(config), "--corpora", "meld", "--history", "full"]
    script = recipe.parse_groups(recipe.Script, options)
    assert script.systems.systems[-1] == "epo_exchanged=runs/epo_exchanged" and script.contexts.corpora == ["meld"]
    assert (script.writing.history, script.writing.max_new_tokens, script.writing.repetition_penalty) == (
        "full",
        48,
        1.1,
    )
    assert (script.history.history_recent_turns, script.emotion.emotion_contexts) == ([4, 8], 100)
    assert script.judge.judge_url is None and script.documents.documents == ["docs/results.md"]


def test_two_results_are_compared_without_a_model(capsys, tmp_path):
    recipe = load_recipe("evaluate")
    for name, value in (("a", 5.0), ("b", 1.0)):
        figure = {"value": value, "low": value - 1, "high": value + 1}
        (tmp_path / f"{name}.json").write_text(json.dumps({"words": figure, "bleu": {**figure, "value": 2.0}}))
    files = [str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    recipe.main(recipe.parse_groups(recipe.Script, ["--compare", *files]))
    first, last = capsys.readouterr().out.splitlines()
    assert first == "words: 5, not 0 to 2" and last.startswith("1 of 2 figures of")
    with pytest.raises(ValueError, match="wants two files"):
        recipe.main(recipe.parse_groups(recipe.Script, ["--compare", files[0]]))
