"""A message that is still there word by word."""

from dataclasses import dataclass

import torch

from .hearing import PLACE


@dataclass
class Message:
    """A message that is still there word by word, with the emotion vectors of its clips."""

    role: str
    text: str
    emotion: str | None = None
    speaker: str | None = None
    vectors: torch.Tensor | None = None

    def to_dict(self) -> dict:
        """As the compressor reads it."""
        named = {"emotion": self.emotion, "speaker": self.speaker}
        return {"role": self.role, "content": self.text} | {key: value for key, value in named.items() if value}

    def in_prompt(self) -> dict:
        """As the language model reads it: its clips take their places before the text."""
        if self.vectors is None:
            return self.to_dict()
        clips = [{"type": "video", "video": [PLACE]}] * len(self.vectors)
        return {**self.to_dict(), "content": [*clips, {"type": "text", "text": self.text}]}
