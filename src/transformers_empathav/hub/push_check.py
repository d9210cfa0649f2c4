"""What of a directory may be published, and whether readers can load it. Nothing here asks the Hub."""

import json
from fnmatch import fnmatch
from pathlib import Path

from safetensors.torch import load_file
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from ..modeling.modeling_empathav import EmpathAVForCausalLM
from .card import CARD_FILE


ADAPTER_FILE = "adapter_config.json"
# Patterns of file names. The first list with a pattern that fits decides; a file that fits none is refused.
LEFT_OUT = (
    *(".*", "__pycache__", "training_args.bin", "*_results.json", "trainer_state.json"),
    *("checkpoint-*", "runs", "merged", "ref", "tiny", "preference.json"),  # what recipes leave beside a model
)
REFUSED = {
    "state of a training": ("optimizer*", "scheduler*", "scaler*", "rng_state*", "global_step*"),
    "memory of a conversation": ("memory.safetensors",),
    "weights that run code when they are read": ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.npy"),
}
CARRIED = (
    *("model*.safetensors", "model*.safetensors.index.json", "adapter_model*.safetensors", "*.py", "*.jinja"),
    *("config.json", "generation_config.json", ADAPTER_FILE, "assembly.json"),
    *("processor_config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "*.model"),
    *("special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "normalizer.json"),
    *("haarcascade_*.xml", "retinaface.safetensors", "danger.safetensors", CARD_FILE, "LICENSE*", "NOTICE*"),
)
FOLDERS = ("asr",)


def carried_files(directory: Path) -> dict[str, Path]:
    """
    The files to publish, by their path in the repository. Prints what is left out.

    Raises:
        `ValueError`: there is no such directory, or it holds something that must not be published.
    """
    if not directory.is_dir():
        raise ValueError(f"{directory} is no directory: give a checkpoint or an adapter.")
    found, refused, left_out = {}, {}, []
    for path in sorted(directory.iterdir()):
        inside = sorted(path.iterdir()) if path.is_dir() and path.name in FOLDERS else [path]
        for item in inside:
            name = item.relative_to(directory).as_posix()
            reasons = [reason for reason, patterns in REFUSED.items() if fits(item.name, patterns)]
            if fits(item.name, LEFT_OUT):
                left_out.append(name)
            elif reasons or item.is_dir() or not fits(item.name, CARRIED):
                refused.setdefault(reasons[0] if reasons else "no part of a checkpoint", []).append(name)
            else:
                found[name] = item
    if refused:
        listed = "; ".join(f"{reason}: {', '.join(names[:5])}" for reason, names in refused.items())
        raise ValueError(f"{directory} holds what must not be published ({listed}): move it elsewhere.")
    if left_out:
        print(f"Left out: {', '.join(left_out)}.")
    return found


def fits(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a file name matches one of the patterns."""
    return any(fnmatch(name, pattern) for pattern in patterns)


def check_that_it_loads(directory: Path):
    """
    Loads a checkpoint with the code that it carries, as readers will, or an adapter onto its base where that is local.

    Raises:
        `ValueError`: it does not load; says why.
    """
    try:
        if (directory / ADAPTER_FILE).is_file():
            load_adapter(directory)
        else:
            load_with_its_own_code(directory)
    except Exception as error:  # whatever a reader would meet
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{directory} does not load, so nobody could use it: {reason[:500]}") from error


def load_with_its_own_code(directory: Path):
    """Loads model and processor of a checkpoint, and raises where their tensors or tokens do not agree."""
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    model_class = get_class_from_dynamic_module(config["auto_map"]["AutoModelForCausalLM"], str(directory))
    model, info = model_class.from_pretrained(directory, output_loading_info=True)
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[problem]:
            raise ValueError(f"its weights have {problem.replace('_', ' ')} ({', '.join(map(str, info[problem]))})")
    processor_class = get_class_from_dynamic_module(config["auto_map"]["AutoProcessor"], str(directory))
    processor = processor_class.from_pretrained(directory)
    if len(processor.tokenizer) > model.config.text_config.vocab_size:
        raise ValueError("its tokenizer has more tokens than its model")


def load_adapter(directory: Path):
    """Loads an adapter onto its base, and raises where it has other tensors than the base wants."""
    from peft import PeftConfig, PeftModel

    config = PeftConfig.from_pretrained(directory)
    weights = {name for file in directory.glob("adapter_model*.safetensors") for name in load_file(file)}
    if not weights:
        raise ValueError("it has no weights (adapter_model.safetensors)")
    base = config.base_model_name_or_path or ""
    if not Path(base, "config.json").is_file():
        print(f"Its base, {base or 'unnamed'}, is not on this machine: whether the two fit was not checked.")
        return
    model = PeftModel.from_pretrained(EmpathAVForCausalLM.from_pretrained(base), directory)
    expected = {name.replace(".default.", ".") for name in model.state_dict() if ".default." in name}
    if weights != expected:
        raise ValueError(f"its weights are not those of its base ({', '.join(sorted(weights ^ expected)[:3])})")
