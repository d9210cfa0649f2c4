"""The tutorial: every command of the page, in order, on twelve clips, twelve dialogues and a tiny model."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from datasets import load_from_disk
from safetensors.torch import load_file
from transformers import (
    LlamaForCausalLM,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

from clips import write_clip
from texts import write_classifier
from transformers_empathav.checkpoint.minilm import fetch_minilm
from transformers_empathav.testing.tiny import tiny_config, tiny_processor, tiny_tokenizer


ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
SPEAKERS, EMOTIONS = ("ann", "bob", "cem"), ("anger", "joy", "sad", "neutral")
REPLIES = (
    "What a fine thing to hear, tell me more of it",
    "Shall we sit down and drink some tea together",
    "Nobody could have known that it would rain so hard",
    "Your brother called this morning and asked how you are",
    "Then the whole street must have been on its feet",
    "I would have been afraid too, so far from home",
)
STAGES = ("spelling", "utterances", "conversations")
# What the page sets, in small.
SMALL = {
    "PARTS": "--llm parts/llm --audio parts/audio --vision parts/vision",
    "SCORER": "parts/scorer",
    "FOLDS": "2",
    "WORDS": "1",
    "EPOCHS": "1",
    "STEPS": "2",
}


def blocks(language: str) -> list[str]:
    """The blocks of code in a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def commands() -> list[list[str]]:
    """The commands of the page as lists of words, with the variables that the page sets, in small."""
    values, found = {}, []
    for line in "\n".join(blocks("bash")).replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words and (setting := re.fullmatch(r"([A-Z]+)=(.*)", words[0])):
            values[setting[1]] = SMALL.get(setting[1], setting[2])
        elif words:
            line = re.sub(r"\$([A-Z]+)", lambda name: values[name[1]], line)
            found.append(shlex.split(line, comments=True))
    assert SMALL.keys() <= values.keys()
    return found


def write_parts(folder: Path):
    """A language model, encoders and a classifier of texts, all tiny, as a Hub id would give them."""
    config = tiny_config(tiny_processor())
    torch.manual_seed(0)
    LlamaForCausalLM(config.text_config).save_pretrained(folder / "llm")
    tiny_tokenizer().save_pretrained(folder / "llm")
    WhisperForConditionalGeneration(config.audio_config).save_pretrained(folder / "audio")
    letters = {letter: index for index, letter in enumerate(["<|endoftext|>", *"abcdefg"])}
    ears = WhisperFeatureExtractor(feature_size=8, chunk_length=2)
    WhisperProcessor(ears, WhisperTokenizer(vocab=letters, merges=[])).save_pretrained(folder / "audio")
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    ViTModel(ViTConfig(**small, image_size=32, patch_size=16), add_pooling_layer=False).save_pretrained(
        folder / "vision"
    )
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder / "vision")
    write_classifier(folder / "scorer")


