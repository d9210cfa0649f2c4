"""Prompts to the tensors of the model: placeholders are repeated, clips and histories encoded."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from transformers import BatchFeature, ProcessorMixin

from .history_empathav import encode_turns
from .media_empathav import Clip, encode_clips
from .messages_empathav import Turn


@dataclass
class Prompt:
    """
    What the language model reads of one conversation.

    Args:
        text (`str`): The text, with one placeholder for each clip and one for the memory.
        clips (`list[list[Clip]]`): Windows of each clip.
        history (`list[Turn]`): Older turns, for the compressor.
        mask (`list[int]`, *optional*): A number for each token of the text, whose placeholders are repeated.
    """

    text: str
    clips: list[list[Clip]]
    history: list[Turn]
    mask: list[int] | None = None


def encode_prompts(
    processor: ProcessorMixin, prompts: list[Prompt], memory, return_tensors: str | None, **text_options
) -> BatchFeature:
    r"""
    Converts prompts to the inputs of the model.

    Args:
        processor ([`EmpathAVProcessor`]): Its parts encode.
        prompts (`list[Prompt]`): One for each row.
        memory ([`ConversationMemory`], *optional*): One conversation per row.
        return_tensors (`str`, *optional*): `"pt"`, `"np"`, or `None` for lists.
        text_options: Options of the tokenizer.

    Returns:
        `BatchFeature`: as `EmpathAVProcessor.__call__` says; `assistant_masks` too where the prompts have a mask.

    Raises:
        `ValueError`: If placeholders and vectors differ in number.
    """
    sizes = memory_sizes(memory, len(prompts), processor.memory_tokens_per_utterance)
    vectors = [memory_size(len(prompt.history)) for memory_size, prompt in zip(sizes, prompts)]
    clips = [clip for prompt in prompts for clip in prompt.clips]
    rows = fill_memory_places([prompt.text for prompt in prompts], processor.memory_token, vectors)
    rows = fill_clip_places(rows, processor.av_token, [processor.num_query_tokens * len(clip) for clip in clips])
    encoded = processor.tokenizer(rows, padding_side="left", **text_options)
    data = {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}
    if any(prompt.mask is not None for prompt in prompts):  # what stands before a prompt is padding
        masks = [[0] * (len(ids) - len(prompt.mask)) + prompt.mask for ids, prompt in zip(data["input_ids"], prompts)]
        data["assistant_masks"] = masks
    if clips:
        windows = [window for clip in clips for window in clip]
        data |= encode_clips(windows, processor.feature_extractor, processor.image_processor)
    if any(prompt.history for prompt in prompts):
        histories = [prompt.history for prompt in prompts]
        data |= encode_turns(histories, processor.tokenizer, processor.escape, processor.readouts)
    return BatchFeature(data, tensor_type=return_tensors)


def memory_sizes(memory, rows: int, per_utterance: int) -> list[Callable[[int], int]]:
    """For each row, a function from the number of utterances to add to the number of memory vectors then."""
    if memory is None:
        return [lambda utterances: utterances * per_utterance] * rows
    if len(memory) != rows:
        raise ValueError(f"{rows} rows and a memory of {len(memory)} conversations were given: each row needs one.")
    return [partial(memory.length_after, row) for row in range(rows)]


def fill_memory_places(texts: list[str], token: str, sizes: list[int]) -> list[str]:
    """Repeats the `token` of each text once per memory vector. A missing one is put at the front."""
    filled = []
    for text, size in zip(texts, sizes):
        if size and token not in text:
            text = token + text
        if (places := text.count(token)) != min(size, 1):
            raise ValueError(
                f"A text has {places} places for a memory ({token}) of {size} vectors: write one where there is a "
                "history or a memory, and none where there is not."
            )
        filled.append(text.replace(token, token * size))
    return filled


def fill_clip_places(texts: list[str], token: str, sizes: list[int]) -> list[str]:
    """Repeats each `token` once per vector of its clip; `sizes` are in reading order over all texts."""
    check_clip_places(texts, token, len(sizes))
    rest = iter(sizes)
    return [re.sub(re.escape(token), lambda _: token * next(rest), text) for text in texts]


def check_clip_places(texts: list[str], token: str, clips: int):
    """Raises a `ValueError` unless there are as many `token`s in all texts as clips."""
    if (places := sum(text.count(token) for text in texts)) != clips:
        raise ValueError(
            f"The text has {places} places for clips ({token}) and {clips} clips were given: write one "
            "processor.av_token for each clip, or use processor.apply_chat_template."
        )
