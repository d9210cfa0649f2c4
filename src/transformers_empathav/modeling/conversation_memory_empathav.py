"""ConversationMemory: the compressed history of a conversation, a value that the caller holds."""

import hashlib
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch.nn.utils.rnn import pad_sequence

from .memory_budget_empathav import length_within, merge_oldest
from .memory_check_empathav import ROLES, check_form, check_values
from .memory_file_empathav import (
    FORMAT_VERSION,
    MEMORY_FILE,
    SETTINGS,
    pack_memory,
    read_file,
    replace_file,
    unpack_memory,
)
from .state_space_empathav import StateSpaceState


__all__ = ["FORMAT_VERSION", "MEMORY_FILE", "ROLES", "ConversationMemory"]

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
            For an utterance that was cut before its last read-out token: number of tokens read, and its role; minus
            the role if it was cut within the role's name. Else zeros.
        vectors_per_utterance (`int`):
            Number of vectors per utterance.
        max_vectors (`int`, *optional*):
            Budget: largest number of vectors per conversation. It holds from the moment it is set, also by
            `dataclasses.replace`: beyond it the oldest utterances are merged, see [`merge_oldest`]. Without a budget
            none are.
        fingerprint (`str`, *optional*):
            Identifies the compressor, see `compressor_fingerprint` of [`EmpathAVConfig`].
        files (`dict[str, str]`, *optional*):
            Files that the memory, or one that it continues, was read from or written to, each with the SHA-256 of its
            content then. By it `save_pretrained` sees that someone else has written meanwhile.

    Raises:
        `ValueError`: If shapes or sizes do not belong together, or `max_vectors` is less than two utterances take.
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
    files: dict[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self):
        check_form(self._tensors(), self.vectors_per_utterance, self.max_vectors)
        if self.max_vectors is not None:
            self._merge()

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
        chosen = self._map(lambda tensor: tensor[rows], state=self.state.select(rows))
        longest = max(chosen.lengths.tolist(), default=0)
        cut = {name: getattr(chosen, name)[:, :longest] for name in ("vectors", "turns", "roles")}
        return replace(chosen, **cut)

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
        )

    def is_finite(self) -> bool:
        """Whether vectors and state are free of NaN and infinity."""
        return all(bool(tensor.isfinite().all()) for tensor in (self.vectors, self.state.conv, self.state.ssm))

    def _merge(self):
        """Merges what is beyond the budget; called while the memory is made, before anyone sees it."""
        if all(self.length_after(row, 0) == length for row, length in enumerate(self.lengths.tolist())):
            return
        held = zip(self.vectors, self.turns, self.roles, self.lengths.tolist())
        rows = [
            merge_oldest(
                vectors[:length], turns[:length], roles[:length], self.vectors_per_utterance, self.max_vectors
            )
            for vectors, turns, roles, length in held
        ]
        names = ("vectors", "turns", "roles")
        merged = {name: pad_sequence(values, batch_first=True) for name, values in zip(names, zip(*rows))}
        merged["lengths"] = self.lengths.new_tensor([len(row) for row, _, _ in rows])
        for name, value in merged.items():
            object.__setattr__(self, name, value)

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

    def save_pretrained(self, save_directory: str | os.PathLike, must_be_new: bool = False):
        r"""
        Writes the memory to `memory.safetensors` in `save_directory`. An older memory there is replaced in one step.

        A memory replaces the file that it, or the memory that it continues, was read from or written to last. If
        someone else has written it meanwhile, this is an error, so that no exchange is lost. A memory that was never
        there replaces what it finds, with a warning.

        Args:
            save_directory (`str` or `os.PathLike`): The directory; made if it is not there.
            must_be_new (`bool`, *optional*, defaults to `False`):
                Whether a memory that was never in this directory must not replace one that is.

        Raises:
            `ValueError`: If the file has changed, or the memory holds NaN, infinity or what contradicts itself. An
                older memory stays.
            `OSError`: If it cannot be written. An older memory stays.
        """
        data, path = self.to_bytes(), Path(save_directory) / MEMORY_FILE
        name = os.path.realpath(path)
        path = Path(name) if path.is_symlink() else path  # where it points to, not the link, is replaced
        written = replace_file(path, data, self.files.get(name), must_be_new)
        object.__setattr__(self, "files", {**self.files, name: written})

    @classmethod
    def from_pretrained(cls, directory: str | os.PathLike) -> "ConversationMemory":
        """
        Loads the memory that `save_pretrained` wrote to `directory`. All of it is checked.

        Raises:
            `FileNotFoundError`: If there is no memory in `directory`.
            `ValueError`: If the file is damaged, inconsistent or of another format version.
        """
        path = Path(directory) / MEMORY_FILE
        if not path.is_file():
            raise FileNotFoundError(
                f"No memory at {path}: give a directory that ConversationMemory.save_pretrained wrote."
            )
        data = read_file(path)
        memory = cls.from_bytes(data, str(path))
        return replace(memory, files={os.path.realpath(path): hashlib.sha256(data).hexdigest()})

    def to_bytes(self) -> bytes:
        """
        The content of the file that `save_pretrained` writes, for a store of your own.

        Raises:
            `ValueError`: If the memory holds NaN, infinity or what contradicts itself.
        """
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self._tensors().items()}
        try:
            check_values(tensors, self.vectors_per_utterance)
        except ValueError as error:
            raise ValueError(f"The memory was not saved ({error}): compress the conversation again.") from None
        return pack_memory(tensors, {name: getattr(self, name) for name in SETTINGS})

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "The memory") -> "ConversationMemory":
        """
        Reads what `to_bytes` returned; all of it is checked.

        Raises:
            `ValueError`: If it, called `name`, is damaged, inconsistent or of another format version.
        """
        tensors, settings = unpack_memory(data, name)
        state = StateSpaceState(conv=tensors["conv"], ssm=tensors["ssm"])
        return cls(**{row: tensors[row] for row in ROW_TENSORS}, state=state, **settings)