def write_data(folder: Path):
    """Clips of three speakers, and dialogues of which some have a clip."""
    lines = ["path,emotion,speaker,text"]
    for speaker in SPEAKERS:
        (folder / speaker).mkdir(parents=True)
        for number, emotion in enumerate(EMOTIONS):
            name = f"{speaker}/{number + 1:02}.mp4"
            pitch = 200.0 + 100 * number + 10 * len(lines)
            write_clip(folder / name, seconds=0.5, fps=4, size=(64, 64), audio_rate=16000, frequency=pitch)
            lines.append(f"{name},{emotion},{speaker},Hello there")
    (folder / "labels.csv").write_text("\n".join(lines))
    with open(folder / "dialogues.jsonl", "w") as file:
        for number in range(12):
            emotion, answer = (("joy", "joy"), ("sad", "fear"))[number % 2]
            said = f"It is day {number}, and all is {emotion}"
            clip = {"type": "video", "path": f"{SPEAKERS[number % 3]}/02.mp4"}
            content = said if number % 3 else [clip, {"type": "text", "text": said}]
            messages = [
                {"role": "user", "content": content, "emotion": emotion},
                {"role": "assistant", "content": REPLIES[number % 6], "emotion": answer},
                {"role": "user", "content": f"No more of {number}"},
                {"role": "assistant", "content": REPLIES[(number + 2) % 6], "emotion": answer},
            ]
            split = "dev" if number >= 8 else "train"
            file.write(json.dumps({"id": f"t{number}", "split": split, "messages": messages}) + "\n")
    (card,) = blocks("yaml")
    (folder / "card.yaml").write_text(card)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The folder in which all commands ran, one after the other."""
    try:
        fetch_minilm()
    except OSError as error:
        pytest.skip(f"the sentence encoder that pairs and evaluation need cannot be fetched: {error}")
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / "recipes").symlink_to(ROOT / "recipes")
    write_parts(folder / "parts")
    write_data(folder / "mine")
    (folder / "commands.json").write_text(json.dumps(commands()))
    environment = {name: value for name, value in os.environ.items() if name != "EMPATHAV_DATA"}
    environment |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = [sys.executable, str(ROOT / "tests" / "forked.py"), "commands.json", "logs"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def printed(folder: Path, *words: str) -> str:
    """What the command with these words printed."""
    (number,) = [number for number, command in enumerate(commands()) if set(words) <= set(command)]
    return (folder / "logs" / f"{number:02}.txt").read_text()


def test_every_step_is_there():
    found = {Path(word).name for command in commands() for word in command[:3]}
    steps = {"assemble", "emotion", "respond", "memory", "extractor.py", "compressor.py", "sft.py", "epo.py"}
    assert steps | {"counter_emotional.py", "evaluate.py", "push.py"} <= found


def test_the_extractor_is_measured_on_held_out_speakers_and_trained_on_all(ran):
    report = json.loads((ran / "runs" / "folds" / "report.json").read_text())
    assert report["clips"] == 12 and report["folds"] == [["ann", "cem"], ["bob"]]
    assert set(report["recall"]) == {"angry", "happy", "neutral", "sad"}  # by their usual names in the file
    assert "shows disgust, fearful, surprised: that" in printed(ran, "runs/extractor")
    assert "word_steps" not in printed(ran, "runs/extractor")


@pytest.mark.parametrize("part", ["extractor", "compressor"])
def test_the_trained_parts_are_in_the_checkpoint(ran, part):
    trained = load_file(ran / "runs" / "parts" / f"{part}.safetensors")
    before, after = (load_file(ran / "build" / name / "model.safetensors") for name in ("base", "mine"))
    moved = [name for name, tensor in trained.items() if not before[f"model.{part}.{name}"].equal(tensor)]
    assert moved and all(after[f"model.{part}.{name}"].equal(trained[name]) for name in moved)


def test_losses_are_those_of_dialogues_that_were_not_trained_on(ran):
    for number in (1, 2):
        found = printed(ran, f"recipes/configs/compressor_smollm2-135m_{number}_{STAGES[number]}.yaml")
        assert "eval_own" in found and "eval_other" in found
    tuned = printed(ran, "recipes/sft.py")
    assert "16 replies to train on, 8 to evaluate" in tuned and "eval_loss" in tuned


def test_pairs_come_from_both_splits_and_preferences_are_measured_before_and_after(ran):
    for folder, kept in (("pairs", range(8)), ("pairs_dev", range(8, 12))):
        rows = load_from_disk(str(ran / "runs" / folder / "human_other"))
        assert {row["dialogue"] for row in rows} <= {f"t{number}" for number in kept}
    report = json.loads((ran / "runs" / "epo" / "preference.json").read_text())
    assert report["before"].keys() == report["after"].keys() == {"human_other"}
    before, after = (load_file(ran / "runs" / name / "adapter_model.safetensors") for name in ("sft", "epo"))
    assert any(not tensor.equal(before[name]) for name, tensor in after.items())


def test_systems_are_compared_on_held_out_dialogues(ran):
    results = json.loads((ran / "runs" / "evaluation" / "results.json").read_text())["corpora"]["dialogues"]
    assert results["contexts"] == 8 and list(results["systems"]) == ["untuned", "sft", "epo"]
    assert results["comparisons"].keys() == {"epo - untuned", "epo - sft"}


def test_it_hears_answers_remembers_and_could_be_published(ran):
    assert "surprised" in printed(ran, "emotion")
    assert "They sold my bike." in printed(ran, "respond")
    assert "2 utterances" in printed(ran, "empathav", "memory")
    published = printed(ran, "recipes/push.py")
    assert "model.safetensors" in published and "Nothing was sent" in published
