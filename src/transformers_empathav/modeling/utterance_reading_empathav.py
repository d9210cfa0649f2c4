"""Reading each utterance by itself: what a compressor keeps of one then does not depend on how many came before."""

import torch

from .state_space_empathav import StateSpaceStack, StateSpaceState


def read_apart(
    stack: StateSpaceStack,
    ends: torch.Tensor,
    begun: torch.Tensor,
    inputs_embeds: torch.Tensor,
    attention_mask: torch.Tensor,
    state: StateSpaceState,
) -> tuple[torch.Tensor, StateSpaceState]:
    r"""
    Runs a stack over each utterance from an empty state. Takes and gives what the stack itself does.

    Args:
        stack ([`StateSpaceStack`]): Reads utterances of about the same length as one batch.
        ends (`torch.Tensor` of shape `(batch, tokens)`): True at the last token of an utterance.
        begun (`torch.Tensor` of shape `(batch,)`): True where an earlier call began the first utterance of the row.
        inputs_embeds (`torch.Tensor` of shape `(batch, tokens, hidden_size)`): The vectors to read.
        attention_mask (`torch.Tensor` of shape `(batch, tokens)`): Ones, then zeros (right padding).
        state ([`StateSpaceState`]): Of each row, read where `begun` is true.

    Returns:
        `tuple(torch.Tensor, StateSpaceState)`: hidden states in the shape of `inputs_embeds`, zeros at padding, and
        the state of each row: that of its unfinished last utterance, or an empty one.
    """
    real, device = attention_mask.bool(), inputs_embeds.device
    number = ends.long().cumsum(dim=1) - ends.long()  # of the utterance of each token, in its row
    row, column = real.nonzero(as_tuple=True)
    keys = row * (ends.shape[1] + 1) + number[real]
    _, utterance, lengths = torch.unique_consecutive(keys, return_inverse=True, return_counts=True)
    begins = lengths.cumsum(dim=0) - lengths
    place = torch.arange(len(row), device=device) - begins[utterance]
    goes_on = ((number[real][begins] == 0) & begun[row[begins]]).nonzero()[:, 0]
    states = replaced(stack.empty_state(len(lengths), device), goes_on, state.select(row[begins[goes_on]]))

    flat, read = inputs_embeds[real], inputs_embeds.new_zeros(int(real.sum()), inputs_embeds.shape[-1])
    size = lengths.float().log2().ceil()  # read together if it is the same: padding at most doubles the work
    for of_size in [size == value for value in size.unique()]:
        chosen, tokens = of_size.nonzero()[:, 0], of_size[utterance].nonzero()[:, 0]
        where = torch.searchsorted(chosen, utterance[tokens]), place[tokens]
        shape = len(chosen), int(lengths[chosen].max())
        piece = flat.new_zeros(*shape, flat.shape[-1]).index_put(where, flat[tokens])
        mask = attention_mask.new_zeros(shape).index_put(where, attention_mask.new_ones(()))
        hidden, after = stack(piece, attention_mask=mask, state=states.select(chosen))
        read = read.index_put((tokens,), hidden[where])
        states = replaced(states, chosen, after)

    last = begins + lengths - 1
    newest = torch.cat([row[last][1:] != row[last][:-1], row.new_ones(1, dtype=torch.bool)])[: len(last)]
    unfinished = (newest & ~ends[row, column][last]).nonzero()[:, 0]
    finished = row[last[newest]]
    after = replaced(state, finished, stack.empty_state(len(finished), device))
    after = replaced(after, row[last[unfinished]], states.select(unfinished))
    return torch.zeros_like(inputs_embeds).index_put((row, column), read), after


def replaced(state: StateSpaceState, rows: torch.Tensor, new: StateSpaceState) -> StateSpaceState:
    """The state, with that of some rows of the batch replaced."""
    return StateSpaceState(
        state.conv.index_copy(1, rows, new.conv.to(state.conv)), state.ssm.index_copy(1, rows, new.ssm.to(state.ssm))
    )
