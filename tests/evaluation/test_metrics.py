"""The modules of `evaluate`, loaded by path in a process that cannot reach the Hub."""

import ast

import evaluate
import pytest

from texts import write_classifier, write_encoder
from transformers_empathav import EMOTION_LABELS
from transformers_empathav.emotional_similarity import EmotionScorer
from transformers_empathav.evaluation.content_cache import ContentCache
from transformers_empathav.evaluation.gold_likelihood import gold_perplexity
from transformers_empathav.evaluation.metrics import FOLDER, load_metric
from transformers_empathav.evaluation.systems import load_system


SAID = ["I am so sorry to hear that .", "That is great news !"]
GOLD = ["I am sorry to hear that .", "What great news that is !"]
MODULES = sorted(path for path in FOLDER.glob("*.py") if path.stem != "__init__")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", str(tmp_path))


def test_bleu_has_its_signature():
    found = load_metric("bleu").compute(predictions=SAID, references=GOLD)
    assert 0 < found["bleu"] < 100 and "nrefs:1" in found["signature"]


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("rouge", "rouge1", None),
        ("meteor", "meteor", None),
        ("distinct", "distinct_1", 12 / 13),
        ("reply_length", "words", 6.5),
    ],
)
def test_a_module_gives_figures(name, key, value):
    texts = {"predictions": SAID} if value else {"predictions": SAID, "references": GOLD}
    found = load_metric(name).compute(**texts)
    assert found[key] == pytest.approx(value) if value else 0 < found[key] <= 1


def test_what_is_added_bit_by_bit_counts_together():
    metric = load_metric("distinct")
    for text in SAID:
        metric.add(predictions=text)
    assert metric.compute() == load_metric("distinct").compute(predictions=SAID)


def test_bertscore_of_a_directory(tmp_path):
    write_encoder(tmp_path / "encoder")
    found = load_metric("bertscore").compute(predictions=SAID, references=SAID, model=str(tmp_path / "encoder"))
    assert found["bertscore_f1"] == pytest.approx(1)


def test_similarities_in_meaning_and_in_emotion(tmp_path):
    write_encoder(tmp_path / "encoder")
    write_classifier(tmp_path / "scorer")
    same = {"predictions": SAID, "references": SAID}
    found = load_metric("embedding_similarity").compute(**same, model=str(tmp_path / "encoder"))
    assert found == {"embedding_similarity": pytest.approx(1)}
    labels = ["happy", "sad"]
    found = load_metric("emotional_similarity").compute(**same, model=str(tmp_path / "scorer"), labels=labels)
    likeliest = EmotionScorer(tmp_path / "scorer")(SAID).argmax(axis=1)
    right = sum(EMOTION_LABELS[index] == label for index, label in zip(likeliest, labels)) / 2
    assert found == {"emotional_similarity": pytest.approx(1), "emotion_agreement": 1, "emotion_accuracy": right}


def test_diff_epitome_of_three_directories(tmp_path):
    names = ("emotional_reactions", "interpretations", "explorations")
    for seed, name in enumerate(names):
        write_encoder(tmp_path / name, ["none", "weak", "strong"], seed)
    found = load_metric("epitome").compute(
        predictions=SAID, references=GOLD, prompts=["hi"] * 2, models={name: str(tmp_path / name) for name in names}
    )
    assert set(found) == {f"diff_{name}" for name in names} and all(0 < value < 2 for value in found.values())


def test_perplexity_is_that_of_the_recipe(model, processor, tmp_path):
    model.save_pretrained(tmp_path / "tiny")
    processor.save_pretrained(tmp_path / "tiny")
    talks = [[{"role": "user", "content": "hi"}, {"role": "assistant", "content": text}] for text in SAID]
    found = load_metric("perplexity").compute(predictions=talks, model=str(tmp_path / "tiny"))
    rows = [{"id": str(index), "prompt": talk[:1], "completion": talk[1:]} for index, talk in enumerate(talks)]
    expected = gold_perplexity(load_system("", tmp_path / "tiny"), rows, ContentCache(tmp_path / "cache.jsonl"))
    assert found["perplexity"] == pytest.approx(expected.figure())
    assert found["tokens"] == sum(map(len, SAID))


def test_an_unknown_metric_is_refused_with_the_names():
    with pytest.raises(ValueError, match="bertscore.*rouge"):
        load_metric("bleurt")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_each_import_has_one_line(path):
    """The loader of `evaluate` reads imports line by line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert node.lineno == node.end_lineno
