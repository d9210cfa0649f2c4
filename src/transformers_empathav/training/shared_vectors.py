"""Vectors of the clips and the history of a batch, computed once for all replies to a conversation."""

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from ..modeling.generation_empathav import MEDIA_INPUTS, given_inputs
from ..modeling.modeling_empathav import EmpathAVForCausalLM


HISTORY = ("history_input_ids", "history_attention_mask")


def shared_vectors(model: EmpathAVForCausalLM, batch: dict[str, torch.Tensor], replies: int = 1) -> dict:
    r"""
    Runs extractor and compressor. Give the result to `EmpathAVForCausalLM.forward` in place of clips and history.

    Both run outside autocast, as they do in use, and without gradients where they are frozen.

    Args:
        model ([`EmpathAVForCausalLM`]): The model itself, without wrappers.
        batch (`dict`): Of [`ConversationCollator`].
        replies (`int`, *optional*, defaults to 1): Replies to each conversation; rows are in as many blocks.

    Returns:
        `dict`: `av_embeds` `(replies * clips, num_query_tokens, hidden)` if the batch has clips, and `memory_embeds`
        `(replies * vectors, hidden)` if it has history. The vectors are repeated for each block.

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
            with gradients(network.compressor, network.get_input_embeddings()):
                vectors["memory_embeds"] = network.compress(**given_inputs(batch, HISTORY)).flat()
    return {name: torch.cat([block] * replies) for name, block in vectors.items()}


def gradients(*parts: nn.Module):
    """A context with gradients if one of `parts` is trained, and without them if all are frozen."""
    trained = any(parameter.requires_grad for part in parts for parameter in part.parameters())
    return torch.set_grad_enabled(trained and torch.is_grad_enabled())


def text_inputs(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The inputs of a batch but for those of clips and history."""
    return {name: tensor for name, tensor in batch.items() if name not in (*MEDIA_INPUTS, *HISTORY)}
