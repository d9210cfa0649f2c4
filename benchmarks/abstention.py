"""
What the checkpoint says where there is nothing to feel, or one stream alone.

    EMPATHAV_DATA=DIRECTORY python benchmarks/abstention.py [--checkpoint build/smollm2-135m]

Sixty clips, twelve each: silence (digital, or all but), room noise, tones like music, made from a seed; voices of
the corpora beside frames without a face; filmed faces beside a silent track. A confident emotion is one that a
conversation would count as felt. The first three kinds carry none. `silent_track_changes` is the largest change of a
probability of a face between no track and a silent one. What it cannot show: real rooms and real music.
"""

import json
import os
from argparse import ArgumentParser
from collections import Counter
from dataclasses import replace

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from transformers_empathav.chat.hearing import encode
from transformers_empathav.chat.responder import Responder
from transformers_empathav.data.clips.corpus import load_clip_corpus
from transformers_empathav.processing.media_empathav import Clip


EACH, RATE, SECONDS = 12, 16_000, 4
EMPTY = ("silence", "room noise", "tones")


def silence(random, index):
    level = [0.0, 1e-5, 1e-4][index % 3]
    return level * random.standard_normal(RATE * SECONDS)


def room_noise(random, index):
    """Noise whose power falls with frequency, between -45 and -25 dB of full scale, with a hum of the mains."""
    spectrum = np.fft.rfft(random.standard_normal(RATE * SECONDS))
    spectrum /= np.maximum(np.arange(len(spectrum)), 20) ** [0.5, 1.0, 0.0][index % 3]
    sound = np.fft.irfft(spectrum, RATE * SECONDS)
    hum = 0.3 * np.sin(2 * np.pi * 50 * np.arange(len(sound)) / RATE) if index % 2 else 0.0
    sound = sound / np.sqrt(np.mean(sound**2)) + hum
    return sound * 10 ** (random.uniform(-45, -25) / 20)


def tones(random, index):
    """Chords of tones with overtones that fade, two a second."""
    time, sound = np.arange(RATE // 2) / RATE, []
    for _ in range(2 * SECONDS):
        chord = 220 * 2 ** (random.choice(12, size=[1, 3, 4][index % 3], replace=False) / 12)
        overtones = [np.sin(2 * np.pi * note * part * time) / part for note in chord for part in (1, 2, 3)]
        sound.append(np.sum(overtones, axis=0) * np.exp(-3 * time))
    sound = np.concatenate(sound)
    return 0.1 * sound / np.sqrt(np.mean(sound**2))


def scene(random):
    """Frames without a face: slow waves of colour."""
    rows, columns = np.mgrid[0:180, 0:320] / 40
    waves = [np.sin(rows * random.uniform(0.2, 2) + columns * random.uniform(0.2, 2)) for _ in range(3)]
    frame = (127 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)
    return np.repeat(frame[None], 8, axis=0)


def spread(items):
    """Evenly spread over a corpus, its emotions in turn."""
    items = sorted(items, key=lambda item: item["id"])
    return [items[round(place)] for place in np.linspace(0, len(items) - 1, EACH)]


def clips(processor):
    """Windows of each clip by kind, with its acted emotion where it has one."""
    random, found = np.random.default_rng(0), {}
    for kind, make in zip(EMPTY, (silence, room_noise, tones)):
        sounds = [make(random, index).astype(np.float32) for index in range(EACH)]
        found[kind] = [([Clip(audio=sound, frames=None, start=0.0, end=float(SECONDS))], None) for sound in sounds]
    corpora = ["ravdess_audio", "cremad_audio", "nemo_audio"]
    voices = spread([item for corpus in corpora for item in load_clip_corpus(corpus)])
    for kind, items in (("voice, no face", voices), ("face, silent", spread(load_clip_corpus("av_clips/faces")))):
        found[kind] = []
        for message in (item["messages"][-1] for item in items):
            path = next(part["path"] for part in message["content"] if "path" in part)
            windows = processor.load_clip(path, kind="any")
            if kind == "voice, no face":
                windows = [replace(window, frames=scene(random), face=False) for window in windows]
            else:
                windows = [replace(window, audio=np.zeros_like(window.audio)) for window in windows]
            found[kind].append((windows, message["emotion"]))
    return found


def main():
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default="build/smollm2-135m")
    options = parser.parse_args()
    if "EMPATHAV_DATA" not in os.environ:
        print("Not measured: EMPATHAV_DATA names no folder with voices and av_clips/faces, which are heard here.")
        return
    torch.set_num_threads(2)
    responder = Responder(options.checkpoint)
    labels, report, changes = set(responder.model.config.emotion_labels), {}, [0.0]
    table = Table("clips", "says", "confident emotions", "right among them")
    for kind, made in clips(responder.processor).items():
        heard = [responder.hear([windows]) for windows, _ in made]
        says = Counter(one.reading for one in heard)
        felt = [(one.reading, acted) for one, (_, acted) in zip(heard, made) if one.reading in labels]
        right = sum(reading == acted for reading, acted in felt) if kind not in EMPTY else None
        report[kind] = {"says": dict(says.most_common()), "confident": len(felt), "right": right}
        told = ", ".join(f"{reading} {count}" for reading, count in says.most_common())
        table.add_row(kind, told, f"{len(felt)} of {len(made)}", "" if right is None else f"{right}")
        if kind == "face, silent":
            for windows, _ in made:
                without = encode(responder, [replace(window, audio=None) for window in windows])[0]
                silent = encode(responder, windows)[0]
                changes += [abs(without[label] - silent[label]) for label in labels]
    Console(width=110).print(table)
    empty = sum(report[kind]["confident"] for kind in EMPTY) / (EACH * len(EMPTY))
    print(json.dumps({**report, "confident_of_empty": empty, "silent_track_changes": round(max(changes), 4)}))


if __name__ == "__main__":
    main()
