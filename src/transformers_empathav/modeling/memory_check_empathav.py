"""Checks of a memory: its form, which is cheap, and its values, which are read whenever it is saved or loaded."""

import torch


# `ConversationMemory.roles` holds indices into this. `several`: merged utterances of more than one role.
ROLES = ("unknown", "system", "user", "assistant", "several")
SEVERAL = ROLES.index("several")
# Larger numbers of vectors, utterances or tokens are no conversation.
LARGEST = 2**31 - 1
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
DTYPES = {
    "vectors": FLOATS,
    "conv": FLOATS[2:],
    "ssm": FLOATS[2:],
    "lengths": (torch.int64,),
    "turns": (torch.int64,),
    "roles": (torch.int8,),
    "unfinished": (torch.int64,),
}


def check_form(tensors: dict[str, torch.Tensor], vectors_per_utterance: int, max_vectors: int | None):
    """
    Checks the shapes of a memory's tensors and its sizes, without reading a value.

    Raises:
        `ValueError`: If they do not belong together.
    """
    check_budget(vectors_per_utterance, max_vectors)
    if tensors["vectors"].dim() != 3:
        raise ValueError(f"A memory has vectors of shape (batch, vectors, hidden), not {shape(tensors['vectors'])}.")
    rows, width, _ = tensors["vectors"].shape
    wanted = {"lengths": (rows,), "turns": (rows, width), "roles": (rows, width), "unfinished": (rows, 2)}
    for name, size in wanted.items():
        if tensors[name].shape != size:
            raise ValueError(
                f"A memory with vectors of shape {shape(tensors['vectors'])} has {name} of shape {size}, not "
                f"{shape(tensors[name])}: let model.compress make it, and memory.select choose rows."
            )
    conv, ssm = tensors["conv"], tensors["ssm"]
    if conv.dim() != 4 or ssm.dim() not in (4, 5) or conv.shape[:2] != ssm.shape[:2] or conv.shape[1] != rows:
        raise ValueError(
            f"The state of a memory of {rows} conversations has a convolution of shape {shape(conv)} and a recurrence "
            f"of shape {shape(ssm)}, which do not belong together: let model.compress make it."
        )


def check_budget(vectors_per_utterance: int, max_vectors: int | None):
    """
    Raises:
        `ValueError`: If `vectors_per_utterance` or `max_vectors` is no size of a memory.
    """
    if not is_count(vectors_per_utterance, 1):
        raise ValueError(f"vectors_per_utterance={vectors_per_utterance!r} is no number of vectors: give 1 or more.")
    if max_vectors is None:
        return
    if not is_count(max_vectors, 0):
        raise ValueError(
            f"max_vectors={max_vectors!r} is no number of vectors: give an integer of at most {LARGEST}, or leave it "
            "out for a memory without a budget."
        )
    if max_vectors < 2 * vectors_per_utterance:
        raise ValueError(
            f"max_vectors={max_vectors} leaves no room for two utterances of {vectors_per_utterance} "
            "vectors each: raise it, or leave it out for a memory without a budget."
        )


def is_count(value, least: int) -> bool:
    """Whether `value` is an integer from `least` to `LARGEST`."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= LARGEST


def check_values(tensors: dict[str, torch.Tensor], vectors_per_utterance: int):
    """
    Checks the values of a memory whose form is right.

    Raises:
        `ValueError`: What is wrong first.
    """
    for name, dtypes in DTYPES.items():
        if tensors[name].dtype not in dtypes:
            raise ValueError(f"{name} is of {tensors[name].dtype}, not of {' or '.join(map(str, dtypes))}")
    for name in ("vectors", "conv", "ssm"):
        if not tensors[name].isfinite().all():
            raise ValueError(f"{name} holds NaN or infinity")
    if not len(tensors["lengths"]):
        raise ValueError("it is of no conversation")
    roles = tensors["roles"]
    if ((roles < 0) | (roles >= len(ROLES))).any():
        raise ValueError(f"a role is {int(roles.max())} or {int(roles.min())}, not within 0 and {len(ROLES) - 1}")
    rows = zip(tensors["lengths"].tolist(), tensors["turns"], tensors["unfinished"].tolist())
    for row, (length, turns, (read, role)) in enumerate(rows):
        if not 0 <= length <= len(turns):
            raise ValueError(f"conversation {row} has {length} vectors, not within 0 and {len(turns)}")
        if wrong := wrong_turns(turns[:length], vectors_per_utterance):
            raise ValueError(f"conversation {row} has turns that {wrong}")
        cut = length % vectors_per_utterance
        if not cut <= read <= LARGEST or abs(role) >= SEVERAL or (role and not read):
            raise ValueError(
                f"conversation {row} ends in an utterance of {read} tokens, {cut} vectors and role {role}, which "
                "contradict each other"
            )


def wrong_turns(turns: torch.Tensor, vectors_per_utterance: int) -> str | None:
    """What is wrong with the turns of a conversation's vectors, oldest first; `None` where nothing is."""
    if not len(turns):
        return None
    first = turns[::vectors_per_utterance]
    if first[0] != 0:
        return f"begin at {int(first[0])}, not at 0"
    if turns.max() > LARGEST or turns.min() < 0:
        return f"are {int(turns.max())} or {int(turns.min())}, which is no turn"
    if not torch.equal(turns, first.repeat_interleave(vectors_per_utterance)[: len(turns)]):
        return "differ within one utterance"
    spans = torch.cat([first.diff(), first.new_ones(1)])
    if (spans < 1).any():
        return "do not increase"
    if (spans.diff() > 0).any():
        return "leave out utterances"  # merging leaves the older ones the coarser
    return None


def shape(tensor: torch.Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)
