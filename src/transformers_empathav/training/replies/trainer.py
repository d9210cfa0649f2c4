"""Response tuning: the language model learns to write the reply, given all that the conversation brings."""

import torch

from ..loss_scale import mean_over_update
from ..reply_trainer import ReplyTrainer
from ..shared_vectors import shared_vectors, text_inputs


class ResponseTrainer(ReplyTrainer):
    """
    `transformers.Trainer` over a [`ConversationCollator`] of single replies, for a model with or without adapters.

    Batches are of about equal length, and logits are computed for replies alone. The loss is the mean over the tokens
    of all replies of an update. Sound, frames and history are checked to reach the model until each was seen once.
    """

    method = "sft"
    summary = "Response tuning: the language model learned to write the replies of its training data."

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        # `Trainer` would hand the whole batch to the model and take its loss: logits of all positions, and an error
        # for `modalities`, which the model does not know.
        with self.watching(model, inputs):
            return self._reply_loss(model, inputs, return_outputs, num_items_in_batch)

    def _reply_loss(self, model, inputs, return_outputs, num_items_in_batch):
        inputs = {name: tensor for name, tensor in inputs.items() if name != "modalities"}
        labels = inputs.pop("labels")
        columns = int((labels != -100).any(dim=0).nonzero()[0])  # replies end at the right edge
        kept = labels.shape[1] - columns + 1
        vectors = shared_vectors(self.base(model), inputs)
        logits = model(**text_inputs(inputs), **vectors, logits_to_keep=kept, use_cache=False).logits[:, :-1]
        targets = labels[:, columns:]
        taught = targets != -100
        losses = torch.nn.functional.cross_entropy(logits[taught].float(), targets[taught], reduction="none")
        loss = mean_over_update(self, losses, num_items_in_batch)
        return (loss, {}) if return_outputs else loss
