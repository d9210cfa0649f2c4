"""ConversationMemory: the compressed history of a conversation, a value that the caller holds."""

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.nn.utils.rnn import pad_sequence

from .memory_budget_empathav import length_within, merge_oldest
from .state_space_empathav import StateSpaceState


MEMORY_FILE = "memory.safetensors"
FORMAT_VERSION = "2"
# `ConversationMemory.roles` holds indices into this. `several`: merged utterances of more than one role.
ROLES = ("unknown", "system", "user", "assistant", "several")

ROW_TENSORS = ("vectors", "lengths", "turns", "roles", "unfinished")


@dataclass(frozen=True, eq=False)
class ConversationMemory:
    r"""
    The compressed history of one conversation, or of a batch of them, as `model.compress` returns it.

    Pass it to `model.generate(..., memory=memory)` to reply, and to `model.compress(..., memory=memory)` to add
    utterances. A memory is never changed in place: `compress` returns a new one.

    Args:
        vectors (`torch.Tensor` of shape `(batch, vectors, text_hidden_size)`):
            Memory vectors, which the language model reads; right-padded with zeros.
        lengths (`torch.Tensor` of shape `(batch,)`):
            Number of vectors of each conversation.
        turns (`torch.Tensor` of shape `(batch, vectors)`):
            Index, from 0, of the utterance that each vector stands for; the first one if several were merged.
        roles (`torch.Tensor` of shape `(batch, vectors)`):
            Role of that utterance, as an index into `ROLES`.
        state ([`StateSpaceState`]):
            Recurrent state of the compressor. Its size does not grow with the conversation.
        unfinished (`torch.Tensor` of shape `(batch, 2)`):
            For an utterance that was cut before its last read-out token: number of tokens read, and its role. Else
            zeros.
        vectors_per_utterance (`int`):
            Number of vectors per utterance.
        max_vectors (`int`, *optional*):
            Budget: largest number of vectors per conversation. Beyond it the oldest utterances are merged, see
            [`merge_oldest`]. Without a budget none are.
        fingerprint (`str`, *optional*):
            Identifies the compressor, see `compressor_fingerprint` of [`EmpathAVConfig`].

    Raises:
        `ValueError`: If `max_vectors` is less than two utterances take.
    """

    vectors: torch.Tensor
    lengths: torch.Tensor
    turns: torch.Tensor
    roles: torch.Tensor
    state: StateSpaceState
    unfinished: torch.Tensor
    vectors_per_utterance: int
    max_vectors: int | None = None
    fingerprint: str | None = None

    def __post_init__(self):
        if self.max_vectors is not None and self.max_vectors < 2 * self.vectors_per_utterance:
            raise ValueError(
                f"max_vectors={self.max_vectors} leaves no room for two utterances of {self.vectors_per_utterance} "
                "vectors each: raise it, or leave it out for a memory without a budget."
            )

    @classmethod
    def empty(cls, state: StateSpaceState, hidden_size: int, dtype: torch.dtype, **fields) -> "ConversationMemory":
        """Memories without any utterance, one for each row of `state`."""
        rows, device = state.ssm.shape[1], state.ssm.device
        return cls(
            vectors=torch.zeros(rows, 0, hidden_size, dtype=dtype, device=device),
            lengths=torch.zeros(rows, dtype=torch.long, device=device),
            turns=torch.zeros(rows, 0, dtype=torch.long, device=device),
            roles=torch.zeros(rows, 0, dtype=torch.int8, device=device),
            state=state,
            unfinished=torch.zeros(rows, 2, dtype=torch.long, device=device),
            **fields,
        )

    def __len__(self) -> int:
        """Number of conversations (batch size)."""
        return self.vectors.shape[0]

    @property
    def num_vectors(self) -> int:
        """Number of vectors held, summed over the batch."""
        return int(self.lengths.sum())

    @property
    def num_utterances(self) -> int:
        """Number of utterances that the vectors stand for, summed over the batch."""
        return int((self._vectors_read() // self.vectors_per_utterance).sum())

    @property
    def merged_utterances(self) -> int:
        """Number of utterances that share their vectors with others because of `max_vectors`."""
        spans = self.spans()
        return int(spans[spans > 1].sum())

    @property
    def nbytes(self) -> int:
        """Size of all tensors in bytes, the compressor's state included."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self._tensors().values())

    def length_after(self, row: int, utterances: int) -> int:
        """Number of vectors of conversation `row` once `utterances` more have been read."""
        length = int(self.lengths[row]) + utterances * self.vectors_per_utterance
        return length_within(length, self.vectors_per_utterance, self.max_vectors)

    def flat(self) -> torch.Tensor:
        """Vectors of all conversations in reading order, without padding: `(num_vectors, text_hidden_size)`."""
        return self.vectors[self.mask()]

    def mask(self) -> torch.Tensor:
        """Boolean mask `(batch, vectors)`: true where a vector is not padding."""
        return torch.arange(self.vectors.shape[1], device=self.vectors.device) < self.lengths[:, None]

    def spans(self) -> torch.Tensor:
        """Number of utterances that each group of `vectors_per_utterance` vectors stands for: `(batch, groups)`."""
        if not self.turns.shape[1]:
            return self.turns
        first = self.turns[:, :: self.vectors_per_utterance]
        group = torch.arange(first.shape[1], device=first.device)
        groups, read = (-(-count // self.vectors_per_utterance) for count in (self.lengths, self._vectors_read()))
        following = torch.where(group == groups[:, None] - 1, read[:, None], first.roll(-1, dims=1))
        return (following - first).masked_fill(group >= groups[:, None], 0)

    def select(self, rows: torch.Tensor) -> "ConversationMemory":
        """The memories of the rows whose indices are given, in that order; a row may be repeated."""
        return self._map(lambda tensor: tensor[rows], state=self.state.select(rows))

    def to(self, device: torch.device | str) -> "ConversationMemory":
        """The same memory on another device."""
        return self._map(lambda tensor: tensor.to(device), state=self.state.to(device))

    def append(
        self,
        vectors: torch.Tensor,
        roles: torch.Tensor,
        counts: torch.Tensor,
        state: StateSpaceState,
        unfinished: torch.Tensor,
    ) -> "ConversationMemory":
        """
        A new memory with further vectors at its end. Called by [`MambaCompressor`]; users call `model.compress`.

        Args:
            vectors (`torch.Tensor` of shape `(sum(counts), text_hidden_size)`): New vectors in reading order.
            roles (`torch.Tensor` of shape `(sum(counts),)`): Role of each, as an index into `ROLES`.
            counts (`torch.Tensor` of shape `(batch,)`): Number of new vectors per conversation.
            state ([`StateSpaceState`]): State of the compressor after them.
            unfinished (`torch.Tensor` of shape `(batch, 2)`): As in [`ConversationMemory`].
        """
        counted = zip(self._vectors_read().tolist(), counts.tolist())
        index = torch.cat([torch.arange(read, read + count, device=counts.device) for read, count in counted])

        def join(held, added):
            rows = zip(held, self.lengths.tolist(), added.to(held).split(counts.tolist()))
            return pad_sequence([torch.cat([row[:length], new]) for row, length, new in rows], batch_first=True)

        return replace(
            self,
            vectors=join(self.vectors, vectors),
            turns=join(self.turns, index // self.vectors_per_utterance),
            roles=join(self.roles, roles),
            lengths=self.lengths + counts,
            state=state,
            unfinished=unfinished,
        )._within_budget()

    def is_finite(self) -> bool:
        """Whether vectors and state are free of NaN and infinity."""
        return all(bool(tensor.isfinite().all()) for tensor in (self.vectors, self.state.conv, self.state.ssm))

    def _within_budget(self) -> "ConversationMemory":
        if self.max_vectors is None or not (self.lengths > self.max_vectors).any():
            return self
        held = zip(self.vectors, self.turns, self.roles, self.lengths.tolist())
        rows = [
            merge_oldest(
                vectors[:length], turns[:length], roles[:length], self.vectors_per_utterance, self.max_vectors
            )
            for vectors, turns, roles, length in held
        ]
        vectors, turns, roles = (pad_sequence(values, batch_first=True) for values in zip(*rows))
        lengths = self.lengths.new_tensor([len(row) for row, _, _ in rows])
        return replace(self, vectors=vectors, turns=turns, roles=roles, lengths=lengths)

    def _vectors_read(self) -> torch.Tensor:
        """Number of vectors ever appended, `(batch,)`; merging does not lower it."""
        if not self.turns.shape[1]:
            return self.lengths
        size = self.vectors_per_utterance
        last = self.turns.gather(1, (self.lengths - 1).clamp(min=0)[:, None])[:, 0]
        return torch.where(self.lengths > 0, last * size + (self.lengths - 1) % size + 1, 0)

    def _map(self, change, state: StateSpaceState) -> "ConversationMemory":
        return replace(self, **{name: change(getattr(self, name)) for name in ROW_TENSORS}, state=state)

    def _tensors(self) -> dict[str, torch.Tensor]:
        tensors = {"conv": self.state.conv, "ssm": self.state.ssm}
        return tensors | {name: getattr(self, name) for name in ROW_TENSORS}

    def save_pretrained(self, save_directory: str | os.PathLike):
        """
        Writes the memory to `memory.safetensors` in `save_directory`. An older memory there is replaced atomically.

        Raises:
            `ValueError`: If the memory holds NaN or infinity. An older memory stays.
        """
        if not self.is_finite():
            raise ValueError("The memory holds NaN or infinity and was not saved: compress the conversation again.")
        directory = Path(save_directory)
        directory.mkdir(parents=True, exist_ok=True)
        metadata = {
            "format_version": FORMAT_VERSION,
            "vectors_per_utterance": str(self.vectors_per_utterance),
            "max_vectors": str(self.max_vectors or ""),
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
        Loads the memory that `save_pretrained` wrote to `directory`.

        Raises:
            `FileNotFoundError`: If there is no memory in `directory`.
            `ValueError`: If the file is damaged or of another format version.
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
                return cls(
                    **{name: file.get_tensor(name) for name in ROW_TENSORS},
                    state=StateSpaceState(conv=file.get_tensor("conv"), ssm=file.get_tensor("ssm")),
                    vectors_per_utterance=int(metadata["vectors_per_utterance"]),
                    max_vectors=int(metadata["max_vectors"]) if metadata["max_vectors"] else None,
                    fingerprint=metadata["fingerprint"] or None,
                )
        except (SafetensorError, KeyError) as error:
            raise ValueError(f"{path} is damaged ({error}): compress the conversation again.") from error
