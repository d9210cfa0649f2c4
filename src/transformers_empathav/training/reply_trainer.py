"""What response tuning and preference optimisation share: order of rows, modality check, card and publishing."""

from contextlib import nullcontext
from pathlib import Path

from huggingface_hub.errors import HTTPError
from peft import PeftModel

from ..hub.adapter_card import write_card
from ..hub.push import explained
from ..modeling.modeling_empathav import EmpathAVForCausalLM
from .adapter_scope import take_outside_off
from .adapters import base_model, publish, write_output
from .modality_check import ModalityCheck
from .sampler import length_sampler, rows_of_a_step
from .watched_trainer import WatchedTrainer


class ReplyTrainer(WatchedTrainer):
    """
    A trainer of the language model over batches of [`ConversationCollator`].

    Batches are of about equal length. Until sound, frames and history have each been seen to reach the model, each
    batch is checked for those that are new. An adapter stays within the language model ([`take_outside_off`]). What is
    published is published once, at the end ([`publish`]).
    """

    method: str  # in the card
    summary: str
    check_modalities = True
    publishes = True

    def __init__(self, model=None, *args, **kwargs):
        if isinstance(model, PeftModel):
            take_outside_off(model)
        super().__init__(model, *args, **kwargs)
        self.modality_check = ModalityCheck()

    def _get_train_sampler(self, train_dataset=None):
        # `Trainer` shuffles without regard to length, which doubles the padding, or groups by length in its own way.
        if self.args.train_sampling_strategy in ("random", "group_by_length"):
            return length_sampler(self, self.train_dataset if train_dataset is None else train_dataset)
        return super()._get_train_sampler(train_dataset)

    def watching(self, model, inputs: dict):
        """
        A context for the loss of a batch, see [`ModalityCheck.watching`].

        Raises:
            `ValueError`: the batch does not say what its rows hold.
        """
        if not self.check_modalities:
            return nullcontext()
        if "modalities" not in inputs:
            raise ValueError(
                "The data_collator does not say what its rows hold (modalities), so nobody can tell whether it "
                "reaches the model: use ConversationCollator, or check_modalities=False."
            )
        return self.modality_check.watching(self.base(model), inputs["modalities"])

    def base(self, model) -> EmpathAVForCausalLM:
        """The model itself, without what torch, accelerate or PEFT put around it."""
        return base_model(self.accelerator.unwrap_model(model))

    def create_model_card(self, *args, facts: dict | None = None, **kwargs):
        """Writes this project's card in place of the library's; `facts` are those of `read_facts`."""
        # Called by TRL with each checkpoint; the library's card would not name the method.
        if self.is_world_process_zero():
            write_card(self, self.method, self.summary, rows_of_a_step(self), facts)

    def init_hf_repo(self, *args, **kwargs):
        # `Trainer` makes the repository before the training, so it is known by now whether that is allowed.
        try:
            super().init_hf_repo(*args, **kwargs)
        except (HTTPError, OSError) as error:
            name = self.args.hub_model_id or Path(self.args.output_dir).name
            raise ValueError(explained(error, name)) from error

    def push_to_hub(self, *args, **kwargs):
        """Publishes what was trained, with the files and the checks of recipes/push.py."""
        # `Trainer` would upload the output directory with all that lies in it, weights in float32.
        write_output(self, self.processing_class or self.data_collator.processor)
        publish(self)

    def _push_from_checkpoint(self, checkpoint_folder):
        # `Trainer` would do the same with each checkpoint.
        return
