"""The first objective of an untrained compressor: its vectors have to be near the embeddings of certain words."""

import torch
import torch.nn.functional as F
from torch import nn

from ...modeling.modeling_empathav import EmpathAVForCausalLM


class Spelling(nn.Module):
    r"""
    A module that [`CompressorTrainer`] trains before [`Reconstruction`]. It needs no pass of the language model.

    Of the `k` vectors of an utterance, vector `j` is to name the words `j`, `j + k`, `j + 2k`, ...: its inner products
    with the language model's embedding table are the logits, and each word counts less than the one before. The
    language model understands some of such vectors at once, so training through it begins at a lower loss.

    Args:
        model ([`EmpathAVForCausalLM`]): Only its compressor learns.
        decay (`float`, *optional*, defaults to 0.4): Weight of a word relative to the one before in the same vector.
    """

    def __init__(self, model: EmpathAVForCausalLM, decay: float = 0.4):
        super().__init__()
        self.model = model.requires_grad_(False)
        model.model.compressor.float().requires_grad_(True)
        self.decay = decay

    def forward(self, history_input_ids, history_attention_mask, labels, **unused) -> torch.Tensor:
        """Takes a batch of [`ReconstructionCollator`]; gives the weighted loss of each of its taught tokens."""
        memory = self.model.model.compress(history_input_ids, history_attention_mask)
        vectors, words, weights = spelling_targets(labels, memory.lengths, memory.vectors_per_utterance, self.decay)
        table = self.model.get_input_embeddings().weight
        log_probs = F.linear(memory.flat().to(table.dtype), table).float().log_softmax(dim=-1)
        return -weights * log_probs[vectors, words]


def spelling_targets(labels: torch.Tensor, lengths: torch.Tensor, per_utterance: int, decay: float):
    """
    For each taught word, the vector that has to name it.

    Args:
        labels (`torch.Tensor` of shape `(batch, length)`): Words of an utterance stand together, -100 elsewhere.
        lengths (`torch.Tensor` of shape `(batch,)`): Vectors of each row's memory.
        per_utterance (`int`): Vectors of an utterance.
        decay (`float`): Weight of a word relative to the one before in the same vector.

    Returns:
        `tuple`: for each word the index of its vector among those of the batch, its token, and its weight.
    """
    taught = labels != -100
    index = torch.arange(labels.shape[1], device=labels.device).expand_as(labels)
    begins = taught & ~F.pad(taught[:, :-1], (1, 0))
    position = index - torch.where(begins, index, -1).cummax(dim=1).values
    before = (lengths.cumsum(dim=0) - lengths)[:, None]
    vector = before + (begins.cumsum(dim=1) - 1) * per_utterance + position % per_utterance
    weight = decay ** (position // per_utterance).float()
    return vector[taught], labels[taught], weight[taught]
