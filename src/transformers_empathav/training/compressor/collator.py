"""Batches for training the compressor, out of windows of messages."""

import random
from dataclasses import dataclass

import torch

from ...checkpoint.prompts import memory_frame, question_frames
from ...processing.processing_empathav import EmpathAVProcessor


@dataclass
class ReconstructionCollator:
    r"""
    Makes a batch of windows of messages, for [`Reconstruction`] and for [`Spelling`]. The compressor reads the window;
    the language model sees the vectors in a system turn and is taught the words of each message after its role.

    Args:
        processor ([`EmpathAVProcessor`]): Encodes both.
        max_tokens (`int`, *optional*, defaults to 64): Longest message, in tokens; a longer one is cut for both sides.
        verbatim (`int`, *optional*):
            For comparison: this many of the newest messages stand as text in place of the memory; with 0 there is
            neither.
        emotions (`float`, *optional*, defaults to 0.0):
            Share of the messages with an emotion whose emotion the compressor reads, as it does in use. Which ones is
            drawn each time.
        frames (`float`, *optional*, defaults to 0.0):
            Share of the windows whose vectors stand in another frame than that of `recall`, see [`question_frames`].
    """

    processor: EmpathAVProcessor
    max_tokens: int = 64
    verbatim: int | None = None
    emotions: float = 0.0
    frames: float = 0.0

    def __post_init__(self):
        self.usual, self.others = memory_frame(self.processor), question_frames(self.processor)

    def __call__(self, windows: list[list[dict]]) -> dict[str, torch.Tensor]:
        tokenizer = self.processor.tokenizer
        windows = [[self._shorten(message) for message in window] for window in windows]
        batch = {} if self.verbatim is not None else dict(self.processor.encode_history(windows))
        rows, labels = [], []
        for window in windows:
            before, after = random.choice(self.others) if random.random() < self.frames else self.usual
            memory = self._memory(window)
            row, target = before + memory + after, [-100] * (len(before) + len(memory) + len(after))
            for message in window:
                role = tokenizer(f"{message['role']}:", add_special_tokens=False)["input_ids"]
                words = tokenizer(f" {message['content']}\n", add_special_tokens=False)["input_ids"]
                row, target = row + role + words, target + [-100] * len(role) + words
            rows.append(row)
            labels.append(target)
        width = max(map(len, rows))
        batch["input_ids"] = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        batch["attention_mask"] = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        batch["labels"] = torch.tensor([target + [-100] * (width - len(target)) for target in labels])
        return batch

    def _memory(self, window: list[dict]) -> list[int]:
        if self.verbatim is None:
            return [self.processor.memory_token_id] * (len(window) * self.processor.memory_tokens_per_utterance)
        newest = window[len(window) - min(self.verbatim, len(window)) :]
        text = "".join(f"{message['role']}: {message['content']}\n" for message in newest)
        return self.processor.tokenizer(text, add_special_tokens=False)["input_ids"]

    def _shorten(self, message: dict) -> dict:
        content = message["content"]
        ids = self.processor.tokenizer(content, add_special_tokens=False)["input_ids"]
        if len(ids) > self.max_tokens:
            content = self.processor.tokenizer.decode(ids[: self.max_tokens]).strip()
        short = {"role": message["role"], "content": content}
        if "emotion" in message and random.random() < self.emotions:
            short["emotion"] = message["emotion"]
        return short
