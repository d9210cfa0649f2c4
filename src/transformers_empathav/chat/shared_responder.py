"""One checkpoint for many conversations at once."""

from collections.abc import Iterator, Sequence

from ..modeling.prompt_cache_empathav import PromptCache
from ..processing.media_limits_empathav import MediaLimits
from .batching import Batch
from .hearing import Heard, decode
from .model_thread import ModelThread
from .responder import Responder
from .safety import Safety
from .writing import write


MODEL_CALLS = ("get_av_features", "predict_emotion", "compress")
# They set the padding of the tokenizer, which fails while another thread uses it.
TOKENIZING_CALLS = ("apply_chat_template", "encode_history")
CROPPING_CALLS = ("crop",)  # a network finds the faces


class SharedResponder(Responder):
    """
    A [`Responder`] that many threads may use, each for its own [`Conversation`]. Replies are written in one batch; all
    else that the model does is done one after the other, in the order in which it is asked for.

    Takes the arguments of [`Responder`].
    """

    def __init__(self, *args, **kwargs):
        self.thread = ModelThread()
        self.thread(super().__init__, *args, **kwargs)
        computing = [(self.model, MODEL_CALLS), (self.processor, TOKENIZING_CALLS)]
        if self.processor._cropper is not None:
            computing.append((self.processor._cropper, CROPPING_CALLS))
        for part, names in computing:
            for name in names:
                setattr(part, name, self.thread.calls(getattr(part, name)))
        self.batch = Batch(self.model, self.thread)

    def hear(self, clips: Sequence, transcribe: bool = True, limits: MediaLimits | None = None) -> Heard:
        decoded = decode(self, clips, limits)  # in the caller's thread, but for its faces
        return self.thread(super().hear, decoded, transcribe, limits)

    def find_danger(self, text: str, score: float | None = None) -> Safety | None:
        return self.thread(super().find_danger, text, score)

    def write(self, inputs: dict, cache: PromptCache | None, **options) -> Iterator[str]:
        """As [`write`], in one batch with others; takes the options of [`Batch.run`]."""
        return write(self.model, self.processor.tokenizer, inputs, cache, run=self.batch.run, **options)

    def close(self):
        """Ends the threads that write and compute."""
        self.batch.close()
        self.thread.close()
