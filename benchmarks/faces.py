"""
How many faces RetinaFace and OpenCV's Haar cascade find in turned, mirrored and scaled frames, and how fast.

    EMPATHAV_DATA=DIRECTORY python benchmarks/faces.py [--frames 4] [--checkpoint build/smollm2-135m]

Frames are those of av_clips/fullframe, spread evenly over each clip: one man in a studio, 640x360. A face is found
where a middle lies within half a side of where the cascade has it in the frame as it is. The speed is processor time
on one thread. Both detectors come out of PyPI packages. With a checkpoint, it reads the emotions of the clips in
av_clips/faces (cropped to the face when they were made) and av_clips/fullframe, cropped by either detector or whole.
"""

import argparse
import glob
import json
import os
import statistics
import tempfile
import time
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from transformers_empathav.checkpoint import face, retinaface
from transformers_empathav.checkpoint.wheels import fetch_all
from transformers_empathav.data.clips.corpus import load_clip_corpus
from transformers_empathav.emotion.clip_reader import EmotionReader
from transformers_empathav.processing.face_crop_empathav import FaceCropper
from transformers_empathav.processing.face_tracking_empathav import DetectorCropper, haar_box, rotation
from transformers_empathav.processing.media_empathav import load_clip


ANGLES, HEIGHTS = (-45, -30, -15, 15, 30, 45), (64, 90, 180, 360, 720, 1080)


def middle_of(box):
    left, top, width, height = box
    return np.array([left + width / 2, top + height / 2])


def turn(frame, middle, angle):
    """A frame turned about its own middle, black in the corners, and where the face is then."""
    centre = np.array(frame.shape[1::-1]) / 2
    picture = Image.fromarray(frame).rotate(-angle, Image.Resampling.BICUBIC)  # which turns against the clock
    return np.array(picture), centre + rotation(angle) @ (middle - centre)


def mirror(frame, middle):
    return np.ascontiguousarray(frame[:, ::-1]), np.array([frame.shape[1] - middle[0], middle[1]])


def scale(frame, middle, height):
    by = height / frame.shape[0]
    picture = Image.fromarray(frame).resize((round(frame.shape[1] * by), height), Image.Resampling.BICUBIC)
    return np.array(picture), middle * by


def variants():
    """What is done to a frame, by name, and by how much a length grows."""
    return {
        "as it is": (lambda frame, middle: (frame, middle), 1.0),
        **{f"turned by {angle:+d} degrees": (partial(turn, angle=angle), 1.0) for angle in ANGLES},
        "mirrored": (mirror, 1.0),
        **{f"{height} pixels high": (partial(scale, height=height), height / 360) for height in HEIGHTS},
    }


def read_emotions(checkpoint, croppers):
    """Share of clips whose likeliest emotion is the acted one, by corpus, by the face alone or with the voice."""
    reader, shares = EmotionReader(checkpoint), {}
    labels, reader.processor._cropper = reader.model.config.emotion_labels, None
    for corpus in ("av_clips/faces", "av_clips/fullframe"):
        items = [item["messages"][-1] for item in load_clip_corpus(corpus)]
        targets = np.array([labels.index(message["emotion"]) for message in items])
        paths = [next(part["path"] for part in message["content"] if "path" in part) for message in items]
        clips = [clip for path in paths for clip in reader.processor.load_clip(path)]
        for name, crop in croppers.items():
            for streams in ("face", "voice", "face and voice"):
                shown = [
                    [
                        replace(
                            clip,
                            frames=crop(clip.frames) if "face" in streams else None,
                            audio=clip.audio if "voice" in streams else None,
                        )
                    ]
                    for clip in clips
                ]
                right = reader.score(shown).argmax(axis=1) == targets
                shares[f"{corpus}, {streams}, {name}"] = right.mean().item()
                print(f"{corpus + ', ' + streams:<38}{name:<14}{right.mean():>8.3f}   (of {len(right)} emotions)")
    return shares


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--checkpoint")
    options = parser.parse_args()
    torch.set_num_threads(1)
    paths = sorted(glob.glob(os.path.join(os.environ.get("EMPATHAV_DATA", ""), "av_clips", "fullframe", "*.mp4")))
    if not paths:
        print("Not measured: EMPATHAV_DATA names no folder with av_clips/fullframe, whose faces are looked for here.")
        return
    cascade, weights = fetch_all([face.CASCADE, retinaface.WEIGHTS])
    haar = FaceCropper(cascade)
    frames = [frame for path in paths for frame in load_clip(path, num_frames=options.frames)[0].frames]
    places = [haar.find(frame[None]) for frame in frames]
    frames, places = zip(*((frame, place) for frame, place in zip(frames, places) if place is not None))
    with tempfile.TemporaryDirectory() as folder:
        save_file(retinaface.convert(weights).state_dict(), os.path.join(folder, retinaface.FILE))
        cropper = DetectorCropper(os.path.join(folder, retinaface.FILE))
        detector = cropper.detector
        finders = {
            "retinaface": lambda frame: [haar_box(found) for found in detector(frame)],
            "haar": lambda frame: [] if (box := haar.find(frame[None])) is None else [box],
        }
        shares = {name: {} for name in finders}
        print(f"{len(frames)} frames of {len(paths)} clips{'retinaface':>18}{'haar':>12}   (share found)")
        for kind, (change, by) in variants().items():
            changed = [change(frame, middle_of(place)) for frame, place in zip(frames, places)]
            for name, find in finders.items():
                found = [
                    any(np.linalg.norm(middle_of(box) - middle) <= by * place[2] / 2 for box in find(frame))
                    for (frame, middle), place in zip(changed, places)
                ]
                shares[name][kind] = sum(found) / len(found)
            print(f"{kind:<32}{shares['retinaface'][kind]:>12.3f}{shares['haar'][kind]:>12.3f}")
        speeds = {}
        for name, find in finders.items():
            seconds = []
            for frame in frames:
                began = time.process_time()
                find(frame)
                seconds.append(time.process_time() - began)
            speeds[name] = 1 / statistics.median(seconds)
        emotions = {}
        if options.checkpoint:
            croppers = {"retinaface": cropper, "haar": haar, "whole frames": lambda frames: frames}
            emotions = read_emotions(options.checkpoint, croppers)
    print(f"{'frames of 640x360 a second':<32}{speeds['retinaface']:>12.1f}{speeds['haar']:>12.1f}")
    found = {name: statistics.mean(share.values()) for name, share in shares.items()}
    figures = {"found": found, "least": {name: min(share.values()) for name, share in shares.items()}}
    figures |= {"frames_per_second": speeds, "right": emotions}
    print(json.dumps({"benchmark": "faces", "frames": len(frames), **figures}))


if __name__ == "__main__":
    main()
