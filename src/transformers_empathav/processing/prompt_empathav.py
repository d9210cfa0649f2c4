"""
Prompts: turns rendered to the text that the language model reads, with placeholders, within its context length, and
converted to the inputs of the model.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from jinja2 import TemplateError
from transformers import BatchFeature, ProcessorMixin
from transformers.utils import logging

from .history_empathav import encode_turns
from .media_empathav import Clip, encode_clips
from .messages_empathav import MediaPart, Turn


logger = logging.get_logger(__name__)


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

    def __init__(self, processor: ProcessorMixin, chat_template: str | None = None, **variables):
        self.processor, self.tokenizer = processor, processor.tokenizer
        template = self.tokenizer.get_chat_template(chat_template or processor.chat_template)
        self.rendering = {"chat_template": template}
        self.rules = processor.template_rules(template)
        for name, value in variables.items():
            if name in ("add_generation_prompt", "continue_final_message") or re.search(rf"\b{name}\b", template):
                self.rendering[name] = value
            elif value is not None and value is not False:
                raise ValueError(
                    f"{name} is no argument of apply_chat_template, and the chat template does not read it: "
                    "leave it out."
                )

    def prompt(
        self,
        turns: list[Turn],
        recent: int,
        memory_size: Callable[[int], int],
        max_length: int,
        load: Callable[[MediaPart], list[Clip]] | None = None,
        masked: bool = False,
    ) -> Prompt:
        r"""
        The prompt of a conversation, which fits, and what becomes history.

        Args:
            turns (`list[Turn]`): The conversation, with its system message if it has one.
            recent (`int`): Number of newest turns that stay verbatim if they fit.
            memory_size (`Callable`): Number of memory vectors for a number of turns that become history.
            max_length (`int`): Longest prompt in tokens.
            load (`Callable`, *optional*): Gives the windows of a clip. Without it clips are not read, and nothing is
                counted.
            masked (`bool`, *optional*, defaults to `False`): Whether to mark what the assistant writes.

        Raises:
            `ValueError`: If not even the newest message fits, or the template fails.
        """
        system, turns = (turns[:1], turns[1:]) if turns[0].role == "system" else ([], turns)
        beginnings = self.rules.beginnings([turn.role for turn in turns], recent)
        loaded = {id(part): load(part) for turn in turns[beginnings[0] :] for part in turn.clips} if load else {}
        for split in beginnings:
            vectors = memory_size(split)
            messages = self._messages(system, turns[split:], vectors > 0)
            clips = [loaded[id(part)] for turn in turns[split:] for part in turn.clips] if load else []
            prompt = Prompt(self.render(messages), clips, turns[:split])
            length = self._length(prompt, vectors) if load else 0
            if length <= max_length:
                break
        else:
            raise ValueError(
                f"The newest message with its system prompt takes {length} positions, {vectors} of them memory, and "
                f"{max_length} are free: shorten it, give part of it as an earlier message, or, where the memory "
                "takes most of them, begin a new one."
            )
        if split > beginnings[0]:
            logger.warning(
                f"{split - beginnings[0]} more of the recent messages became history: with them verbatim the prompt "
                f"would exceed {max_length} positions. The newest message is whole."
            )
        if masked:
            prompt.mask = self._mask(messages, vectors, clips)
        return prompt

    def render(self, messages: list[dict], **options):
        """
        Renders messages `{"role", "content"}` of strings as the template takes them.

        Raises:
            `ValueError`: If it does not take them; with its own reason.
        """
        try:
            options = {"tokenize": False, **self.rendering, **options}
            return self.tokenizer.apply_chat_template(self.rules.arrange(messages), **options)
        except (TemplateError, TypeError) as error:
            reason = str(error).rstrip(".")
            raise ValueError(
                f"The chat template cannot write these messages: {reason}. Give messages that it takes, or another "
                "chat_template."
            ) from error

    def _length(self, prompt: Prompt, vectors: int) -> int:
        """Number of tokens of a prompt whose placeholders are repeated."""
        written = len(self.tokenizer(prompt.text, add_special_tokens=False, verbose=False)["input_ids"])
        windows = sum(map(len, prompt.clips))
        return written + windows * self.processor.num_query_tokens - len(prompt.clips) + vectors - (vectors > 0)

    def _messages(self, system: list[Turn], turns: list[Turn], has_memory: bool) -> list[dict]:
        """A system message and the newest turns; `has_memory` adds a placeholder for the memory."""
        messages = [self._message(turn) for turn in [*system, *turns]]
        if not system and self.processor.system_prompt is not None:
            messages.insert(0, {"role": "system", "content": self.processor.escape(self.processor.system_prompt)})
        if has_memory:
            # Right after the system prompt, which is constant, so that the KV cache of the prefix stays valid.
            first, place = messages[0], self.processor.memory_token
            pieces = [first["content"], place] if first["role"] == "system" else [place, first["content"]]
            first["content"] = "".join(pieces)
        return messages

    def _mask(self, messages: list[dict], vectors: int, clips: list[list[Clip]]) -> list[int]:
        """1 for each token that the template has the assistant write, else 0, with the placeholders repeated."""
        if not re.search(r"\{%-?\s*generation\b", self.rendering["chat_template"]):
            raise ValueError(
                "return_assistant_tokens_mask needs a chat template that puts what the assistant writes between "
                "{% generation %} and {% endgeneration %}: give such a chat_template."
            )
        written = self.render(messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
        mask, windows = [], iter(map(len, clips))
        for token, marked in zip(written["input_ids"], written["assistant_masks"]):
            if token == self.processor.av_token_id:
                size = self.processor.num_query_tokens * next(windows, 0)
            else:
                size = vectors if token == self.processor.memory_token_id else 1
            mask += [marked] * size
        return mask

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
