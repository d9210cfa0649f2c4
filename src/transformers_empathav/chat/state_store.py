"""Conversations at any address of fsspec, so that any replica of a server goes on with any of them."""

import time
from typing import TYPE_CHECKING

import fsspec
from transformers.utils import logging

from .conversation_file import pack_conversation, unpack_conversation


if TYPE_CHECKING:
    from .conversation import Conversation
    from .responder import Responder

logger = logging.get_logger(__name__)
SUFFIX = ".safetensors"
SWEEP_SECONDS = 3600.0


class StateStore:
    r"""
    Writes and reads conversations by key, one file each. The KV cache is not in it.

    Args:
        address (`str`): A directory, or an address of fsspec such as `s3://bucket/folder` or `memory://folder`.
        days (`float`, *optional*, defaults to 30): Older files are deleted.

    Raises:
        `ValueError`: fsspec knows no such address, or lacks the package that opens it.
        `OSError`: the directory cannot be made.
    """

    def __init__(self, address: str, days: float = 30.0):
        try:
            self.files, self.root = fsspec.url_to_fs(address)
        except (ImportError, ValueError) as error:
            raise ValueError(f"The store {address} cannot be opened: {error}") from None
        self.days, self.swept = days, float("-inf")
        self.files.makedirs(self.root, exist_ok=True)

    def path(self, key: str) -> str:
        return f"{self.root.rstrip('/')}/{key}{SUFFIX}"

    def save(self, key: str, conversation: "Conversation"):
        """Writes a conversation. A store that does not take it is named in the log: the reply is not lost by it."""
        try:
            self.files.pipe_file(self.path(key), pack_conversation(conversation))
            self.sweep()
        except Exception as error:  # each file system has its own
            logger.warning(f"The store does not take a conversation ({type(error).__name__}): check its address.")

    def load(self, key: str, responder: "Responder") -> "Conversation | None":
        """Reads a conversation; `None` where there is none, or one that is damaged or of another checkpoint."""
        try:
            return unpack_conversation(self.files.cat_file(self.path(key)), responder, key)
        except FileNotFoundError:
            return None
        except Exception as error:
            logger.warning(f"A conversation in the store is not used ({type(error).__name__}).")
            return None

    def sweep(self):
        """Deletes what is too old, at most once an hour."""
        if time.monotonic() - self.swept < SWEEP_SECONDS:
            return
        self.swept = time.monotonic()
        for path in self.files.ls(self.root, detail=False):
            if path.endswith(SUFFIX):
                try:
                    if time.time() - self.files.modified(path).timestamp() > self.days * 86_400:
                        self.files.rm_file(path)
                except FileNotFoundError:
                    pass  # another replica was faster
