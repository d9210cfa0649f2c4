"""Position and role of each token within its utterance, also where an utterance is split over several calls."""

from typing import NamedTuple

import torch

from .conversation_memory_empathav import ROLES


class UtterancePositions(NamedTuple):
    r"""
    Result of [`utterance_positions`].

    Args:
        position (`torch.Tensor` of shape `(batch, tokens)`): Index of each token in its utterance, from 0.
        role (`torch.Tensor` of shape `(batch, tokens)`): Role of its utterance, as an index into `ROLES`.
        unfinished (`torch.Tensor` of shape `(batch, 2)`):
            For an utterance that goes on after the last token: its number of tokens so far, and its role. Else zeros.
    """

    position: torch.Tensor
    role: torch.Tensor
    unfinished: torch.Tensor


def utterance_positions(
    ends: torch.Tensor, role_starts: torch.Tensor, attention_mask: torch.Tensor, unfinished: torch.Tensor
) -> UtterancePositions:
    r"""
    Numbers the tokens of each utterance and finds its role.

    Args:
        ends (`torch.Tensor` of shape `(batch, tokens)`): True at the last read-out token of an utterance.
        role_starts (`torch.Tensor` of shape `(batch, tokens)`): Result of [`find_role_starts`].
        attention_mask (`torch.Tensor` of shape `(batch, tokens)`): True, then false (right padding).
        unfinished (`torch.Tensor` of shape `(batch, 2)`): `unfinished` of the call before; zeros at the beginning.
    """
    before, role_before = unfinished.unbind(dim=1)
    index = torch.arange(ends.shape[1], device=ends.device).expand_as(ends)
    begins = torch.cat([before[:, None] == 0, ends], dim=1)[:, :-1]
    start = torch.where(begins, index, -1).cummax(dim=1).values
    position = torch.where(start >= 0, index - start, before[:, None] + index)
    role = torch.where(start >= 0, role_starts.gather(1, start.clamp(min=0)), role_before[:, None])

    last = (attention_mask.sum(dim=1) - 1)[:, None]
    seen = last.clamp(min=0)
    after = torch.cat([position.gather(1, seen) + 1, role.gather(1, seen)], dim=1)
    after = torch.where(ends.gather(1, seen), 0, after)
    return UtterancePositions(position, role, torch.where(last >= 0, after, unfinished))


def find_role_starts(input_ids: torch.LongTensor, role_token_ids: dict[str, list[int]]) -> torch.Tensor:
    """
    Index into `ROLES` where the name of a role begins, else 0: `(batch, tokens)`. A name that is cut off by the end of
    `input_ids` is not found.
    """
    found = torch.zeros_like(input_ids)
    for role, name in role_token_ids.items():
        padded = torch.nn.functional.pad(input_ids, (0, len(name)), value=-1)
        here = torch.ones_like(input_ids, dtype=torch.bool)
        for offset, token in enumerate(name):
            here &= padded[:, offset : offset + input_ids.shape[1]] == token
        found = found.masked_fill(here, ROLES.index(role))
    return found
