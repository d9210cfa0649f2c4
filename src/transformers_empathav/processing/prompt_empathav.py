"""Renders turns to the text that the language model reads, with placeholders, within its context length."""

import re
from collections.abc import Callable

from jinja2 import TemplateError
from transformers import ProcessorMixin
from transformers.utils import logging

from .media_empathav import Clip
from .messages_empathav import MediaPart, Turn
from .model_inputs_empathav import Prompt


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
