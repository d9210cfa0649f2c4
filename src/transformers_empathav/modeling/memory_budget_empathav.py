"""Limits the length of a memory: its oldest utterances are merged in pairs, and none is dropped."""

import torch

from .memory_check_empathav import SEVERAL


def length_within(length: int, per_utterance: int, max_vectors: int | None) -> int:
    """Number of vectors that [`merge_oldest`] leaves of `length`; all of them without a budget."""
    if max_vectors is None:
        return length
    capacity = max_vectors // per_utterance
    freed = max(capacity // 4, 1) * per_utterance
    excess = max(length - capacity * per_utterance, 0)
    return length - -(-excess // freed) * freed


def merge_oldest(
    vectors: torch.Tensor, turns: torch.Tensor, roles: torch.Tensor, per_utterance: int, max_vectors: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    r"""
    Merges the oldest utterances of one conversation until its vectors are within a budget.

    Whenever one more utterance would exceed the budget, the older half is halved at once. Each pair of neighbours
    becomes its mean, weighted by the utterances that each stands for and rescaled to their mean norm. Merging is thus
    rare, and in between the KV cache of the memory stays valid. The result does not depend on how the conversation was
    cut into calls.

    Args:
        vectors (`torch.Tensor` of shape `(vectors, hidden)`): Vectors of one conversation, oldest first.
        turns (`torch.Tensor` of shape `(vectors,)`): Index of the first utterance that each vector stands for.
        roles (`torch.Tensor` of shape `(vectors,)`): Role of each vector, as an index into `ROLES`.
        per_utterance (`int`): Number of vectors per utterance.
        max_vectors (`int`): The budget: at least two utterances.

    Returns:
        `tuple`: vectors, turns and roles, at most `max_vectors` of each.
    """
    capacity = max_vectors // per_utterance
    while len(vectors) > capacity * per_utterance:
        merged = 2 * max(capacity // 4, 1)
        old = slice(merged * per_utterance)
        weights = torch.diff(turns[: (merged + 1) * per_utterance : per_utterance]).view(-1, 2, 1, 1)
        pairs = vectors[old].view(-1, 2, per_utterance, vectors.shape[-1])
        mean = (pairs * weights).sum(dim=1) / weights.sum(dim=1)
        length = pairs.norm(dim=-1, keepdim=True).mean(dim=1)
        mean = mean * (length / mean.norm(dim=-1, keepdim=True).clamp(min=1e-6))
        whose = roles[old].view(-1, 2, per_utterance)
        whose = torch.where(whose[:, 0] == whose[:, 1], whose[:, 0], SEVERAL)
        vectors = torch.cat([mean.flatten(0, 1).to(vectors.dtype), vectors[old.stop :]])
        turns = torch.cat([turns[old].view(-1, 2, per_utterance)[:, 0].flatten(), turns[old.stop :]])
        roles = torch.cat([whose.flatten().to(roles.dtype), roles[old.stop :]])
    return vectors, turns, roles
