"""Position and role of each token within its utterance, also where an utterance is split over several calls."""

from typing import NamedTuple

import torch

from .memory_check_empathav import ROLES


END, OTHER = -1, -2  # no token ids: after the last token of a row, and what is not known of the call before


class UtterancePositions(NamedTuple):
    r"""
    Result of [`utterance_positions`].

    Args:
        position (`torch.Tensor` of shape `(batch, tokens)`): Index of each token in its utterance, from 0.
        role (`torch.Tensor` of shape `(batch, tokens)`): Role of its utterance, as an index into `ROLES`.
        unfinished (`torch.Tensor` of shape `(batch, 2)`):
            For an utterance that goes on after the last token: its number of tokens so far, and its role; minus the
            role if the last token is within the role's name. Else zeros.
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
    role_before = torch.where(role_before < 0, role_starts[:, 0], role_before)
    index = torch.arange(ends.shape[1], device=ends.device).expand_as(ends)
    begins = torch.cat([before[:, None] == 0, ends], dim=1)[:, :-1]
    start = torch.where(begins, index, -1).cummax(dim=1).values
    position = torch.where(start >= 0, index - start, before[:, None] + index)
    role = torch.where(start >= 0, role_starts.gather(1, start.clamp(min=0)), role_before[:, None])

    last = (attention_mask.sum(dim=1) - 1)[:, None]
    seen = last.clamp(min=0)
    after = torch.cat([position.gather(1, seen) + 1, role.gather(1, seen)], dim=1)
    after = torch.where(ends.gather(1, seen), 0, after)
    return UtterancePositions(position, role.clamp(min=0), torch.where(last >= 0, after, unfinished))


def find_role_starts(
    input_ids: torch.LongTensor,
    role_token_ids: dict[str, list[int]],
    attention_mask: torch.Tensor | None = None,
    unfinished: torch.Tensor | None = None,
) -> torch.Tensor:
    r"""
    Finds the names of roles, also one that is split over several calls.

    Args:
        input_ids (`torch.LongTensor` of shape `(batch, tokens)`): The tokens.
        role_token_ids (`dict[str, list[int]]`): Token ids of each role's name.
        attention_mask (`torch.Tensor` of shape `(batch, tokens)`, *optional*): Ones, then zeros (right padding).
        unfinished (`torch.Tensor` of shape `(batch, 2)`, *optional*):
            `unfinished` of the call before. Where that ended within a name, the first entry of the row is for it.

    Returns:
        `torch.Tensor` of shape `(batch, tokens)`: index into `ROLES` where the name of a role begins, minus it where
        the row ends within the name, else 0.
    """
    if not input_ids.shape[1]:
        return input_ids
    names = {ROLES.index(role): name for role, name in role_token_ids.items() if name}
    longest = max(map(len, names.values()), default=0)
    before, split = input_ids.new_full((len(input_ids), longest), OTHER), []
    for row, (read, role) in enumerate([] if unfinished is None else unfinished.tolist()):
        if role < 0 and read < len(names.get(-role, ())):
            before[row, longest - read :] = input_ids.new_tensor(names[-role][:read])
            split.append((row, longest - read))
    if attention_mask is not None:
        input_ids = input_ids.masked_fill(attention_mask == 0, END)
    padded = torch.nn.functional.pad(torch.cat([before, input_ids], dim=1), (0, longest), value=END)
    width = padded.shape[1] - longest
    found, cut = torch.zeros_like(padded[:, :width]), torch.zeros_like(padded[:, :width])
    for role, name in names.items():
        whole = begun = padded[:, :width] != END
        for offset, token in enumerate(name):
            here = padded[:, offset : offset + width]
            whole, begun = whole & (here == token), begun & ((here == token) | (here == END))
        found, cut = found.masked_fill(whole, role), cut.masked_fill(begun & ~whole, -role)
    found = torch.where(cut < 0, cut, found)  # a shorter name may be whole where a longer one is cut
    for row, start in split:
        found[row, longest] = found[row, start]
    return found[:, longest:]
