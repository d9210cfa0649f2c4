"""Clips and history of a batch to vectors, computed once and shared by all replies to a conversation."""

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from ..modeling.generation_empathav import MEDIA_INPUTS, given_inputs
from ..modeling.modeling_empathav import EmpathAVForCausalLM


HISTORY = ("history_input_ids", "history_attention_mask")


def shared_vectors(model: EmpathAVForCausalLM, batch: dict[str, torch.Tensor], replies: int = 1) -> dict:
    r"""
    What `EmpathAVForCausalLM.forward` takes in place of clips and history.

    Extractor and compressor run as they do in use, outside autocast; without gradients where they are frozen.

    Args:
        model ([`EmpathAVForCausalLM`]): The model itself, without wrappers.
        batch (`dict`): Of [`ConversationCollator`].
        replies (`int`): Replies to each conversation, in blocks of rows.

    Returns:
        `dict`: what there is of `av_embeds` `(replies * clips, num_query_tokens, hidden)` and `memory_embeds`
        `(replies * vectors, hidden)`; each block is the same tensor again.

    Raises:
        `RuntimeError`: FSDP took the extractor or the compressor apart.
    """
    vectors, network = {}, model.model
    parts = (network.extractor, network.compressor, network.get_input_embeddings())
    if any(isinstance(parameter, DTensor) for part in parts for parameter in part.parameters()):
        raise RuntimeError(
            "FSDP has sharded the extractor, the compressor or the input embeddings, which are used outside of the "
            "sharded forward pass: keep them whole by fsdp_ignored_modules, see recipes/accelerate_configs/fsdp.yaml."
        )
    with torch.autocast(network.device.type, enabled=False):
        if media := given_inputs(batch, MEDIA_INPUTS):
            dtype = network.extractor.queries.weight.dtype
            for name in ("audio_features", "video_features"):  # of a cache, in its own type
                if name in media:
                    media[name] = media[name].to(dtype)
            with gradients(network.extractor):
                vectors["av_embeds"] = network.get_av_features(**media)
        if "history_input_ids" in batch:
            with gradients(network.compressor):
                vectors["memory_embeds"] = network.compress(**given_inputs(batch, HISTORY)).flat()
    return {name: torch.cat([block] * replies) for name, block in vectors.items()}


def gradients(part: nn.Module):
    """Context in which gradients are kept only where `part` is trained."""
    trained = any(parameter.requires_grad for parameter in part.parameters())
    return torch.set_grad_enabled(trained and torch.is_grad_enabled())


def text_inputs(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What of a batch is no clip and no history."""
    return {name: tensor for name, tensor in batch.items() if name not in (*MEDIA_INPUTS, *HISTORY)}
