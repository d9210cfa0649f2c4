"""Specificity: how much better a reply goes with its own context than with another one."""

import copy
import os
import random
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoTokenizer

from ..data.replies import text_of
from .bootstrap import Scores, perplexity


class ReplyLikelihood:
    r"""
    How likely replies are under a language model, given contexts. Take a model that none of the compared systems was
    made of by tuning: a system is likely under itself.

    Each context is read once, whatever number of replies is held against it.

    Args:
        model (`str` or `os.PathLike`): Directory or Hub id of a model for `AutoModelForCausalLM` whose tokenizer has a
            chat template.
        batch_size (`int`, *optional*, defaults to 32): Replies at once.
        device (`str`, *optional*): CUDA where there is one by default.
    """

    def __init__(self, model: str | os.PathLike, batch_size: int = 32, device: str | None = None):
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
        self.model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.batch_size = batch_size

    def tokens(self, reply: str) -> list[int]:
        """What is scored of a reply: its words, without an end token."""
        return self.tokenizer(reply, add_special_tokens=False)["input_ids"]

    def __call__(
        self, prompts: Sequence[list[dict]], replies: Sequence[str], pairs: Sequence[tuple[int, int]]
    ) -> np.ndarray:
        """
        Summed cross-entropy in nats and number of tokens `(pairs, 2)` of pairs, each the index of a prompt (messages)
        and that of a reply.
        """
        encoded, found = [self.tokens(reply) for reply in replies], np.zeros((len(pairs), 2))
        of_prompt = defaultdict(list)
        for place, (prompt, reply) in enumerate(pairs):
            found[place, 1] = len(encoded[reply])
            if encoded[reply]:
                of_prompt[prompt].append(place)
        for prompt, places in of_prompt.items():
            places.sort(key=lambda place: found[place, 1])
            found[places, 0] = self.losses(prompts[prompt], [encoded[pairs[place][1]] for place in places])
        return found

    @torch.no_grad()
    def losses(self, prompt: list[dict], replies: list[list[int]]) -> list[float]:
        """Summed cross-entropy of each reply's tokens after one prompt."""
        messages = [{"role": message["role"], "content": text_of(message)} for message in prompt]
        ids = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        device, losses = self.model.device, []
        read = self.model(torch.tensor([ids[:-1]], device=device), use_cache=True, logits_to_keep=1).past_key_values
        for start in range(0, len(replies), self.batch_size):
            some = replies[start : start + self.batch_size]
            # Padding stands behind all that counts, so it changes nothing, whatever side the tokenizer pads.
            rows, wanted = (
                pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value).to(device)
                for rows, value in (([[ids[-1], *reply[:-1]] for reply in some], 0), (some, -100))
            )
            cache = copy.deepcopy(read)
            cache.batch_repeat_interleave(len(some))
            mask = torch.cat([wanted.new_ones(len(some), len(ids) - 1), (wanted >= 0).long()], dim=1)
            logits = self.model(rows, attention_mask=mask, past_key_values=cache, use_cache=True).logits.float()
            each = torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none")
            losses += each.view(wanted.shape).double().sum(dim=1).tolist()
        return losses


def other_prompts(groups: Sequence[str], count: int, seed: int = 0) -> list[list[int]]:
    """
    For each row the indices of `count` rows of other groups, or of all of them where there are fewer. They depend on
    the groups and the seed alone, so that systems are held against the same ones.

    Raises:
        `ValueError`: there is one group alone.
    """
    if len(set(groups)) < 2:
        raise ValueError("Specificity needs contexts of two conversations or more: there is no other context.")
    rng, found = random.Random(seed), []
    for group in groups:
        others = [row for row, other in enumerate(groups) if other != group]
        found.append(rng.sample(others, min(count, len(others))))
    return found


def specificity(
    prompts: Sequence[list[dict]],
    replies: Sequence[str],
    groups: Sequence[str],
    likelihood: Callable,
    choices: int = 20,
    seed: int = 0,
) -> dict[str, Scores]:
    r"""
    How a reply's likelihood depends on the context that it is given.

    Args:
        prompts (`list[list[dict]]`): The messages that each reply answers.
        replies (`list[str]`): What a system said.
        groups (`list[str]`): The conversation of each prompt; other contexts are of other conversations.
        likelihood (`Callable`): Such as [`ReplyLikelihood`].
        choices (`int`, *optional*, defaults to 20): Contexts that a reply is held against, with its own.
        seed (`int`, *optional*, defaults to 0): Of the other contexts.

    Returns:
        `dict[str, Scores]`: `specificity`, by how many nats a token the reply is likelier given its own context than,
        on average, given another; `context_retrieval`, the share of replies that are likeliest given their own
        context, where chance is one in `choices`; `reply_perplexity`, given its own. Empty replies do not count.
    """
    others = other_prompts(groups, choices - 1, seed)
    pairs = [(prompt, row) for row, drawn in enumerate(others) for prompt in (row, *drawn)]
    found, start, rows = np.asarray(likelihood(prompts, replies, pairs)), 0, []
    for drawn in others:
        nats, tokens = found[start : start + 1 + len(drawn)].T
        rows.append((nats[0], nats[1:].mean(), nats[1:].min(), tokens[0]))
        start += 1 + len(drawn)
    own, other, nearest, tokens = np.array(rows, dtype=float).reshape(-1, 4).T
    return {
        "specificity": Scores(np.stack([other - own, tokens], axis=1)),
        "context_retrieval": Scores.of_values(own < nearest, tokens > 0),
        "reply_perplexity": Scores(np.stack([own, tokens], axis=1), perplexity),
    }
