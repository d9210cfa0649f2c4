"""ConversationMemory: what the compressor has kept of a conversation, as a value that the caller holds."""

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .state_space_empathav import StateSpaceState


MEMORY_FILE = "memory.safetensors"
FORMAT_VERSION = "1"


@dataclass(frozen=True, eq=False)
class ConversationMemory:
    r"""
    The memory of one conversation, or of a batch of them.

    A memory is never changed in place: `model.compress(..., memory=memory)` gives a longer one.

    Args:
        vectors (`torch.Tensor` of shape `(batch, vectors, text_hidden_size)`):
            What the language model reads, right-padded with zeros.
        lengths (`torch.Tensor` of shape `(batch,)`):
            How many vectors each conversation has.
        state ([`StateSpaceState`]):
            Where the compressor stopped reading; of a size that does not grow with the conversation.
        vectors_per_utterance (`int`):
            Vectors that each utterance left.
        fingerprint (`str`, *optional*):
            Of the compressor that made it, see [`EmpathAVConfig`].
    """

    vectors: torch.Tensor
    lengths: torch.Tensor
    state: StateSpaceState
    vectors_per_utterance: int
    fingerprint: str | None = None

    def __len__(self) -> int:
        return self.vectors.shape[0]

    @property
    def num_vectors(self) -> int:
        """Vectors held, all conversations of the batch together."""
        return int(self.lengths.sum())

    @property
    def num_utterances(self) -> int:
        """Utterances held, all conversations of the batch together."""
        return self.num_vectors // self.vectors_per_utterance

    @property
    def nbytes(self) -> int:
        """Bytes of vectors and state."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self._tensors().values())

    def flat(self) -> torch.Tensor:
        """The vectors of all conversations in reading order, without padding: `(num_vectors, text_hidden_size)`."""
        return self.vectors[self.mask()]

    def mask(self) -> torch.Tensor:
        """`(batch, vectors)`, true where a vector is no padding."""
        return torch.arange(self.vectors.shape[1], device=self.vectors.device) < self.lengths[:, None]

    def select(self, rows: torch.Tensor) -> "ConversationMemory":
        """The memories of some rows of the batch, in that order; a row may come several times."""
        return replace(self, vectors=self.vectors[rows], lengths=self.lengths[rows], state=self.state.select(rows))

    def to(self, device: torch.device | str) -> "ConversationMemory":
        return replace(
            self, vectors=self.vectors.to(device), lengths=self.lengths.to(device), state=self.state.to(device)
        )

    def extended(self, vectors: torch.Tensor, counts: torch.Tensor, state: StateSpaceState) -> "ConversationMemory":
        """
        This memory with further vectors.

        Args:
            vectors (`torch.Tensor` of shape `(sum(counts), text_hidden_size)`): New vectors in reading order.
            counts (`torch.Tensor` of shape `(batch,)`): How many of them each conversation gets.
            state ([`StateSpaceState`]): Where the compressor stopped.
        """
        lengths = self.lengths + counts
        padded = vectors.new_zeros(len(self), int(lengths.max()), vectors.shape[-1])
        position = torch.arange(padded.shape[1], device=padded.device)
        old = position < self.lengths[:, None]
        padded = padded.masked_scatter(old[..., None], self.flat().to(padded.dtype))
        padded = padded.masked_scatter(((position < lengths[:, None]) & ~old)[..., None], vectors)
        return replace(self, vectors=padded, lengths=lengths, state=state)

    def without_first(self, counts: torch.Tensor) -> "ConversationMemory":
        """The memory without the first `counts` `(batch,)` vectors of each conversation."""
        width = self.vectors.shape[1]
        position = torch.arange(width, device=self.vectors.device) + counts[:, None]
        lengths = self.lengths - counts
        shifted = self.vectors.gather(1, position.clamp(max=max(width - 1, 0))[..., None].expand_as(self.vectors))
        shifted = shifted[:, : int(lengths.max())]
        return replace(self, vectors=shifted, lengths=lengths)

    def _tensors(self) -> dict[str, torch.Tensor]:
        return {"vectors": self.vectors, "lengths": self.lengths, "conv": self.state.conv, "ssm": self.state.ssm}

    def save_pretrained(self, save_directory: str | os.PathLike):
        """Writes one safetensors file into `save_directory`; an older memory there is replaced in one step."""
        directory = Path(save_directory)
        directory.mkdir(parents=True, exist_ok=True)
        metadata = {
            "format_version": FORMAT_VERSION,
            "vectors_per_utterance": str(self.vectors_per_utterance),
            "fingerprint": self.fingerprint or "",
        }
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self._tensors().items()}
        handle, partial = tempfile.mkstemp(dir=directory, prefix=".memory-")
        os.close(handle)
        try:
            save_file(tensors, partial, metadata=metadata)
            os.replace(partial, directory / MEMORY_FILE)
        except BaseException:
            os.unlink(partial)
            raise

    @classmethod
    def from_pretrained(cls, directory: str | os.PathLike) -> "ConversationMemory":
        """
        Reads what `save_pretrained` wrote.

        Raises:
            `FileNotFoundError`: there is no memory in `directory`.
            `ValueError`: the file is damaged or of another format version.
        """
        path = Path(directory) / MEMORY_FILE
        if not path.is_file():
            raise FileNotFoundError(
                f"No memory at {path}: give a directory that ConversationMemory.save_pretrained wrote."
            )
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("format_version") != FORMAT_VERSION:
                    raise ValueError(
                        f"{path} has memory format {metadata.get('format_version')}, and this version reads "
                        f"{FORMAT_VERSION}: compress the conversation again."
                    )
                tensors = {name: file.get_tensor(name) for name in ("vectors", "lengths", "conv", "ssm")}
                vectors_per_utterance = int(metadata["vectors_per_utterance"])
        except (SafetensorError, KeyError) as error:
            raise ValueError(f"{path} is damaged ({error}): compress the conversation again.") from error
        return cls(
            vectors=tensors["vectors"],
            lengths=tensors["lengths"],
            state=StateSpaceState(conv=tensors["conv"], ssm=tensors["ssm"]),
            vectors_per_utterance=vectors_per_utterance,
            fingerprint=metadata.get("fingerprint") or None,
        )
