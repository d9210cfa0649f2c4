"""Checks that clips and history of batches reach the model: losing them raises no error by itself."""

from contextlib import contextmanager

import torch

from ..modeling.generation_empathav import AUDIO_INPUTS, VIDEO_INPUTS
from ..modeling.modeling_empathav import EmpathAVForCausalLM


NAMES = ("windows with sound", "windows with frames", "utterances of history")


class ModalityCheck:
    """Watches the batches of a training until sound, frames and history have each been seen to reach the model."""

    def __init__(self):
        self.unseen = set(range(len(NAMES)))

    @contextmanager
    def watching(self, model: EmpathAVForCausalLM, expected: torch.Tensor):
        r"""
        A context for the loss of a batch. It does nothing where the batch has nothing that was not seen before.

        Args:
            model ([`EmpathAVForCausalLM`]): The model itself, without wrappers.
            expected (`torch.Tensor` of shape `(3,)`): `modalities` of the batch, what the collator found in the rows.

        Raises:
            `RuntimeError`: sound, frames or history did not reach extractor, compressor or language model.
        """
        found = {index for index, count in enumerate(expected.tolist()) if count} if self.unseen else set()
        if not found & self.unseen:
            yield
            return
        with modalities_reach(model, expected):
            yield
        self.unseen -= found


@contextmanager
def modalities_reach(model: EmpathAVForCausalLM, expected: torch.Tensor):
    r"""
    A context in which the model's forward passes are watched, with arguments and errors of [`ModalityCheck.watching`].
    """
    reached, placed = [0, 0, 0], [0, 0]
    config = model.config

    def watch_extractor(module, arguments, media):
        for index, (mask, names) in enumerate((("audio_mask", AUDIO_INPUTS), ("video_mask", VIDEO_INPUTS))):
            if (stream := next((media[name] for name in names if media.get(name) is not None), None)) is not None:
                there = torch.ones(len(stream)) if media.get(mask) is None else media[mask]
                reached[index] += int(there.sum())

    def watch_compressor(module, arguments, given):
        reached[2] += int(given["readout_mask"].sum()) // config.memory_tokens_per_utterance

    def watch_model(module, arguments, given):
        for index, name in enumerate(("av_embeds", "memory_embeds")):
            if given.get(name) is not None:
                placed[index] = given[name].numel() // config.text_config.hidden_size

    hooks = [
        module.register_forward_pre_hook(watch, with_kwargs=True)
        for module, watch in (
            (model.model.extractor, watch_extractor),
            (model.model.compressor, watch_compressor),
            (model.model, watch_model),
        )
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    for name, wanted, found in zip(NAMES, expected.tolist(), reached):
        if found < wanted:
            raise RuntimeError(
                f"The batch has {wanted} {name} and {found} reached the model: the data_collator, or a wrapper of the "
                "model, loses them. Training would learn to answer without them; check_modalities=False trains "
                "nevertheless."
            )
    if any(wanted and not vectors for wanted, vectors in zip((sum(expected.tolist()[:2]), int(expected[2])), placed)):
        raise RuntimeError(
            "Clips or history were encoded and their vectors did not reach the language model: something between the "
            "trainer and the model drops av_embeds or memory_embeds."
        )
