"""The emotion of clips, whole or over a sliding window."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ..checkpoint.loading import load_checkpoint
from ..processing.media_empathav import Clip, load_clip


@dataclass
class EmotionWindow:
    """Emotion probabilities of one stretch of a clip, from `start` to `end` in seconds."""

    start: float
    end: float
    scores: dict[str, float]

    @property
    def label(self) -> str:
        """The likeliest emotion."""
        return max(self.scores, key=self.scores.get)

    def to_dict(self) -> dict:
        return {
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "label": self.label,
            "scores": {label: round(score, 4) for label, score in self.scores.items()},
        }


@dataclass
class ClipEmotion:
    """
    The emotions of one clip.

    Args:
        clip (`str`): Path of the clip.
        streams (`list[str]`): The streams that were read: `audio`, `video` or both.
        whole ([`EmotionWindow`]): Of the whole clip.
        timeline (`list[EmotionWindow]`): Of a sliding window; empty where none was asked for.
    """

    clip: str
    streams: list[str]
    whole: EmotionWindow
    timeline: list[EmotionWindow] = field(default_factory=list)

    def to_dict(self) -> dict:
        """One entry of what `empathav emotion --json` prints."""
        found = {"clip": self.clip, "streams": self.streams, **self.whole.to_dict()}
        return found | ({"timeline": [window.to_dict() for window in self.timeline]} if self.timeline else {})


class EmotionReader:
    r"""
    Scores the emotions of clips with a loaded checkpoint.

    Args:
        checkpoint (`str` or `os.PathLike`): A directory of `empathav assemble`, or a Hub id.
        device (`str`, *optional*): CUDA where there is one by default.
        batch_size (`int`, *optional*, defaults to 8): Clips or windows at once.
        limits (`dict`, *optional*): Limits on clips that differ from the processor's, see [`MediaLimits`].
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike,
        device: str | None = None,
        batch_size: int = 8,
        limits: dict | None = None,
    ):
        self.model, self.processor = load_checkpoint(checkpoint, device)
        self.processor.limits = {**(self.processor.limits or {}), **(limits or {})}
        self.batch_size = batch_size

    def __call__(self, clip: str | os.PathLike, timeline: bool = False, window: float = 4.0, hop: float = 1.0):
        r"""
        Scores one clip.

        Args:
            clip (`str` or `os.PathLike`): A file with sound, frames or both.
            timeline (`bool`, *optional*, defaults to `False`): Whether to score a sliding window too.
            window, hop (`float`, *optional*, default to 4.0 and 1.0):
                Length and step of the window, in seconds. The step is shortened slightly so that the last window ends
                with the clip.

        Returns:
            [`ClipEmotion`]

        Raises:
            `MediaError`: the clip cannot be read.
            `ValueError`: the step is longer than the window, or the window longer than the processor's.
        """
        if timeline and not 0 < hop <= window <= self.processor.window_seconds:
            raise ValueError(
                f"A window of {window:g} s cannot slide by {hop:g} s: the step must be above zero and at most the "
                f"window, and the window at most {self.processor.window_seconds:g} s."
            )
        whole = self.processor.load_clip(clip, kind="any")
        streams = ["audio"] if any(part.audio is not None for part in whole) else []
        streams += ["video"] if any(part.frames is not None for part in whole) else []
        (scores,) = self.score([whole])
        found = ClipEmotion(str(clip), streams, self._window(whole, scores))
        if timeline:
            frames = self.processor.num_frames
            pieces = load_clip(
                clip,
                sampling_rate=self.processor.feature_extractor.sampling_rate,
                num_frames=max(1, round(frames * hop / window)),
                window_seconds=hop,
                want="any",
                limits=self.processor.media_limits,
            )
            windows = slide(pieces, window, hop, frames)
            scores = self.score([self._read(part) for part in windows])
            found.timeline = [self._window([part], row) for part, row in zip(windows, scores)]
        return found

    def _read(self, part: Clip) -> list[Clip]:
        """Loads a window as the processor loads a clip, so that the face is cropped within its frames."""
        if part.frames is None:
            return self.processor.load_clip(part.audio, kind="audio")
        return self.processor.load_clip(part.frames, sound=part.audio)

    @torch.no_grad()
    def score(self, clips: Sequence[list[Clip]]) -> np.ndarray:
        """Probabilities `(clips, labels)` of clips, each given as the windows of `processor.load_clip`."""
        found = []
        for start in range(0, len(clips), self.batch_size):
            messages = [
                [{"role": "user", "content": [{"type": "video", "video": windows}]}]
                for windows in clips[start : start + self.batch_size]
            ]
            inputs = self.processor.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=True, return_dict=True
            )
            found.append(self.model.predict_emotion(**inputs.to(self.model.device)).cpu().numpy())
        return np.concatenate(found)

    def _window(self, parts: list[Clip], scores: np.ndarray) -> EmotionWindow:
        named = dict(zip(self.model.config.emotion_labels, scores.tolist()))
        return EmotionWindow(parts[0].start, parts[-1].end, named)


def slide(pieces: list[Clip], window: float, hop: float, num_frames: int) -> list[Clip]:
    """Joins pieces of `hop` seconds to windows of `window` seconds, one a step. A shorter clip is one window."""
    size = min(max(round(window / hop), 1), len(pieces))
    return [join(pieces[start : start + size], num_frames) for start in range(len(pieces) - size + 1)]


def join(pieces: list[Clip], num_frames: int) -> Clip:
    """Joins consecutive pieces to one clip of `num_frames` frames. Pieces without sound are silent."""
    audio = frames = None
    if any(piece.audio is not None for piece in pieces):
        longest = max(len(piece.audio) for piece in pieces if piece.audio is not None)
        silence = np.zeros(longest, dtype=np.float32)
        audio = np.concatenate([silence if piece.audio is None else piece.audio for piece in pieces])
    if all(piece.frames is not None for piece in pieces):
        frames = np.concatenate([piece.frames for piece in pieces])
        frames = frames[((np.arange(num_frames) + 0.5) / num_frames * len(frames)).astype(int)]
    return Clip(audio, frames, pieces[0].start, pieces[-1].end)
