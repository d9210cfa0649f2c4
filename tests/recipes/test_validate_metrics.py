"""The recipe that holds measures against ratings, on made ratings and tiny models; from its cache, without data."""

import json

import pytest

from helpers import load_recipe, wake
from texts import write_classifier, write_encoder
from transformers_empathav.data.ratings.empo import HUMAN
from transformers_empathav.testing.tiny import tiny_model, tiny_processor


@pytest.fixture
def folder(tmp_path, monkeypatch):
    processor = tiny_processor()
    wake(tiny_model(processor)).save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    write_classifier(tmp_path / "scorer")
    write_encoder(tmp_path / "encoder", seed=1)
    (tmp_path / "ratings").mkdir()
    lines = ["annotator,context,emotion,human_reply,reply,system,dim1,dim2,dim3,dim4,dim5"]
    for context in range(4):
        for rater in range(3):
            for place, system in enumerate(("first", "second", HUMAN)):
                text = f"reply {context} " * (place + 1)
                rated = f"{10 * place + context},{rater},{context + place},5,1"
                lines.append(f"{rater},I won {context},{('proud', 'sad')[context % 2]},good,{text},{system},{rated}")
    (tmp_path / "ratings" / "empo_human.csv").write_text("\n".join(lines))
    scales = dict.fromkeys(("P", "^P", "A", "^A", "EU", "ER", "L", "R", "S"), 3)
    people = []
    for person in range(4):
        kinds = {}
        for kind, emotion in (("positive", "proud"), ("negative", "sad")):
            bots = {
                name: {
                    "chat_log": f"- hello {person}\n- {'well ' * (place + person + 1)}",
                    **scales,
                    "Rating": place % 3,
                }
                for place, name in enumerate(("Pink", "Purple", "Yellow", "Green"))
            }
            kinds[kind] = {"emotion": emotion, **bots}
        people.append({"part": person, **kinds})
    (tmp_path / "ratings" / "ieval.json").write_text(json.dumps(people))
    monkeypatch.setenv("EMPATHAV_DATA", str(tmp_path))
    return tmp_path


def arguments(folder, *more):
    options = {
        "emotion_scorers": f"own={folder / 'scorer'}",
        "embedder": folder / "encoder",
        "likelihood": folder / "model",
        "specificity_choices": 3,
        "people": 3,
        "draws": 20,
        "output_dir": folder / "out",
    }
    return [part for name, value in options.items() for part in (f"--{name}", str(value))] + list(more)


def test_the_report_has_every_measure_with_both_studies_and_is_the_same_from_the_cache(folder, capsys):
    recipe = load_recipe("validate_metrics")
    recipe.main(recipe.parse_groups(recipe.Script, arguments(folder)))
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    written = (folder / "out" / "report.json").read_bytes()
    report = json.loads(written)
    empo, ieval = report["studies"]["EmPO"], report["studies"]["iEval"]
    assert (empo["rated"], ieval["rated"], ieval["conversations"]) == (12, 3 * 2 * 4, 3)
    assert empo["measures"]["specificity"]["overall"]["n"] == 12
    assert (
        empo["measures"]["emotional_similarity (own)"]["overall"]["n"] == 8
    )  # people are not held against themselves
    assert "emotional_fit (own)" in ieval["measures"] and "rouge1" not in ieval["measures"]
    assert set(last["length held, overall"]) == {"EmPO", "iEval"}
    assert "## iEval" in (folder / "out" / "report.md").read_text()
    cache = (folder / "out" / "cache.jsonl").read_bytes()
    recipe.main(recipe.parse_groups(recipe.Script, arguments(folder)))
    assert (folder / "out" / "report.json").read_bytes() == written
    assert (folder / "out" / "cache.jsonl").read_bytes() == cache


def test_missing_ratings_are_named_before_any_model_is_loaded(folder, monkeypatch):
    recipe = load_recipe("validate_metrics")
    with pytest.raises(ValueError, match="There is no .*other.json"):
        recipe.main(recipe.parse_groups(recipe.Script, arguments(folder, "--ieval", str(folder / "other.json"))))
    monkeypatch.delenv("EMPATHAV_DATA")
    with pytest.raises(ValueError, match="EMPATHAV_DATA"):
        recipe.main(recipe.parse_groups(recipe.Script, arguments(folder)))
