"""Rows of replies, or of pairs of replies, to batches: text, clips and history of each conversation encoded once."""

from dataclasses import dataclass

import torch
from datasets import Dataset, IterableDataset
from transformers.utils import logging

from ..data.replies import text_of
from ..processing.media_empathav import Clip, encode_clips
from ..processing.messages_empathav import parse_part
from ..processing.processing_empathav import EmpathAVProcessor
from .clip_features import ClipFeatures, stack_features
from .feature_cache import FeatureCache
from .row_checks import RECENT_TURNS, check_columns, check_messages, name_of, naming, number


logger = logging.get_logger(__name__)

# More than a chat template writes around two messages.
ROOM_FOR_MARKERS = 200
REPLY = ("completion",)
PAIR = ("chosen", "rejected")


@dataclass
class ConversationCollator:
    r"""
    Makes a batch of TRL's conversational rows, `{"prompt", "completion"}` or `{"prompt", "chosen", "rejected"}`.

    The prompt is what `processor.apply_chat_template` gives in use: the newest messages verbatim with their clips, the
    older ones as history for the compressor. Where a row exceeds `max_length`, more of its oldest messages become
    history; the newest message and the placeholders are never cut, and neither is a reply.

    Args:
        processor ([`EmpathAVProcessor`]): Encodes.
        replies (`tuple[str]`): `REPLY` or `PAIR`: the columns that hold a reply.
        cache ([`FeatureCache`], *optional*): Gives frozen features of clips, which are decoded otherwise.
        max_length (`int`, *optional*): Positions of prompt and reply together, at most as many as the language model
            has.
        recent_turns (`int`, *optional*):
            Messages that stay verbatim; the processor's own number by default. A row with `recent_turns` of its own is
            written by that.
        numbers (`tuple[str]`): Further columns of numbers, which the batch has as tensors `(rows,)`.
        ignored_columns (`tuple[str]`): Columns that nothing reads. Any other column that nothing reads is an error.
        pad_to_multiple_of (`int`, *optional*): The length of a batch is padded to a multiple of it.

    Returns:
        `dict`: with `k` replies a row, `input_ids`, `attention_mask`, `position_ids` and `completion_mask` of shape
        `(k * rows, length)`, left-padded, all chosen ones before all rejected ones (with one reply `labels` in place
        of `completion_mask`); the clips and the history of each row once; `modalities` `(3,)`: windows with sound,
        windows with frames, and utterances of history; and `numbers`.

    Raises:
        `ValueError`: names the row and what is wrong with it.
    """

    processor: EmpathAVProcessor
    replies: tuple[str, ...] = REPLY
    cache: FeatureCache | None = None
    max_length: int | None = None
    recent_turns: int | None = None
    numbers: tuple[str, ...] = ()
    ignored_columns: tuple[str, ...] = ()
    pad_to_multiple_of: int | None = None

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        encoded = [self.encode(row) for row in rows]
        texts = [(row["prompt"], row["replies"][k]) for k in range(len(self.replies)) for row in encoded]
        multiple = self.pad_to_multiple_of or 1
        width = -(-max(len(prompt) + len(reply) for prompt, reply in texts) // multiple) * multiple
        padding = [width - len(prompt) - len(reply) for prompt, reply in texts]
        fill = self.processor.tokenizer.pad_token_id
        mask = torch.tensor([[0] * pad + [1] * (width - pad) for pad in padding])
        batch = {
            "input_ids": torch.tensor([[fill] * pad + prompt + reply for pad, (prompt, reply) in zip(padding, texts)]),
            "attention_mask": mask,
            "position_ids": (mask.cumsum(dim=1) - 1).clamp(min=0),
        }
        taught = torch.tensor([[0] * (width - len(reply)) + [1] * len(reply) for _, reply in texts])
        if self.replies == REPLY:
            batch["labels"] = batch["input_ids"].masked_fill(taught == 0, -100)
        else:
            batch["completion_mask"] = taught
        for name in self.numbers:
            batch[name] = torch.tensor([number(row, name) for row in rows])
        return batch | self._shared(encoded)

    def encode(self, row: dict) -> dict:
        """Token ids of the prompt and of each reply, windows of the prompt's clips, and token ids of its history."""
        with naming(row):
            check_columns(row, self.replies, self.numbers, self.ignored_columns)
            check_messages(row["prompt"])
            replies = [self._reply(row["prompt"], name, row[name]) for name in self.replies]
            room = self._longest - max(map(len, replies))
            if room < 1:
                raise ValueError(
                    f"The reply takes {self._longest - room} tokens and max_length is {self._longest}: raise it, or "
                    "leave the row out."
                )
            recent_turns = self._recent_turns(row)
            messages, windows = self._with_windows(row["prompt"], recent_turns)
            inputs = self.processor.apply_chat_template(
                messages,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors=None,
                recent_turns=recent_turns,
                max_length=room,
            )
            prompt = inputs["input_ids"][0]
            shown = prompt.count(self.processor.av_token_id) // self.processor.num_query_tokens
            return {
                "prompt": prompt,
                "replies": replies,
                "windows": windows[len(windows) - shown :],  # clips of messages that became history are not shown
                "history": inputs["history_input_ids"][0].tolist() if "history_input_ids" in inputs else [],
            }

    def usable(self, rows: list[dict] | Dataset | IterableDataset) -> list[dict] | Dataset | IterableDataset:
        """
        The rows whose newest message and replies fit into `max_length`; a warning counts the others. Call it once, on
        the whole dataset, before training. Of a stream the others are skipped and counted as it is read.

        Raises:
            `ValueError`: no row fits, or a row is none.
        """
        if isinstance(rows, IterableDataset):
            return rows.filter(StreamFilter(self))
        kept, left_out = [], []
        for index, row in enumerate(rows):
            if self.fits(row):
                kept.append(index)
            else:
                left_out.append(name_of(row))
        if left_out:
            told = (
                f"{len(left_out)} of {len(rows)} rows do not fit into {self._longest} positions even without their "
                f"older messages: {', '.join(left_out[:5])}{', ...' if len(left_out) > 5 else '.'}"
            )
            if not kept:
                raise ValueError(f"{told} None is left: raise max_length.")
            logger.warning(f"{told} They are left out. A higher max_length keeps them.")
        return rows.select(kept) if isinstance(rows, Dataset) else [rows[index] for index in kept]

    def fits(self, row: dict) -> bool:
        """Whether the newest message and the replies of a row fit into `max_length`. Checks its numbers besides."""
        for name in self.numbers:
            number(row, name)
        with naming(row):
            newest = [*row["prompt"][-1:], *(message for name in self.replies for message in row[name])]
            letters = sum(len(text_of(message).encode()) for message in newest)
            memory = self.processor.memory_tokens_per_utterance * len(row["prompt"])
            return letters + memory + ROOM_FOR_MARKERS < self._longest or self._least(row) <= self._longest

    @property
    def _longest(self) -> int:
        positions = self.processor.tokenizer.model_max_length
        return positions if self.max_length is None else min(self.max_length, positions)

    def _least(self, row: dict) -> int:
        """Fewest positions of a row: the newest message alone verbatim, one window for each of its clips."""
        reply = max(len(self._reply(row["prompt"], name, row[name])) for name in self.replies)
        messages, per_utterance = row["prompt"], self.processor.memory_tokens_per_utterance
        system = messages[:1] if messages[0]["role"] == "system" else []
        newest = self.processor.apply_chat_template(
            [*system, messages[-1]], recent_turns=1, add_generation_prompt=True
        )
        clips = newest.count(self.processor.av_token) * (self.processor.num_query_tokens - 1)
        words = len(self.processor.tokenizer(newest, add_special_tokens=False)["input_ids"])
        return words + clips + reply + per_utterance * (len(messages) - 1 - len(system))

    def _reply(self, prompt: list[dict], name: str, reply: list[dict]) -> list[int]:
        """Tokens of a reply as the chat template writes it, up to and with its end token."""
        if len(reply) != 1 or reply[0]["role"] != "assistant":
            raise ValueError(f"{name!r} is not a list of one message of role assistant.")
        if not isinstance(reply[0]["content"], str) and any(part["type"] != "text" for part in reply[0]["content"]):
            raise ValueError(f"{name!r} holds a clip: a reply is text.")
        write, tokenizer = self.processor.apply_chat_template, self.processor.tokenizer
        asked = write(prompt[-1:], recent_turns=1, add_generation_prompt=True)
        answered = write([*prompt[-1:], *reply], recent_turns=2)
        if not answered.startswith(asked):
            raise ValueError(
                "The chat template writes the prompt otherwise once a reply follows, so the model would be taught "
                f"another prompt than it is asked: {asked[-80:]!r}."
            )
        ids = tokenizer(answered[len(asked) :], add_special_tokens=False)["input_ids"]
        if tokenizer.eos_token_id in ids:  # what templates write after it is never generated
            ids = ids[: len(ids) - ids[::-1].index(tokenizer.eos_token_id)]
        return ids

    def _recent_turns(self, row: dict) -> int:
        """How many newest messages of a row stay verbatim: its own number, the collator's, or the processor's."""
        given = self.processor.recent_turns if self.recent_turns is None else self.recent_turns
        own = row.get(RECENT_TURNS)
        if own is not None and (not isinstance(own, int) or own < 1):
            raise ValueError(f"{RECENT_TURNS} is {own!r}: give a whole number of at least 1, or leave it out.")
        return given if own is None else own

    def _with_windows(self, messages: list[dict], recent: int) -> tuple[list[dict], list[Clip | ClipFeatures]]:
        """
        The messages with an empty window in place of each window of a clip, and the real windows. The processor writes
        as many placeholders for empty windows and decodes nothing.
        """
        older = max(len(messages) - recent, 0)
        found, marked = [], messages[:older]
        for message in messages[older:]:
            content = message["content"]
            if not isinstance(content, str):
                content = list(content)
                for index, part in enumerate(content):
                    if part.get("type") in ("audio", "video"):
                        windows = self._windows(part)
                        found += windows
                        blank = [Clip(audio=None, frames=None, start=0.0, end=0.0)] * len(windows)
                        content[index] = {"type": part["type"], part["type"]: blank}
            marked.append({**message, "content": content})
        return marked, found

    def _windows(self, part: dict) -> list[Clip] | list[ClipFeatures]:
        if self.cache is not None:
            return self.cache.load({"id": "The row", "messages": [{"role": "user", "content": [part]}]})
        clip = parse_part(part, "The message")
        return self.processor.load_clip(clip.source, clip.kind, clip.sound, clip.sampling_rate)

    def _shared(self, encoded: list[dict]) -> dict[str, torch.Tensor]:
        """Inputs of the clips and of the history of the rows, and how many there are (`modalities`)."""
        batch, per_utterance = {}, self.processor.memory_tokens_per_utterance
        windows = [window for row in encoded for window in row["windows"]]
        histories = [row["history"] for row in encoded]
        utterances = sum(history.count(self.processor.memory_token_id) for history in histories) // per_utterance
        heard = sum(window.audio is not None for window in windows)
        seen = sum((window.video if self.cache is not None else window.frames) is not None for window in windows)
        batch["modalities"] = torch.tensor([heard, seen, utterances])
        if windows and self.cache is not None:
            batch |= stack_features(windows)
        elif windows:
            media = encode_clips(windows, self.processor.feature_extractor, self.processor.image_processor)
            batch |= {name: torch.from_numpy(value) for name, value in media.items()}
        if utterances:
            width = max(map(len, histories))
            batch["history_input_ids"] = torch.tensor([ids + [0] * (width - len(ids)) for ids in histories])
            batch["history_attention_mask"] = torch.tensor(
                [[1] * len(ids) + [0] * (width - len(ids)) for ids in histories]
            )
        return batch


class StreamFilter:
    """
    Keeps the rows of a stream that fit. It counts the others, with a warning for the first one and whenever their
    number has doubled.

    Args:
        collator ([`ConversationCollator`]): Knows what fits.
    """

    def __init__(self, collator: ConversationCollator):
        self.collator, self.read, self.skipped = collator, 0, 0

    def __call__(self, row: dict) -> bool:
        self.read += 1
        if self.collator.fits(row):
            return True
        self.skipped += 1
        if self.skipped & (self.skipped - 1) == 0:  # a power of two
            logger.warning(
                f"{self.skipped} of {self.read} rows of the stream so far do not fit into max_length and are skipped, "
                f"the last one {name_of(row)}. A higher max_length keeps them."
            )
        return False
