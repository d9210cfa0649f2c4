"""Writes a reply piece by piece, while it can still be stopped."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, StoppingCriteria, TextIteratorStreamer
from transformers.utils import logging

from ..modeling.prompt_cache_empathav import PromptCache


logger = logging.get_logger(__name__)
NEW_TOKENS = 96
# Where the model writes white space alone it must go on, and in a third try it samples.
TRIES = ({}, {"min_new_tokens": 8}, {"min_new_tokens": 8, "do_sample": True})


@dataclass
class Written:
    """
    The whole reply, its length in tokens, those of its prompt that were in the cache, and whether it ended by itself
    (`"stop"`) or by its `"length"`.
    """

    text: str
    tokens: int
    cached: int
    ended: str


class Stop(StoppingCriteria):
    """Ends all rows once `asked` is set."""

    def __init__(self):
        self.asked = threading.Event()

    def __call__(self, input_ids: torch.LongTensor, scores: torch.Tensor, **kwargs) -> torch.BoolTensor:
        return torch.full((len(input_ids),), self.asked.is_set(), device=input_ids.device)


def write(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: dict,
    cache: PromptCache | None = None,
    max_new_tokens: int = NEW_TOKENS,
    seed: int | None = None,
    run: Callable[..., Iterator[str]] | None = None,
    **options,
) -> Iterator[str]:
    r"""
    Writes one reply. Its pieces, joined, are the reply without white space around it. To stop it, close the iterator.

    Args:
        model ([`EmpathAVForCausalLM`]): Writes.
        tokenizer (`PreTrainedTokenizerBase`): Its tokenizer.
        inputs (`dict`): Arguments of `generate` for one row.
        cache ([`PromptCache`], *optional*): Of the conversation; not used with beams.
        max_new_tokens (`int`, *optional*, defaults to 96): Longest reply, in tokens.
        seed (`int`, *optional*): Makes a sampled reply the same each time.
        run (`Callable`, *optional*): Calls the model in place of [`as_it_comes`], with its arguments.
        options: Further arguments of `generate`. By default nothing is sampled.

    Yields:
        `str`: text, as soon as it is there.

    Returns:
        [`Written`]: the whole.

    Raises:
        `ValueError`: If the model writes nothing but white space, or several replies are asked for.
    """
    if options.get("num_return_sequences", 1) != 1:
        raise ValueError("A reply is one: leave num_return_sequences out, or use model.generate for several.")
    options = {"max_new_tokens": max_new_tokens, "do_sample": False, "repetition_penalty": 1.1, **options}
    beams = options.get("num_beams") or model.generation_config.num_beams or 1
    options["prompt_cache"] = None if beams > 1 else cache
    if "stop_strings" in options:
        options["tokenizer"] = tokenizer
    run = run or (at_once if beams > 1 else as_it_comes)
    for attempt in TRIES:
        if attempt.get("do_sample") and not options["do_sample"]:
            logger.warning("The model wrote nothing twice: this reply is sampled, and may differ the next time.")
        pieces, ids = [], []
        for piece in trimmed(run(model, tokenizer, ids, seed, {**inputs, **options, **attempt})):
            pieces.append(piece)
            yield piece
        if pieces:
            cached = 0 if options["prompt_cache"] is None else cache.reused
            return Written("".join(pieces), len(ids), cached, "length" if len(ids) >= max_new_tokens else "stop")
    raise ValueError("The model wrote nothing but white space: raise max_new_tokens, or sample with do_sample=True.")


def as_it_comes(model, tokenizer, ids: list[int], seed: int | None, arguments: dict) -> Iterator[str]:
    """Pieces of text while `generate` runs in a thread of its own; the ids of the reply go to `ids`."""
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    stop, failed = Stop(), []
    arguments["stopping_criteria"] = [*arguments.get("stopping_criteria", ()), stop]

    def run():
        try:
            ids.extend(generated(model, seed, {**arguments, "streamer": streamer}))
        except BaseException as error:  # raised again in the caller's thread
            failed.append(error)
        finally:
            streamer.end()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield from streamer
    finally:
        stop.asked.set()
        thread.join()
    if failed:
        raise failed[0]


def at_once(model, tokenizer, ids: list[int], seed: int | None, arguments: dict) -> Iterator[str]:
    """The text in one piece, as beams have none before the end."""
    ids.extend(generated(model, seed, arguments))
    yield tokenizer.decode(ids, skip_special_tokens=True)


def generated(model, seed: int | None, arguments: dict) -> list[int]:
    """The ids of a reply. The caller's random numbers stay as they are where there is a seed."""
    with torch.random.fork_rng(enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        sequence = model.generate(**arguments)[0]
    return sequence[arguments["input_ids"].shape[1] :].tolist()


def trimmed(pieces: Iterator[str]) -> Iterator[str]:
    """The pieces without white space at the beginning and the end of the whole."""
    begun, space = False, ""
    for piece in pieces:
        text = space + piece if begun else piece.lstrip()
        kept = text.rstrip()
        space = text[len(kept) :]
        if kept:
            begun = True
            yield kept


def as_written(text: str, tokenizer: PreTrainedTokenizerBase) -> Iterator[str]:
    """A reply that is ready, in the form of [`write`]."""
    yield text
    return Written(text, len(tokenizer(text, add_special_tokens=False)["input_ids"]), 0, "stop")
