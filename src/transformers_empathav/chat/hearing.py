"""What the clips of a turn carry: words, emotion vectors, and an emotion where it is sure enough."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from ..modeling.generation_empathav import MEDIA_INPUTS, given_inputs
from ..processing.media_empathav import Clip, MediaLimits
from ..processing.messages_empathav import MediaPart
from .reply import no_time, timed
from .transcriber import loud_enough


if TYPE_CHECKING:
    from .responder import Responder

NOTHING_HEARD, NO_FACE, UNSURE = "nothing heard", "no face", "unsure"
# A clip in a prompt whose emotion vectors are known takes its place and is not encoded again.
PLACE = Clip(audio=None, frames=None, start=0.0, end=0.0)


@dataclass
class Heard:
    r"""
    What the clips of one turn carry, as [`Responder.hear`] returns it.

    Args:
        text (`str`): Their words; empty without speech.
        vectors (`torch.Tensor` of shape `(windows, num_query_tokens, hidden)`): Their emotion vectors.
        emotion (`dict[str, float]`): Probability of each emotion.
        reading (`str`):
            The likeliest emotion, if it reaches `config.emotion_threshold`, else `"unsure"`. `"nothing heard"` where
            there is no voice and nothing to see, `"no face"` where there is no voice and no face in what is seen.
        seconds (`dict[str, float]`): Time of the stages media, transcribe and generate.
        view (`str`): What limits what was seen: several people, or a face that is cut off; else empty.
    """

    text: str
    vectors: torch.Tensor
    emotion: dict[str, float]
    reading: str
    seconds: dict[str, float] = field(default_factory=no_time)
    view: str = ""

    @property
    def felt(self) -> str | None:
        """The emotion that the turn carries; `None` where none counts."""
        return self.reading if self.reading in self.emotion else None


def hear(responder: "Responder", clips: Sequence, transcribe: bool = True, limits: MediaLimits | None = None) -> Heard:
    r"""
    Decodes clips, recognises their words and encodes them, each once.

    Args:
        responder ([`Responder`]): Holds the checkpoint.
        clips (`Sequence`): Sources of sound or video, at least one, or what [`decode`] made of them.
        transcribe (`bool`, *optional*, defaults to `True`): Whether their words are wanted.
        limits (`MediaLimits`, *optional*): Limits on each source; the processor's by default.

    Raises:
        `ValueError`: If a clip cannot be read, or the recogniser cannot be loaded.
    """
    processor, seconds, text = responder.processor, no_time(), ""
    with timed(seconds, "media"):
        decoded = decode(responder, clips, limits)
        windows = [window for clip in decoded for window in clip]
        rate = processor.feature_extractor.sampling_rate
        voiced = any(window.audio is not None and loud_enough(window.audio, rate) for window in windows)
    if transcribe:
        with timed(seconds, "load"):
            responder.transcribe.load()
        with timed(seconds, "transcribe"):
            speech = [responder.transcribe(sound_of(clip)) for clip in decoded]
        text = " ".join(said.text for said in speech if said.text)
        voiced = voiced and any(said.spoken for said in speech)
    with timed(seconds, "generate"):
        scores, vectors = encode(responder, windows)
    reading = read(scores, voiced, windows, responder.threshold)
    return Heard(text, vectors, scores, reading, seconds, view_of(windows))


def decode(responder: "Responder", clips: Sequence, limits: MediaLimits | None = None) -> list[list[Clip]]:
    """The windows of each clip. Clips that are windows already stay as they are."""
    load, bounds = responder.processor.load_clip, {} if limits is None else {"limits": limits}
    return [clip if is_decoded(clip) else load(clip, kind="any", **bounds) for clip in clips]


def is_decoded(source) -> bool:
    return isinstance(source, list) and bool(source) and isinstance(source[0], Clip)


def sound_of(windows: Sequence[Clip]) -> list:
    """The sounds of the consecutive windows of one clip, as far as there are any."""
    return [window.audio for window in windows if window.audio is not None]


@torch.no_grad()
def encode(responder: "Responder", windows: list[Clip]) -> tuple[dict[str, float], torch.Tensor]:
    """Probability of each emotion in the windows of a turn, and their emotion vectors."""
    message = {"role": "user", "content": [{"type": "video", "video": [window]} for window in windows]}
    inputs = turn_inputs(responder, message)
    inputs["av_embeds"] = responder.model.get_av_features(**given_inputs(inputs, MEDIA_INPUTS))
    return emotions(responder, inputs), inputs["av_embeds"]


def clip_vectors(responder: "Responder", clips: Sequence[MediaPart]) -> torch.Tensor | None:
    """Emotion vectors of the clips of a message that was said before; `None` without any."""
    load, windows = responder.processor.load_clip, []
    for clip in clips:
        known = is_decoded(clip.source)
        windows += clip.source if known else load(clip.source, clip.kind, clip.sound, clip.sampling_rate)
    return encode(responder, windows)[1] if windows else None


def read_text(responder: "Responder", text: str) -> dict[str, float]:
    """What the language model takes the emotion of a text for, without having heard or seen anybody."""
    return emotions(responder, turn_inputs(responder, {"role": "user", "content": text}))


def turn_inputs(responder: "Responder", message: dict) -> dict:
    options = {"tokenize": True, "return_dict": True, "max_length": responder.positions}
    return dict(responder.processor.apply_chat_template([message], **options).to(responder.device))


def emotions(responder: "Responder", inputs: dict) -> dict[str, float]:
    scores = responder.model.predict_emotion(**inputs)[0].tolist()
    return dict(zip(responder.model.config.emotion_labels, scores))


def read(scores: dict[str, float], voiced: bool, windows: Sequence[Clip], threshold: float) -> str:
    """See `reading` of [`Heard`]."""
    seen = [window for window in windows if window.frames is not None]
    if not voiced and not seen:
        return NOTHING_HEARD
    if not voiced and all(window.face is not None and not window.face for window in seen):
        return NO_FACE
    label = max(scores, key=scores.get)
    return label if scores[label] >= threshold else UNSURE


def view_of(windows: Sequence[Clip]) -> str:
    """See `view` of [`Heard`]."""
    faces = [window.face for window in windows if window.face]
    people = max((face.people for face in faces), default=0)
    notes = [f"{people} people in view, the largest face counts"] if people > 1 else []
    if any(face.cut for face in faces):
        notes.append("the face is cut off by the edge")
    return "; ".join(notes)
