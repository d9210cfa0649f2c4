"""Response tuning: the language model learns to write the reply, given all that the conversation brings."""

import torch
from transformers import Trainer

from ...hub.adapter_card import write_card
from ..adapters import base_model
from ..callbacks import with_own_callbacks
from ..loss_scale import mean_over_update
from ..modality_check import modalities_reach
from ..sampler import length_sampler, rows_of_a_step
from ..shared_vectors import shared_vectors, text_inputs


class ResponseTrainer(Trainer):
    """
    `transformers.Trainer` over a [`ConversationCollator`] of single replies, for a model with or without adapters.

    Batches are of about equal length, and logits are computed for replies alone. The loss is the mean over the tokens
    of all replies of an update. The first step makes sure that all clips and all history of its batch reach the model.
    """

    checked = False

    def __init__(self, *args, callbacks=None, **kwargs):
        super().__init__(*args, callbacks=with_own_callbacks(callbacks), **kwargs)

    def _get_train_sampler(self, train_dataset=None):
        # `Trainer` shuffles without regard to length, which doubles the padding.
        return length_sampler(self, self.train_dataset if train_dataset is None else train_dataset)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        # `Trainer` would hand the whole batch to the model and take its loss: logits of all positions, and an error
        # for `modalities`, which the model does not know.
        if self.checked:
            return self._reply_loss(model, inputs, return_outputs, num_items_in_batch)
        with modalities_reach(base_model(self.accelerator.unwrap_model(model)), inputs["modalities"]):
            loss = self._reply_loss(model, inputs, return_outputs, num_items_in_batch)
        self.checked = True
        return loss

    def _reply_loss(self, model, inputs, return_outputs, num_items_in_batch):
        inputs = {name: tensor for name, tensor in inputs.items() if name != "modalities"}
        labels = inputs.pop("labels")
        columns = int((labels != -100).any(dim=0).nonzero()[0])  # replies end at the right edge
        kept = labels.shape[1] - columns + 1
        base = base_model(self.accelerator.unwrap_model(model))
        vectors = shared_vectors(base, inputs)
        logits = model(**text_inputs(inputs), **vectors, logits_to_keep=kept, use_cache=False).logits[:, :-1]
        targets = labels[:, columns:]
        taught = targets != -100
        losses = torch.nn.functional.cross_entropy(logits[taught].float(), targets[taught], reduction="none")
        loss = mean_over_update(self, losses, num_items_in_batch)
        return (loss, {}) if return_outputs else loss

    def create_model_card(self, *args, **kwargs):
        """Writes this project's card in place of the library's."""
        # `Trainer.push_to_hub` and `finish` call this; the library's card would not name the method.
        if self.is_world_process_zero():
            summary = "Response tuning: the language model learned to write the replies of its training data."
            write_card(self, "sft", summary, rows_of_a_step(self))
