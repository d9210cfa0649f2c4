"""What is said in a sound, by any speech recogniser of transformers."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCTC, AutoModelForSpeechSeq2Seq, AutoProcessor
from transformers.utils import logging

from ..processing.media_sound_empathav import resample


logger = logging.get_logger(__name__)


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
    def __call__(self, sounds: Sequence[np.ndarray]) -> str:
        """The words of all sounds, each `(samples,)`, joined by spaces; empty without a recogniser."""
        if sounds and self.name is None:
            logger.warning(
                "The checkpoint has no speech recogniser, so the words of the clip are not read: give text, or name a "
                "recogniser (asr)."
            )
        if not sounds or not self.name:
            return ""
        self.load()
        model, processor = self._loaded
        rate, texts = processor.feature_extractor.sampling_rate, []
        for sound in sounds:
            sound = resample("the sound", sound, self.sampling_rate, rate)
            inputs = processor(sound, sampling_rate=rate, return_attention_mask=True, return_tensors="pt")
            inputs = inputs.to(self.device, model.dtype)
            writes = model.can_generate()  # CTC models do not: there the blank, a special token, parts double letters
            tokens = model.generate(**inputs) if writes else model(**inputs).logits.argmax(dim=-1)
            texts.append(processor.batch_decode(tokens, skip_special_tokens=writes)[0].strip())
        return " ".join(filter(None, texts))
