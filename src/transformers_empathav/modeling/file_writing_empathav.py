"""Writes files that others may write, too: each appears whole or not at all, and writers take turns."""

import glob
import os
import secrets
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path


# Longest wait for another writer, in seconds. A writer needs milliseconds; one that was stopped never ends.
PATIENCE = 60.0


def write_file(path: str | os.PathLike, data: bytes, check: Callable[[], None] = lambda: None):
    r"""
    Writes a file in one step: a reader, or a process that goes on after a kill, finds the old file or the new one.
    What killed writers have left of it is removed.

    The permissions are those of any new file (`umask`).

    Args:
        path (`str` or `os.PathLike`): The file; one that is there is replaced.
        data (`bytes`): Its content, such as `safetensors.torch.save` returns it.
        check (`Callable`, *optional*): Called while no other writer is at work; it raises if nothing is to be written.

    Raises:
        `OSError`: If it cannot be written. The old file stays as it was, and no part of the new one is left.
    """
    path = Path(path)
    with locked(path.parent) as alone:
        if alone:
            remove_partial_files(path)
        check()
        write_now(path, data)


def write_now(path: Path, data: bytes):
    """As [`write_file`], without regard to other writers."""
    partial = path.with_name(partial_name(path, secrets.token_hex(8)))
    try:
        with open(partial, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # the name must not reach the disk before the content
        os.replace(partial, path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(
                error.errno, f"{path} could not be written ({error.strerror}): check disk and permissions"
            ) from error
        raise


def partial_name(path: Path, token: str) -> str:
    """Name of the unfinished file beside `path`; all such names begin as the one without a token."""
    return f".{path.stem}-{token}"


def remove_partial_files(path: Path):
    """Removes what killed writers of `path` have left. Call it under [`locked`] alone: then no writer is alive."""
    for partial in path.parent.glob(glob.escape(partial_name(path, "")) + "*"):
        partial.unlink(missing_ok=True)


@contextmanager
def locked(directory: str | os.PathLike):
    r"""
    Holds a lock on a directory, without a file of its own. It ends with the process, however that ends.

    Yields:
        `bool`: whether there is a lock. Windows and some network drives have none for directories.

    Raises:
        `TimeoutError`: If another process holds it for longer than `PATIENCE`.
    """
    try:
        import fcntl

        handle = os.open(directory, os.O_RDONLY)
    except (ImportError, PermissionError):
        yield False
        return
    held = False
    try:
        held = take_lock(fcntl, handle, directory)
        yield held
    finally:
        if held:
            fcntl.flock(handle, fcntl.LOCK_UN)  # closing is not enough where a fork has the handle, too
        os.close(handle)


def take_lock(fcntl, handle: int, directory: str | os.PathLike) -> bool:
    """Waits for the lock, and says whether there is one."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > until:
                raise TimeoutError(
                    f"Another process has been writing in {directory} for {PATIENCE:.0f} s: end it, or try again."
                ) from None
            time.sleep(0.01)
        except OSError:
            return False
