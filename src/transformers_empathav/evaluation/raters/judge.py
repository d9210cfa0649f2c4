"""A language model as judge: it rates semantics and empathy of pairs of replies, in both orders."""

import json
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from ...data.replies import text_of
from ...measures.bootstrap import Scores, paired_difference, summary
from ...writers.remote import RemoteWriter
from ...writers.sampling import Sampling
from ..content_cache import ContentCache, content_key
from ..replies.contexts import draw
from ..results.figures import rounded
from .agreement import SCALES, agreement


PROMPT = """Two listeners answer the same person. Read the conversation and rate each answer by itself, from 1 to 5.

semantics: does the answer fit what was said? 1 = beside the point or muddled, 5 = clear and to the point.
empathy: does it take up what the person feels? 1 = cold or hurtful, 5 = warm and understanding.

A longer answer is not better for being longer.

Conversation:
{conversation}

Answer A: {first}

Answer B: {second}

Write one line of JSON and nothing else, with your ratings in place of 0:
{{"A": {{"semantics": 0, "empathy": 0}}, "B": {{"semantics": 0, "empathy": 0}}}}"""


@dataclass
class JudgeArguments:
    """Options of [`judge_systems`]."""

    judge_url: str | None = field(default=None, metadata={"help": "OpenAI-compatible endpoint, up to and with /v1."})
    judge_model: str = field(default="", metadata={"help": "As that endpoint calls it."})
    judge_key: str = field(default="JUDGE_API_KEY", metadata={"help": "Environment variable that holds its key."})
    judge_contexts: int = field(default=100, metadata={"help": "Contexts of each corpus that are judged."})

    def __post_init__(self):
        if self.judge_url is not None and not self.judge_model:
            raise ValueError("--judge_url needs --judge_model: the model's name at that endpoint.")


def cached_answers(
    ask: Callable[[str], str], prompts: Sequence[str], cache: ContentCache, model: str, concurrency: int = 4
) -> list[str]:
    r"""
    A judge's answers to prompts. Those that are not in the cache are asked for, several at once.

    Args:
        ask (`Callable`): A prompt to its answer; called from several threads.
        prompts (`Sequence[str]`): What is asked.
        cache ([`ContentCache`]): Where answers are kept, by model and prompt, in the order of the prompts.
        model (`str`): Name of the judge.
        concurrency (`int`, *optional*, defaults to 4): Prompts at once.
    """
    keys = [content_key("judge", model, prompt) for prompt in prompts]
    missing = {key: prompt for key, prompt in zip(keys, prompts) if key not in cache}
    with ThreadPoolExecutor(concurrency) as pool, tqdm(total=len(missing), desc="judge") as progress:
        for key, answer in zip(missing, pool.map(ask, missing.values())):
            cache.add({key: answer})
            progress.update()
    return [cache[key] for key in keys]


def parse_ratings(answer: str) -> list[list[int]] | None:
    """The ratings in a judge's answer, `[[semantics, empathy] of A, of B]`; `None` unless all are 1, 2, 3, 4 or 5."""
    match = re.search(r"\{.*\}", answer, flags=re.DOTALL)
    try:
        rated = json.loads(match[0]) if match else {}
        values = [[rated[side][scale] for scale in SCALES] for side in "AB"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return None
    fine = all(isinstance(value, int) and 1 <= value <= 5 for row in values for value in row)
    return values if fine else None


def judge_prompt(row: dict, first: str, second: str) -> str:
    """The prompt that asks for ratings of two replies to a context."""
    lines = [f"{message['role']}: {text_of(message)}" for message in row["prompt"] if message["role"] != "system"]
    return PROMPT.format(conversation="\n".join(lines), first=first or "(silence)", second=second or "(silence)")


def judge_pair(
    rows: list[dict],
    first: list[dict],
    second: list[dict],
    groups: Sequence[str],
    answers: Callable[[list[str]], list[str]],
) -> dict:
    r"""
    Rates the replies of two systems in both orders.

    Args:
        rows (`list[dict]`): Contexts, of [`reply_rows`].
        first, second (`list[dict]`): Replies of both systems, one a row.
        groups (`list[str]`): The conversation of each row, over which intervals are taken.
        answers (`Callable`): Prompts to the judge's answers.

    Returns:
        `dict`: `contexts` that count, and `unreadable` ones, where an answer held no ratings. For each of `SCALES` the
        means of `first` and `second` over both orders, their `difference`, `same_preference` (share of contexts where
        both orders prefer the same reply, or neither), and the `alpha` of [`agreement`] with the two orders as raters.
    """
    said, others = ([reply["text"] for reply in replies] for replies in (first, second))
    forward = [judge_prompt(row, one, other) for row, one, other in zip(rows, said, others)]
    swapped = [judge_prompt(row, other, one) for row, one, other in zip(rows, said, others)]
    found = [parse_ratings(answer) for answer in answers([*forward, *swapped])]
    pairs = list(zip(found[: len(rows)], found[len(rows) :]))
    kept = [index for index, pair in enumerate(pairs) if None not in pair]
    result = {"contexts": len(kept), "unreadable": len(rows) - len(kept), "scales": {}}
    if not kept:
        return result
    # (order, context, side, scale), the sides of the swapped order put back
    ratings = np.array([[pairs[index][0] for index in kept], [pairs[index][1][::-1] for index in kept]], dtype=float)
    groups = [groups[index] for index in kept]
    for number, scale in enumerate(SCALES):
        one = ratings[..., number]
        sides = [Scores.of_values(one[:, :, side].mean(axis=0)) for side in (0, 1)]
        preferred = np.sign(one[:, :, 0] - one[:, :, 1])
        result["scales"][scale] = {
            "first": rounded(summary(sides[0], groups)),
            "second": rounded(summary(sides[1], groups)),
            "difference": rounded(paired_difference(*sides, groups)),
            "same_preference": round(float(np.mean(preferred[0] == preferred[1])), 6),
            "alpha": agreement(one.reshape(2, -1)),
        }
    return result


def judge_systems(
    arguments: JudgeArguments, rows: list[dict], replies: dict[str, list[dict]], cache: ContentCache, seed: int
) -> dict:
    r"""
    Compares the last system with each other one by a judge.

    Args:
        arguments ([`JudgeArguments`]): Who judges, and how many contexts.
        rows (`list[dict]`): Contexts, of [`corpus_rows`].
        replies (`dict[str, list[dict]]`): Of each system, one a row.
        cache ([`ContentCache`]): Where answers are kept.
        seed (`int`): Of the contexts that are drawn, and of the judge.

    Returns:
        `dict`: `judge`, its name, and `pairs`: for each `"last - other"` what [`judge_pair`] gives.
    """
    sampling = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=128)
    key = os.environ.get(arguments.judge_key)
    writer = RemoteWriter(arguments.judge_url, arguments.judge_model, sampling, key)

    def ask(prompt: str) -> str:
        return writer.write([[{"role": "user", "content": prompt}]], [seed])[0].text

    def answers(prompts: list[str]) -> list[str]:
        return cached_answers(ask, prompts, cache, arguments.judge_model, writer.concurrency)

    chosen = draw(range(len(rows)), arguments.judge_contexts, seed)
    rows, groups = [rows[index] for index in chosen], [rows[index]["conversation"] for index in chosen]
    said = {name: [written[index] for index in chosen] for name, written in replies.items()}
    *others, last = said
    pairs = {f"{last} - {name}": judge_pair(rows, said[last], said[name], groups, answers) for name in others}
    return {"judge": arguments.judge_model, "pairs": pairs}
