"""Renders turns to the text that the language model reads, with placeholders, within its context length."""

import re
from collections.abc import Callable
from functools import partial

from jinja2 import TemplateError
from transformers import ProcessorMixin
from transformers.utils import logging

from .messages_empathav import MediaPart, Turn


logger = logging.get_logger(__name__)


class PromptWriter:
    r"""
    Renders the prompts of one call of `apply_chat_template`.

    Args:
        processor ([`EmpathAVProcessor`]): Tokenizer, placeholders and sizes.
        chat_template (`str`, *optional*): A Jinja template, or the name of one of the tokenizer's.
        variables: Further variables of the template.

    Raises:
        `ValueError`: If a variable is set that the template does not read.
    """

    def __init__(self, processor: ProcessorMixin, chat_template: str | None, **variables):
        self.processor, self.tokenizer = processor, processor.tokenizer
        template = self.tokenizer.get_chat_template(chat_template)
        self.rendering = {"chat_template": template}
        for name, value in variables.items():
            if name in ("add_generation_prompt", "continue_final_message") or re.search(rf"\b{name}\b", template):
                self.rendering[name] = value
            elif value is not None and value is not False:
                raise ValueError(
                    f"{name} is no argument of apply_chat_template, and the chat template does not read it: "
                    "leave it out."
                )

    def write(self, system: list[Turn], turns: list[Turn], has_memory: bool) -> str:
        """Renders a system message and the newest turns; `has_memory` adds a placeholder for the memory."""
        messages = [self._message(turn) for turn in [*system, *turns]]
        if not system and self.processor.system_prompt is not None:
            messages.insert(0, {"role": "system", "content": self.processor.escape(self.processor.system_prompt)})
        if has_memory:
            # Right after the system prompt, which is constant, so that the KV cache of the prefix stays valid.
            first, place = messages[0], self.processor.memory_token
            pieces = [first["content"], place] if first["role"] == "system" else [place, first["content"]]
            first["content"] = "".join(pieces)
        try:
            return self.tokenizer.apply_chat_template(messages, tokenize=False, **self.rendering)
        except TemplateError as error:
            raise ValueError(
                f"The chat template refuses these messages ({error}): where it wants roles to alternate, choose "
                "recent_turns so that the verbatim part begins with a user's message."
            ) from error

    def fit(
        self,
        system: list[Turn],
        turns: list[Turn],
        recent: int,
        memory_size: Callable[[int], int],
        windows: dict,
        max_length: int,
    ) -> int:
        r"""
        Decides how many of the oldest turns become history, so that the prompt fits.

        Args:
            system (`list[Turn]`): The system message, or nothing.
            turns (`list[Turn]`): The other messages.
            recent (`int`): Number of newest turns that stay verbatim if they fit.
            memory_size (`Callable`): Number of memory vectors for a number of turns that become history.
            windows (`dict[int, int]`): Number of windows of each clip, by its `id`.
            max_length (`int`): Longest prompt in tokens.

        Returns:
            `int`: the number of turns that become history.

        Raises:
            `ValueError`: If not even the newest message fits.
        """
        wanted = max(len(turns) - recent, 0)
        for split in range(wanted, max(len(turns), 1)):
            vectors = memory_size(split)
            text = self.write(system, turns[split:], vectors > 0)
            length = len(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
            clips = [windows[id(part)] for turn in turns[split:] for part in turn.clips]
            length += sum(clips) * self.processor.num_query_tokens - len(clips) + vectors - (vectors > 0)
            if length <= max_length:
                if split > wanted:
                    logger.warning(
                        f"{split - wanted} more of the recent messages became history: with them verbatim the prompt "
                        f"would exceed {max_length} positions. The newest message is whole."
                    )
                return split
        raise ValueError(
            f"The newest message with its system prompt takes {length} positions, {vectors} of them memory, and "
            f"{max_length} are free: shorten it, give part of it as an earlier "
            "message, or, where the memory takes most of them, begin a new one."
        )

    def _message(self, turn: Turn) -> dict:
        """A message as chat templates read it, with emotion and speaker for templates that write them."""
        escape, place = self.processor.escape, self.processor.av_token
        content = "".join(place if isinstance(part, MediaPart) else escape(part) for part in turn.parts)
        message = {"role": turn.role, "content": content}
        if turn.emotion is not None:
            message["emotion"] = turn.emotion
        if turn.speaker is not None:
            message["speaker"] = escape(turn.speaker)
        return message


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
