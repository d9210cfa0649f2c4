"""The recipe as users run it: both engines, killed in the middle and resumed, other limits without writing again."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from datasets import load_from_disk

from chat_server import chat_server
from helpers import load_recipe
from texts import write_classifier, write_encoder
from transformers_empathav import EMOTION_LABELS
from transformers_empathav.data.dialogues.corpus import load_corpus
from transformers_empathav.pairs.contexts import context_rows
from transformers_empathav.testing.tiny import tiny_model


RECIPE = Path(__file__).parents[2] / "recipes" / "counter_emotional.py"


@pytest.fixture(scope="module")
def place(tmp_path_factory, processor):
    """A tiny writer, scorer and encoder, and six short talks."""
    folder = tmp_path_factory.mktemp("pairs")
    writer = tiny_model(processor)
    writer.generation_config.eos_token_id = list(range(6, 260, 3))  # or a random model would never end
    writer.save_pretrained(folder / "writer")
    processor.save_pretrained(folder / "writer")
    write_classifier(folder / "scorer")
    write_encoder(folder / "encoder")
    with open(folder / "talks.jsonl", "w") as stream:
        for number in range(6):
            said = [
                f"I lost my {number} keys",
                "Where did you last see them?",
                "At home I think",
                "Then look there again",
            ]
            messages = [{"role": role, "content": text} for role, text in zip(("user", "assistant") * 2, said)]
            messages[0]["emotion"] = "sad" if number % 2 else "happy"
            stream.write(json.dumps({"id": f"talk{number}", "split": "train", "messages": messages}) + "\n")
    return folder


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("counter_emotional")


def arguments(place, output, **options):
    options = {
        "corpora": place / "talks.jsonl",
        "scorer": place / "scorer",
        "embedder": place / "encoder",
        "output_dir": place / output,
        "contextual_floor": -1,
        "shortest": 0.01,
        "longest": 100,
        "max_new_tokens": 6,
        "use_cpu": True,
        **options,
    }
    lists = {name: value if isinstance(value, list) else [value] for name, value in options.items()}
    return [str(text) for name, values in lists.items() for text in (f"--{name}", *values)]


def run(recipe, place, output, **options):
    recipe.main(recipe.parse_groups(recipe.Script, arguments(place, output, **options)))


def rows_of(place, output):
    file = place / output / "journal" / "rows-00000.jsonl"
    return file.read_bytes().splitlines() if file.is_file() else []


def test_killed_and_resumed_is_uninterrupted(recipe, place):
    """With a server that answers slowly the kill falls into the middle; a torn line is added for good measure."""
    options = {"writer": "tiny", "concurrency": 1, "kinds": ["counter_emotional", "same_writer", "random"]}
    with chat_server(delay=0.02) as server:
        options["server"] = server.url
        run(recipe, place, "whole", inspect=2, **options)
        command = [sys.executable, str(RECIPE), *arguments(place, "parts", **options)]
        process = subprocess.Popen(command, cwd=place, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while len(rows_of(place, "parts")) < 3 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = rows_of(place, "parts")
        assert 3 <= len(kept) < 12 and not (place / "parts" / "counter_emotional").exists()
        with open(place / "parts" / "journal" / "rows-00000.jsonl", "ab") as stream:
            stream.write(b'{"id": "talk1-3", "repl')
        asked = len(server.bodies)
        run(recipe, place, "parts", **options)
        assert len(server.bodies) - asked == 7 * (12 - len(kept))
    assert rows_of(place, "parts") == rows_of(place, "whole")
    for kind in options["kinds"]:
        whole, parts = (load_from_disk(place / output / kind) for output in ("whole", "parts"))
        assert whole.to_list() == parts.to_list() and len(whole) == 12
    assert (place / "whole" / "inspect.html").read_text().count("<article>") == 6
    table = json.loads((place / "whole" / "table.json").read_text())
    assert set(table["measures"]) == set(options["kinds"]) and table["counts"]["random"]["chosen"] == 12


def test_in_this_process_with_the_same_columns(recipe, place, capsys):
    with chat_server() as server:
        run(recipe, place, "served", writer="tiny", server=server.url)
    capsys.readouterr()
    options = {"writer": place / "writer", "limit": 6, "rows_per_batch": 4}
    run(recipe, place, "own", **options)
    printed = capsys.readouterr()
    assert "| counter_emotional |" in printed.out and "row/s" in printed.err
    own, served = (load_from_disk(place / output / "counter_emotional") for output in ("own", "served"))
    assert own.features == served.features and set(own["id"]) < set(served["id"])
    before = rows_of(place, "own")
    assert len(before) == 6
    with pytest.raises(ValueError, match="None of 6 contexts has a pair"):
        run(recipe, place, "own", **options, longest=1, shortest=1)  # chosen anew, and not written anew
    assert rows_of(place, "own") == before and "row/s" not in capsys.readouterr().err
    with pytest.raises(ValueError, match="temperature was 0.8 and is now 0.1"):
        run(recipe, place, "own", **options, temperature=0.1)


def test_obedience_is_measured_without_pairs(recipe, place, capsys):
    with chat_server() as server:
        run(recipe, place, "obeys", writer="tiny", server=server.url, obedience=3)
        assert len(server.bodies) == 21
    printed = capsys.readouterr().out
    assert "| prompted | 3 |" in printed and "0.143" in printed
    assert not (place / "obeys" / "counter_emotional").exists()


def test_exchanged_reactions_are_the_same_from_kept_scores(recipe, place, monkeypatch):
    """A scorer that knows two words, and a random writer: the second run computes no score and writes the same."""

    def scorer(texts):
        felt = [3 if "good" in text else 5 if "bad" in text else 4 for text in texts]
        return 0.3 * np.full((len(texts), 7), 1 / 7) + 0.7 * np.eye(7)[felt]

    monkeypatch.setattr(recipe, "EmotionScorer", lambda source, label_map: scorer)
    with open(place / "reactions.jsonl", "w") as stream:
        for number in range(40):
            said = [f"I lost {number}", f"{'That is good.' if number % 2 else 'Oh bad.'} Was it {number} or not?"]
            messages = [{"role": role, "content": text} for role, text in zip(("user", "assistant"), said)]
            messages[0]["emotion"] = "happy" if number % 2 else "sad"
            stream.write(json.dumps({"id": f"talk{number}", "split": "train", "messages": messages}) + "\n")
    options = {"kinds": "reaction_exchanged", "writer": place / "writer", "second_scorer": place / "scorer"}
    options |= {"corpora": place / "reactions.jsonl", "said_by": 1, "fluency_loss": 99}
    run(recipe, place, "reactions", **options)
    folder = place / "reactions" / "reaction_exchanged"
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    kept = (place / "reactions" / "scores.jsonl").read_bytes()
    assert len(load_from_disk(folder)) == 40 and kept.count(b"key") > 100
    monkeypatch.setattr(recipe, "EmotionScorer", lambda source, label_map: None)
    run(recipe, place, "reactions", **options)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first
    assert (place / "reactions" / "scores.jsonl").read_bytes() == kept
    table = json.loads((place / "reactions" / "table.json").read_text())["measures"]["reaction_exchanged"]
    assert table["style_pairs"] == pytest.approx(0.5, abs=0.05)
    with pytest.raises(ValueError, match="None of 40 contexts has a pair of kind reaction_exchanged"):
        run(recipe, place, "reactions", **{**options, "fluency_loss": -99})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": "other"}, "no kind of pairs called other"),
        ({"kinds": "reaction_exchanged", "writer": "x"}, "name a --second_scorer"),
        (
            {"kinds": "reaction_exchanged", "writer": "x", "second_scorer": "y", "server": "http://127.0.0.1:1/v1"},
            "without --server",
        ),
        ({}, "name a --writer"),
        ({"writer": "x", "adapter": "y", "server": "http://127.0.0.1:1/v1"}, "load it in the server"),
        ({"writer": "x", "min_words": 50}, "no reply of 50 words"),
    ],
)
def test_what_cannot_be_is_said(recipe, place, options, message):
    with pytest.raises(ValueError, match=message):
        run(recipe, place, "no", **options)


def test_the_configuration_is_understood_and_options_are_flat(recipe):
    config = RECIPE.parent / "configs" / "counter_emotional_smollm2-135m.yaml"
    script = recipe.parse_groups(
        recipe.Script, ["--config", str(config), "--limit", "96", "--temperature", "0.5", "--no_opposite"]
    )
    assert (script.contexts.limit, script.contexts.max_turns) == (96, 4)
    assert (script.sampling.temperature, script.sampling.max_new_tokens, script.limits.opposite) == (0.5, 48, False)
    assert (script.writer.adapter, script.writer.dtype, script.writer.rows_per_batch) == (
        "runs/sft_tags",
        "bfloat16",
        16,
    )
    assert (script.scores.scorer, script.pairs.inspect, script.pairs.use_cpu) == ("runs/emotion_scorer_ed", 20, True)


def test_the_contexts_of_our_own_are_twenty_labelled_ones():
    rows = context_rows(load_corpus(RECIPE.parent / "examples" / "contexts.jsonl", "train"), None, 4)
    assert len(rows) == 20 and {row["emotion"] for row in rows} == set(EMOTION_LABELS)
