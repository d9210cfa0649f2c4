"""A language model as judge: semantics and empathy of pairs of replies, rated in both orders."""

import json
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from ...data.replies import text_of
from ...measures.bootstrap import Scores, paired_difference, summary
from ..content_cache import ContentCache, content_key
from ..results.figures import rounded


SCALES = ("semantics", "empathy")
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


def cached_answers(
    ask: Callable[[str], str], prompts: Sequence[str], cache: ContentCache, model: str, concurrency: int = 4
) -> list[str]:
    r"""
    A judge's answers to prompts, several asked at once, each in the cache as soon as it and those before are there.

    Args:
        ask (`Callable`): A prompt to its answer, from several threads.
        cache ([`ContentCache`]): By model and prompt.
        model (`str`): The judge's name.
    """
    keys = [content_key("judge", model, prompt) for prompt in prompts]
    missing = {key: prompt for key, prompt in zip(keys, prompts) if key not in cache}
    with ThreadPoolExecutor(concurrency) as pool, tqdm(total=len(missing), desc="judge") as progress:
        for key, answer in zip(missing, pool.map(ask, missing.values())):
            cache.add({key: answer})
            progress.update()
    return [cache[key] for key in keys]


def parse_ratings(answer: str) -> list[list[int]] | None:
    """`[[semantics, empathy] of A, of B]` of a judge's answer; `None` where it holds no whole numbers from 1 to 5."""
    match = re.search(r"\{.*\}", answer, flags=re.DOTALL)
    try:
        rated = json.loads(match[0]) if match else {}
        values = [[rated[side][scale] for scale in SCALES] for side in "AB"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return None
    fine = all(isinstance(value, int) and 1 <= value <= 5 for row in values for value in row)
    return values if fine else None


def judge_prompt(row: dict, first: str, second: str) -> str:
    """What the judge is asked about two replies to a context."""
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
        rows (`list[dict]`): Of [`reply_rows`].
        first, second (`list[dict]`): Replies of both systems.
        groups (`list[str]`): The conversation of each row, over which intervals are taken.
        answers (`Callable`): Prompts to answers.

    Returns:
        `dict`: `contexts` that count; `unreadable`, contexts left out because an answer held no ratings; and for each
        of `SCALES` the means of `first` and `second` over both orders, their `difference`, `same_preference`, the
        share of contexts where both orders prefer the same reply or neither, and `alpha`, Krippendorff's, of both
        orders as if they were two raters (ordinal; `None` where it is not defined).
    """
    import krippendorff

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
        both_orders = one.reshape(2, -1)
        varied = len(np.unique(both_orders)) > 1
        result["scales"][scale] = {
            "first": rounded(summary(sides[0], groups)),
            "second": rounded(summary(sides[1], groups)),
            "difference": rounded(paired_difference(*sides, groups)),
            "same_preference": round(float(np.mean(preferred[0] == preferred[1])), 6),
            "alpha": round(float(krippendorff.alpha(both_orders, level_of_measurement="ordinal")), 6)
            if varied
            else None,
        }
    return result
