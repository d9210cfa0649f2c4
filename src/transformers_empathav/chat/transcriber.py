"""What is said in a sound, by any speech recogniser of transformers."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCTC, AutoModelForSpeechSeq2Seq, AutoProcessor
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import logging

from ..processing.media_sound_empathav import resample


logger = logging.get_logger(__name__)
# Longest sound that is recognised at once, in seconds, and how much of it the next piece reads again.
WINDOW, OVERLAP = 30.0, 4.0
# Least level of a tenth of a second, in dB of full scale, of a sound that somebody may be heard in.
QUIET = -50.0
# Whisper's probability that a sound is no speech, from which its words do not count.
NO_SPEECH = 0.6


@dataclass
class Speech:
    """The words of a sound, and whether somebody speaks in it, as far as that is known."""

    text: str
    spoken: bool


class Transcriber:
    r"""
    A speech recogniser, loaded when it is first needed.

    Args:
        name (`str`, *optional*):
            Hub id or directory of the recogniser. `None`: there is none, which a sound makes known in the log. `""`:
            none is wanted.
        sampling_rate (`int`): Of the sounds, in Hz; they are resampled to what the recogniser wants.
        device (`torch.device`), dtype (`torch.dtype`): Of the recogniser.
    """

    def __init__(self, name: str | None, sampling_rate: int, device: torch.device, dtype: torch.dtype):
        self.name, self.sampling_rate, self.device, self.dtype = name, sampling_rate, device, dtype
        self._loaded = None

    def load(self):
        """
        Loads the recogniser, where there is one and it is not loaded yet.

        Raises:
            `ValueError`: there is no recogniser of transformers under that name.
        """
        if not self.name or self._loaded is not None:
            return
        try:
            config = AutoConfig.from_pretrained(self.name)
            auto_class = AutoModelForSpeechSeq2Seq if config.is_encoder_decoder else AutoModelForCTC
            model = auto_class.from_pretrained(self.name, dtype=self.dtype).to(self.device).eval()
            self._loaded = model, AutoProcessor.from_pretrained(self.name)
        except (ValueError, OSError) as error:
            raise ValueError(
                f"No speech recogniser of transformers could be loaded from {self.name} (asr): give its Hub id or "
                "directory, or the text of the turn."
            ) from error

    @torch.no_grad()
    def __call__(self, sounds: Sequence[np.ndarray]) -> Speech:
        r"""
        Recognises one recording.

        A sound that is too quiet to hear anybody in is not read, and words in what Whisper takes for no speech do not
        count: it writes "you" on silence. A recording longer than `WINDOW` is read in overlapping pieces, so that no
        word is cut in two.

        Args:
            sounds (`Sequence[np.ndarray]`): Its consecutive parts, each `(samples,)`.
        """
        sound = np.concatenate([np.zeros(0, np.float32), *sounds])
        if not loud_enough(sound, self.sampling_rate):
            return Speech("", False)
        if self.name is None:
            logger.warning(
                "The checkpoint has no speech recogniser, so the words of the clip are not read: give text, or name a "
                "recogniser (asr)."
            )
        if not self.name:
            return Speech("", True)
        self.load()
        rate = self._loaded[1].feature_extractor.sampling_rate
        text, spoken = "", False
        for piece in overlapping(resample("the sound", sound, self.sampling_rate, rate), rate):
            speech = self._recognise(piece, rate)
            text, spoken = joined(text, speech.text), spoken or speech.spoken
        return Speech(text, spoken)

    def _recognise(self, sound: np.ndarray, rate: int) -> Speech:
        model, processor = self._loaded
        inputs = processor(sound, sampling_rate=rate, return_attention_mask=True, return_tensors="pt")
        inputs = inputs.to(self.device, model.dtype)
        if not model.can_generate():  # CTC: there the blank, a special token, parts double letters
            text = processor.batch_decode(model(**inputs).logits.argmax(dim=-1))[0].strip()
            return Speech(text, bool(text))
        if model.config.model_type == "whisper":
            features = inputs.pop("input_features")
            inputs["encoder_outputs"] = BaseModelOutput(model.get_encoder()(features).last_hidden_state)
            if self._no_speech(inputs["encoder_outputs"]) > NO_SPEECH:
                return Speech("", False)
        text = processor.batch_decode(model.generate(**inputs), skip_special_tokens=True)[0].strip()
        return Speech(text, bool(text))

    def _no_speech(self, encoded: BaseModelOutput) -> float:
        """Probability that Whisper gives to its token for no speech, as the first one."""
        model, processor = self._loaded
        start = torch.tensor([[model.generation_config.decoder_start_token_id]], device=self.device)
        logits = model(encoder_outputs=encoded, decoder_input_ids=start).logits[0, -1].float()
        names = [name for name in ("<|nospeech|>", "<|nocaptions|>") if name in processor.tokenizer.get_vocab()]
        return float(logits.softmax(dim=-1)[processor.tokenizer.convert_tokens_to_ids(names)].sum()) if names else 0.0


def loud_enough(sound: np.ndarray, rate: int) -> bool:
    """Whether some tenth of a second of a sound, `(samples,)` at `rate` Hz, is louder than `QUIET`."""
    size = max(rate // 10, 1)
    power = [float(np.square(sound[start : start + size]).mean()) for start in range(0, len(sound), size)]
    return max(power, default=0.0) > 10 ** (QUIET / 10)


def overlapping(sound: np.ndarray, rate: int) -> list[np.ndarray]:
    """The sound in pieces of at most `WINDOW`, equal in length, each beginning `OVERLAP` before the last one ends."""
    most, again = int(WINDOW * rate), int(OVERLAP * rate)
    if len(sound) <= most:
        return [sound]
    count = -(-(len(sound) - again) // (most - again))
    step = -(-(len(sound) - again) // count)
    return [sound[start : start + step + again] for start in range(0, len(sound) - again, step)]


def joined(text: str, more: str) -> str:
    """Two texts whose end and beginning were read from the same sound: what both have stands once."""
    before, after = text.split(), more.split()
    if not before or not after:
        return text or more
    reach = int(OVERLAP * 6)  # more words are not said in that time
    old, new = ([plain(word) for word in words] for words in (before[-reach:], after[:reach]))
    match = SequenceMatcher(None, old, new, autojunk=False).find_longest_match()
    if not match.size:
        return f"{text} {more}"
    start = len(before) - len(old) + match.a
    return " ".join(before[:start] + after[match.b :])


def plain(word: str) -> str:
    return "".join(character for character in word.lower() if character.isalnum())
