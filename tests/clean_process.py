"""A process as a reader of the Hub has it: without this package, and with nothing of this environment."""

import os
import subprocess
import sys
from pathlib import Path


# A process in which these modules cannot be imported, wherever they are installed.
PREAMBLE = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {blocked!r} else self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Without, sys.meta_path)
import torch
torch.set_num_threads(1)
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoProcessor, pipeline
"""


def run_without(blocked: set[str], script: str, *arguments, home: Path, **environment: str) -> str:
    """Standard output of a script in a process that has neither `blocked` nor this one's environment."""
    environment = {
        "PATH": os.environ["PATH"],
        "HF_HOME": str(home),
        "HF_MODULES_CACHE": str(home / "modules"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        **environment,
    }
    command = [sys.executable, "-I", "-c", PREAMBLE.format(blocked=blocked) + script, *map(str, arguments)]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
