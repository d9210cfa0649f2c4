"""
How long a clip takes from file to arrays, and the face crop after it.

    python benchmarks/media.py

Makes a clip of 4 s, 640x360, 30 frames per second with sound; with $EMPATHAV_DATA set, a real one is read too. The
face crop needs the cascade of an assembled checkpoint (build/smollm2-135m), or its path in $EMPATHAV_CASCADE.
"""

import glob
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from transformers_empathav.processing.face_crop_empathav import FaceCropper
from transformers_empathav.processing.media_empathav import load_clip


ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))
RUNS = 7


def scene(index):
    """A moving gradient with some grain, as hard to decode as a talking head."""
    rng = np.random.default_rng(index)
    picture = np.add.outer(np.arange(360) // 3, (np.arange(640) + 4 * index) // 5 % 128)[..., None]
    return (picture + rng.integers(0, 8, (360, 640, 3))).astype(np.uint8)


def timed(function):
    """Seconds of the first call and the median of `RUNS` further ones."""
    seconds = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return seconds[0], statistics.median(seconds[1:])


def main():
    cascade = os.environ.get("EMPATHAV_CASCADE") or next(iter(glob.glob(str(ROOT / "build/smollm2-135m/*.xml"))), None)
    with tempfile.TemporaryDirectory() as folder:
        made = os.path.join(folder, "clip.mp4")
        from clips import write_clip

        write_clip(made, seconds=4, size=(640, 360), key_every=250, picture=scene)
        clips = {"made, 4 s, 640x360, 30 fps": made}
        if "EMPATHAV_DATA" in os.environ:
            real = sorted(glob.glob(os.path.join(os.environ["EMPATHAV_DATA"], "av_clips", "fullframe", "*.mp4")))
            clips |= {"real, 3 s, 640x360, 30 fps": real[0]} if real else {}
        rows = {}
        for name, path in clips.items():
            first, usual = timed(lambda path=path: load_clip(path))
            rows[name] = {"decode_first": first, "decode": usual}
            if cascade:
                (clip,) = load_clip(path)
                cropper = FaceCropper(cascade)
                first, usual = timed(lambda cropper=cropper, clip=clip: cropper(clip.frames))
                rows[name] |= {"crop_first": first, "crop": usual}
    print(f"{'clip':<28}{'decode, first':>15}{'decode':>9}{'crop, first':>14}{'crop':>9}   (seconds)")
    for name, row in rows.items():
        first = f"{name:<28}{row['decode_first']:>15.3f}{row['decode']:>9.3f}"
        print(first + (f"{row['crop_first']:>14.3f}{row['crop']:>9.3f}" if cascade else "   no cascade: no face crop"))
    print(json.dumps({"benchmark": "media", "runs": RUNS, "cpus": os.cpu_count(), "seconds": rows}))


if __name__ == "__main__":
    main()
