"""
Runs commands one after the other, each in a process of its own that is forked from this one, which has imported what
they need: seconds less for each. `python tests/forked.py COMMANDS.json LOGS` reads a list of lists of words. The last
command of each program runs as a shell would run it. Ends with the first command that fails, and its output.
"""

import json
import os
import runpy
import subprocess
import sys
import traceback
from pathlib import Path


def run(words: list[str], log: Path) -> int:
    """Runs a command as a shell would, its output in `log`."""
    with open(log, "w") as stream:
        return subprocess.run(words, stdout=stream, stderr=subprocess.STDOUT).returncode


def run_forked(words: list[str], log: Path) -> int:
    """Runs a Python command in a fork of this process, its output in `log`."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        start(words)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def start(words: list[str]):
    """Does what `python FILE`, `accelerate launch FILE` and `empathav` do."""
    if words[0] == "empathav":
        sys.argv = words
        runpy.run_module("transformers_empathav.cli", run_name="__main__", alter_sys=False)
    else:
        sys.argv = words[2:] if words[0] == "accelerate" else words[1:]
        sys.path.insert(0, str(Path(sys.argv[0]).parent))
        runpy.run_path(sys.argv[0], run_name="__main__")


def main(commands: list[list[str]], logs: Path):
    logs.mkdir()
    last = {words[0]: number for number, words in enumerate(commands)}
    for number, words in enumerate(commands):
        log = logs / f"{number:02}.txt"
        forked = words[0] in ("python", "accelerate", "empathav") and number < last[words[0]]
        if code := (run_forked if forked else run)(words, log):
            sys.exit(f"{' '.join(words)}\nended with {code}:\n{log.read_text()}")


if __name__ == "__main__":
    import datasets  # noqa: F401
    import torch
    import trl  # noqa: F401

    import transformers_empathav.chat.terminal  # noqa: F401
    import transformers_empathav.cli  # noqa: F401
    import transformers_empathav.evaluation.clips.report  # noqa: F401
    import transformers_empathav.evaluation.results.plots  # noqa: F401
    import transformers_empathav.training.epo.trainer  # noqa: F401
    import transformers_empathav.training.extractor.learner  # noqa: F401

    torch.set_num_threads(1)
    main(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
