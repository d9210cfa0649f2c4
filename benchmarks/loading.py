"""
What must pass before the first word: importing the package, loading a checkpoint, and reading a clip.

    python benchmarks/loading.py

Needs the assembled checkpoint (build/smollm2-135m, or the one named by $EMPATHAV_CHECKPOINT). The clip is made: 4 s,
640x360, 30 frames per second with sound; with $EMPATHAV_DATA set, a real one is read too. Importing is what it costs
above `from transformers import PreTrainedModel, ProcessorMixin`, the best of fresh processes of both kinds in turn.
"""

import glob
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from media import timed

from transformers_empathav import EmpathAVForCausalLM, EmpathAVProcessor


ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))
RUNS = 5
TARGETS = {
    "import_extra_s": 0.3,
    "load_checkpoint_s": 5.0,
    "media_to_tensors_s": 0.5,
    "media_to_tensors_with_face_crop_s": 1.5,
}
IMPORT = """
import time
start = time.perf_counter()
from transformers import PreTrainedModel, ProcessorMixin
{more}
print(time.perf_counter() - start)
"""


def import_seconds(more):
    command = [sys.executable, "-c", IMPORT.format(more=more)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def import_extra():
    """The extra seconds of importing the package: of the first pair of processes, and of the fastest of each kind."""
    pairs = [(import_seconds(""), import_seconds("import transformers_empathav")) for _ in range(RUNS)]
    libraries, package = zip(*pairs)
    return package[0] - libraries[0], min(package) - min(libraries)


def load(checkpoint):
    return EmpathAVForCausalLM.from_pretrained(checkpoint), EmpathAVProcessor.from_pretrained(checkpoint)


def read(processor, path):
    message = {"role": "user", "content": [{"type": "video", "path": str(path)}, {"type": "text", "text": "Well?"}]}
    return processor.apply_chat_template([message], add_generation_prompt=True, tokenize=True, return_dict=True)


def main():
    from clips import write_clip

    checkpoint = Path(os.environ.get("EMPATHAV_CHECKPOINT") or ROOT / "build/smollm2-135m")
    if not (checkpoint / "config.json").is_file():
        raise SystemExit(f"There is no checkpoint at {checkpoint}: run `make checkpoint`.")
    rows = {"import_extra_s": import_extra(), "load_checkpoint_s": timed(lambda: load(checkpoint))}
    with tempfile.TemporaryDirectory() as folder:
        clips = {"": write_clip(Path(folder) / "clip.mp4", seconds=4, size=(640, 360), key_every=250)}
        real = sorted(glob.glob(os.path.join(os.environ.get("EMPATHAV_DATA", ""), "av_clips/fullframe/*.mp4")))
        clips |= {", real clip": real[0]} if real else {}
        for kind, path in clips.items():
            cropping, whole = (EmpathAVProcessor.from_pretrained(checkpoint) for _ in range(2))
            whole.face_cascade, whole._cropper = None, None
            rows["media_to_tensors_s" + kind] = timed(lambda path=path, whole=whole: read(whole, path))
            rows["media_to_tensors_with_face_crop_s" + kind] = timed(
                lambda path=path, cropping=cropping: read(cropping, path)
            )
    print(f"{'':<48}{'first':>9}{'usual':>9}{'target':>9}   (seconds)")
    for name, (first, usual) in rows.items():
        print(f"{name:<48}{first:>9.3f}{usual:>9.3f}{TARGETS[name.partition(',')[0]]:>9.1f}")
    usual = {name: round(rows[name][1], 4) for name in TARGETS}
    print(json.dumps({**usual, "first": {name: round(rows[name][0], 4) for name in TARGETS}}))


if __name__ == "__main__":
    main()
