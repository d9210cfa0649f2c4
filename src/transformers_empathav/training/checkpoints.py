"""Checkpoints of a training: which of them are complete, so that a run can go on from there."""

import json
import logging
import os
import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open


logger = logging.getLogger(__name__)

STATE_FILE = "trainer_state.json"
# What a run needs to go on, by names of files. `Trainer` writes in this order; FSDP and DeepSpeed use folders.
NEEDED = {
    "weights": ("*.safetensors", "pytorch_model*", "global_step*"),
    "optimizer": ("optimizer*", "global_step*"),
    "schedule": ("scheduler.pt", "global_step*"),
    "state of random numbers": ("rng_state*.pth",),
    "state of the training": (STATE_FILE,),
}


def last_complete_checkpoint(output_dir: str | os.PathLike) -> str | None:
    """The newest complete checkpoint of a run, or `None`. Newer ones that a kill has left are named in a warning."""
    found = {}
    for path in Path(output_dir).glob("checkpoint-*"):
        if path.is_dir() and (step := path.name.removeprefix("checkpoint-")).isdigit():
            found[int(step)] = path
    for _, path in sorted(found.items(), reverse=True):
        if not (problems := checkpoint_problems(path)):
            return str(path)
        logger.warning(f"{path} is skipped, since a run cannot go on from it: {', '.join(problems)}.")
    if found:
        logger.warning(f"No checkpoint in {output_dir} is complete, so there is none to go on from.")
    return None


def checkpoint_problems(checkpoint: str | os.PathLike) -> list[str]:
    """What keeps a run from going on from a checkpoint, a phrase each; nothing for a complete one."""
    checkpoint = Path(checkpoint)
    if not checkpoint.is_dir():
        return ["there is no such directory"]
    missing = [what for what, names in NEEDED.items() if not any(any(checkpoint.glob(name)) for name in names)]
    return [f"it has no {what}" for what in missing] + [
        f"{path.name} is cut off" for path in sorted(checkpoint.iterdir()) if path.is_file() and not is_whole(path)
    ]


def is_whole(path: Path) -> bool:
    """Whether a file of a checkpoint was written to its end, of which formats tell by themselves."""
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt"):  # its header says how long it is
                return True
        except SafetensorError:
            return False
    if path.suffix == ".json":
        try:
            return json.loads(path.read_bytes()) is not None
        except ValueError:
            return False
    return path.suffix not in (".pt", ".pth", ".bin") or zipfile.is_zipfile(path)  # what `torch.save` writes
