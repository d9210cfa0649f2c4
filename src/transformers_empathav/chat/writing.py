"""Writes a reply piece by piece, while it can still be stopped."""

import re
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteriaList,
    StopStringCriteria,
    TextStreamer,
)
from transformers.generation import GenerationMode
from transformers.utils import logging

from ..modeling.prompt_cache_empathav import PromptCache


logger = logging.get_logger(__name__)
NEW_TOKENS = 96
FIRST_SENTENCE = re.compile(r"[.!?]\s")
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


class Pieces(TextStreamer):
    """Collects text as it becomes final."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        super().__init__(tokenizer, skip_special_tokens=True)
        self.ready: list[str] = []

    def on_finalized_text(self, text: str, stream_end: bool = False):
        self.ready.append(text)

    def take(self) -> list[str]:
        """What has become final since the last call."""
        ready, self.ready = self.ready, []
        return ready


def write(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: dict,
    cache: PromptCache | None = None,
    max_new_tokens: int = NEW_TOKENS,
    seed: int | None = None,
    run: Callable[..., Iterator[str]] | None = None,
    watch: Callable | None = None,
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
        watch (`Callable`, *optional*): Calls the pass that reads the prompt, with its arguments, before the first
            piece; see [`Watch`]. Not called where tokens are not written one by one.
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
    if stops := options.pop("stop_strings", None):  # `generate` would want the tokenizer, and lose it on its way
        criteria = options.get("stopping_criteria") or ()
        options["stopping_criteria"] = [*criteria, StopStringCriteria(tokenizer, stops)]
    run = run or (as_it_comes if token_by_token(model, options) else at_once)
    for attempt in TRIES:
        if attempt.get("do_sample") and not options["do_sample"]:
            logger.warning("The model wrote nothing twice: this reply is sampled, and may differ the next time.")
        pieces, ids = [], []
        for piece in trimmed(run(model, tokenizer, ids, seed, {**inputs, **options, **attempt}, watch)):
            pieces.append(piece)
            yield piece
        watch = None  # what is read again for another try is in the cache
        if pieces:
            cached = 0 if options["prompt_cache"] is None else cache.reused
            return Written("".join(pieces), len(ids), cached, "length" if len(ids) >= max_new_tokens else "stop")
    raise ValueError("The model wrote nothing but white space: raise max_new_tokens, or sample with do_sample=True.")


def token_by_token(model, options: dict) -> bool:
    """Whether `generate` would choose each token greedily or at random: not with beams or a draft of several."""
    if options.get("streamer") is not None:
        return False
    config = copy(model.generation_config)
    config.update(**options)
    return config.get_generation_mode(options.get("assistant_model")) in (
        GenerationMode.GREEDY_SEARCH,
        GenerationMode.SAMPLE,
    )


def as_it_comes(
    model, tokenizer, ids: list[int], seed: int | None, arguments: dict, watch: Callable | None = None
) -> Iterator[str]:
    """
    Pieces of text while `generate` goes on, in the thread that reads them; the ids of the reply go to `ids`. In a
    thread of its own it would take twice as long on a CPU with two cores: each thread that multiplies brings further
    ones, and OpenMP lets all of them sleep as soon as there are more than cores.
    """
    streamer, length = Pieces(tokenizer), arguments["input_ids"].shape[1]
    generator = None if seed is None else torch.Generator(model.device).manual_seed(seed)
    decode = partial(decoding, generator=generator, watch=watch or straight)
    for sequence in model.generate(**arguments, custom_generate=decode):
        ids[:] = sequence[0, length:].tolist()
        streamer.put(sequence[:, -1].cpu())
        yield from streamer.take()
    streamer.end()
    yield from streamer.take()


def straight(call: Callable, *args, **kwargs) -> Any:
    """Nobody looks on."""
    return call(*args, **kwargs)


@torch.no_grad()
def decoding(
    model,
    input_ids: torch.LongTensor,
    logits_processor: LogitsProcessorList,
    stopping_criteria: StoppingCriteriaList,
    generation_config: GenerationConfig,
    generator: torch.Generator | None = None,
    watch: Callable = straight,
    **inputs,
) -> Iterator[torch.LongTensor]:
    """A `custom_generate` for one row: transformers' own loop, but what it has so far is yielded at each token."""
    outputs = watch(model._prefill, input_ids, generation_config, inputs)
    while True:
        inputs = model._update_model_kwargs_for_generation(outputs, inputs)
        scores = logits_processor(input_ids, outputs.logits[:, -1].float())
        if generation_config.do_sample:
            token = torch.multinomial(scores.softmax(dim=-1), 1, generator=generator)
        else:
            token = scores.argmax(dim=-1, keepdim=True)
        input_ids = torch.cat([input_ids, token], dim=1)
        yield input_ids
        if stopping_criteria(input_ids, None).all():
            return
        new = 1 if inputs["use_cache"] else None
        outputs = model(**model.prepare_inputs_for_generation(input_ids, next_sequence_length=new, **inputs))


def at_once(
    model, tokenizer, ids: list[int], seed: int | None, arguments: dict, watch: Callable | None = None
) -> Iterator[str]:
    """The text in one piece, where nothing is final before the end. The caller's random numbers stay as they are."""
    with torch.random.fork_rng(enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        sequence = model.generate(**arguments)[0]
    ids.extend(sequence[arguments["input_ids"].shape[1] :].tolist())
    yield tokenizer.decode(ids, skip_special_tokens=True)


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


def after(begun: str, writing: Iterator[str]) -> Iterator[str]:
    """A reply whose first piece was taken already."""
    yield begun
    return (yield from writing)


def unless(unfit: Callable[[str], bool], writing: Iterator[str], instead: Iterator[str]) -> Iterator[str]:
    """A reply whose first sentence is held back until it is whole; another reply stands in for one that is `unfit`."""
    begun, whole = "", None
    while whole is None and not FIRST_SENTENCE.search(begun):
        try:
            begun += next(writing)
        except StopIteration as end:
            whole = end.value
    if unfit(begun):
        writing.close()
        return (yield from instead)
    yield begun
    return whole or (yield from writing)
