"""Preference optimisation of the right reply over a counter-emotional one, in conversations with clips and memory."""

import re
from collections import defaultdict

import torch
import torch.nn.functional as F
from datasets import Dataset
from trl import DPOTrainer
from trl.trainer.utils import use_adapter

from ...hub.adapter_card import write_card
from ..adapters import base_model
from ..callbacks import with_own_callbacks
from ..collator import PAIR, ConversationCollator, check_columns
from ..functional_dropout import disable_functional_dropout
from ..modality_check import modalities_reach
from ..sampler import length_sampler, rows_of_a_step
from ..shared_vectors import shared_vectors, text_inputs
from .config import EPOConfig


SUMMARY = (
    "Empathetic preference optimisation (arXiv 2412.17572): the adapter learned to prefer the right reply over one to "
    "the same conversation that speaks out of another emotion. Trained by TRL's DPOTrainer, with this project's "
    "collator."
)
# The loss of one of several evaluated datasets, as `Trainer` calls it.
EVALUATED = re.compile(r"eval_(.+)_loss")


class EPOTrainer(DPOTrainer):
    r"""
    `trl.DPOTrainer` for pairs of replies in an audio-visual conversation.

    Rows are TRL's conversational ones, `{"prompt", "chosen", "rejected"}`, with clips in the content of the prompt's
    messages. Clips and history of a pair are encoded once: chosen and rejected share their vectors. With an adapter
    the reference is the model without it, or, where a trained adapter is trained further, that adapter as it was.

    Args:
        model ([`EmpathAVForCausalLM`] or `PeftModel`): The policy.
        ref_model ([`EmpathAVForCausalLM`], *optional*): The reference of a policy without adapters.
        args ([`EPOConfig`], *optional*): Arguments; those of `EPOConfig("epo")` by default.
        data_collator (`Callable`, *optional*): A [`ConversationCollator`] of pairs by default.
        cache ([`FeatureCache`], *optional*): Gives the default collator frozen features of clips.
        callbacks (`list[TrainerCallback]`, *optional*): Join those of every training of this package.
        kwargs: As in `trl.DPOTrainer`; `processing_class` is an [`EmpathAVProcessor`].

    Pairs that do not fit into `max_length` are left out beforehand, with a warning that counts them.

    Raises:
        `ValueError`: a column is missing, or there that nothing reads; or DeepSpeed ZeRO-3 is asked for.
    """

    _tag_names = ["trl", "epo", "empathav"]
    _name = "EPO"

    def __init__(
        self,
        model,
        ref_model=None,
        args: EPOConfig | None = None,
        data_collator=None,
        cache=None,
        callbacks=None,
        **kwargs,
    ):
        args = EPOConfig("epo") if args is None else args
        if not isinstance(args, EPOConfig):
            raise TypeError(
                f"args is a {type(args).__name__}: EPOTrainer takes an EPOConfig, which has TRL's fields too."
            )
        if args.deepspeed_plugin is not None and args.deepspeed_plugin.zero_stage == 3:
            raise ValueError(
                "DeepSpeed ZeRO-3 takes the extractor's weights apart, whose vectors both replies share: use ZeRO-2, "
                "or FSDP as in recipes/accelerate_configs/fsdp.yaml."
            )
        rows = [next(iter(dataset)) for dataset in given_datasets(kwargs)]
        distances = args.emotion_margin != 0.0 or all(args.distance_column in row for row in rows)
        self.numbers = [args.distance_column] if distances else []
        self.numbers += [args.weight_column] if args.weight_column is not None else []
        if data_collator is None:
            data_collator = ConversationCollator(
                kwargs["processing_class"],
                PAIR,
                cache=cache,
                max_length=args.max_length,
                recent_turns=args.recent_turns,
                numbers=tuple(self.numbers),
                ignored_columns=tuple(args.ignored_columns),
            )
            for row in rows:
                check_columns(row, PAIR, data_collator.numbers, data_collator.ignored_columns)
        elif cache is not None:
            raise ValueError("A cache is for the default collator: give it to your data_collator, or leave that out.")
        self.collator, self.unchecked = data_collator, args.check_modalities
        callbacks = with_own_callbacks(callbacks)
        super().__init__(model, ref_model, args, data_collator=data_collator, callbacks=callbacks, **kwargs)
        if args.disable_dropout:
            disable_functional_dropout(base_model(self.model))
        # With this set, TRL's `_compute_loss` reads `ref_chosen_logps` and `ref_rejected_logps` from the batch, where
        # `_pair_batch` puts them, and runs no reference itself. It is set after `__init__`, which would compute them
        # for the whole dataset. Were the name to change, TRL would give the policy's vectors to the reference: wrong
        # as soon as projections are trained.
        self.precompute_ref_logps = True

    def _prepare_dataset(self, dataset, processing_class, args, dataset_name):
        # TRL calls this in `__init__` and in `evaluate`, and tokenises the words of each row: clips would be lost. The
        # collator encodes, so only rows that are too long are taken out here. Were TRL to call another method, the
        # collator would refuse its columns `prompt_ids`, `chosen_ids` and `rejected_ids`.
        if isinstance(self.collator, ConversationCollator) and isinstance(dataset, Dataset):
            return self.collator.usable(dataset)
        return dataset

    def _precompute_ref_logps(self, dataset, name, batch_size):
        # TRL's `evaluate` calls this for a dataset that it is given, since `precompute_ref_logps` is set, to add two
        # columns. Nothing is to be added: `_pair_batch` computes them for each batch.
        return dataset

    def _get_train_sampler(self, train_dataset=None):
        # `Trainer` shuffles without regard to length, which doubles the padding.
        return length_sampler(self, self.train_dataset if train_dataset is None else train_dataset)

    def _compute_loss(self, model, inputs, return_outputs):
        # TRL's `compute_loss`, and with it `prediction_step`, ends here.
        if not self.unchecked:
            return self._pair_loss(model, inputs, return_outputs)
        if "modalities" not in inputs:
            raise ValueError(
                "The data_collator does not say what its rows hold (modalities), so nobody can tell whether it "
                "reaches the model: use ConversationCollator, or check_modalities=False."
            )
        with modalities_reach(self._base(model), inputs["modalities"]):
            loss = self._pair_loss(model, inputs, return_outputs)
        self.unchecked = False
        return loss

    def _pair_loss(self, model, inputs, return_outputs):
        # TRL's `_compute_loss` calls `model` once, with `fused_lm_head=True`, and finds the log-probabilities of the
        # policy in `log_probs` `(2 * pairs, length - 1)`, 0 outside of the replies. The same ones serve `_change`, so
        # they are kept on the way. Were TRL to call `model` for the reference as well, the first call would have to
        # remain the policy's.
        batch, passes = self._pair_batch(inputs), []

        def forward(**given):
            passes.append(model(**given))
            return passes[-1]

        loss = super()._compute_loss(forward, batch, return_outputs)
        loss, outputs = loss if return_outputs else (loss, None)
        if self.args.changes_loss:
            loss = loss + self._change(passes[0].log_probs, batch, inputs)
        self._log_pairs(batch["completion_mask"], inputs)
        return (loss, outputs) if return_outputs else loss

    def _pair_batch(self, inputs: dict) -> dict[str, torch.Tensor]:
        """Text of both replies, their shared vectors, and their log-probabilities under the reference."""
        # TRL hands all of it to the model but `completion_mask` and the two `ref_*_logps`, so `modalities` and columns
        # of numbers have to go. It takes the first half of the rows for the chosen replies. `compute_ref_log_probs`
        # switches the adapter off, or to the copy called "ref" that TRL made of a trained one.
        text = {key: value for key, value in text_inputs(inputs).items() if key not in ("modalities", *self.numbers)}
        vectors = shared_vectors(self._base(self.model), inputs, replies=len(PAIR))
        known = vectors
        if any(tensor.requires_grad for tensor in vectors.values()):  # the reference has its own
            trained = self.accelerator.unwrap_model(self.model)
            with torch.no_grad(), use_adapter(trained, "ref" if "ref" in trained.peft_config else None):
                known = shared_vectors(base_model(trained), inputs, replies=len(PAIR))
        chosen, rejected = self.compute_ref_log_probs(self.ref_model or self.model, {**text, **known})
        return {**text, **vectors, "ref_chosen_logps": chosen, "ref_rejected_logps": rejected}

    @torch.no_grad()
    def log_probs_of(self, inputs: dict) -> dict[str, torch.Tensor]:
        """Of a batch, summed log-probabilities of chosen and rejected under policy and reference, and their tokens."""
        batch = self._pair_batch(inputs)
        given = {key: value for key, value in batch.items() if not key.startswith("ref_") and key != "completion_mask"}
        labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
        # `fused_lm_head` is TRL's: `__init__` replaced the forward of the model by one that gives `log_probs`.
        with self.accelerator.autocast():
            log_probs = self.model(**given, labels=labels, fused_lm_head=True, use_cache=False).log_probs
        chosen, rejected = log_probs.sum(dim=1).chunk(2)
        chosen_tokens, rejected_tokens = batch["completion_mask"].sum(dim=1).chunk(2)
        return {
            "chosen": chosen,
            "rejected": rejected,
            "ref_chosen": batch["ref_chosen_logps"],
            "ref_rejected": batch["ref_rejected_logps"],
            "chosen_tokens": chosen_tokens,
            "rejected_tokens": rejected_tokens,
        }

    def _change(self, log_probs: torch.Tensor, batch: dict, inputs: dict) -> torch.Tensor:
        """What margin and weights add to TRL's loss: the mean over pairs of EPO's term minus DPO's."""
        chosen, rejected = log_probs.sum(dim=1).chunk(2)
        delta = self.beta * (chosen - batch["ref_chosen_logps"] - rejected + batch["ref_rejected_logps"])
        margin, weight = 0.0, 1.0
        if self.args.emotion_margin != 0.0:
            margin = self.args.emotion_margin * inputs[self.args.distance_column]
        if self.args.weight_column is not None:
            weight = inputs[self.args.weight_column]
        change = F.logsigmoid(delta) - weight * F.logsigmoid(delta - margin)
        return self.loss_weights[self.loss_types.index("sigmoid")] * change.mean()

    def _log_pairs(self, completion_mask: torch.Tensor, inputs: dict):
        chosen, rejected = completion_mask.sum(dim=1).float().chunk(2)
        figures = {"lengths/chosen": chosen, "lengths/rejected": rejected}
        figures |= {name: inputs[name] for name in self.numbers}
        for name, values in figures.items():
            # TRL's `log` adds the mean of each list to the logged line, and empties them.
            metrics = self._metrics["train" if self.model.training else "eval"]
            metrics[name].append(self.accelerator.gather_for_metrics(values).mean().item())

    def log(self, logs, start_time=None):
        # TRL logs its figures of an evaluation as `eval_rewards/...` whichever dataset they are of, so the second of
        # several datasets would overwrite the first. Which one it is stands in the key of its loss, `eval_NAME_loss`.
        for key in logs:
            if (name := EVALUATED.fullmatch(key)) is not None:
                found = self._metrics["eval"]
                self._metrics["eval"] = defaultdict(list, {f"{name[1]}_{key}": value for key, value in found.items()})
        super().log(logs, start_time)

    def _base(self, model):
        return base_model(self.accelerator.unwrap_model(model))

    def create_model_card(self, *args, **kwargs):
        """Writes this project's card in place of TRL's."""
        # TRL calls it with each checkpoint; its own card would call the method DPO.
        if self.is_world_process_zero():
            write_card(self, "epo", SUMMARY, rows_of_a_step(self))


def given_datasets(arguments: dict) -> list:
    """The training set and the sets to evaluate."""
    held_out = arguments.get("eval_dataset")
    found = [arguments.get("train_dataset"), *(held_out.values() if isinstance(held_out, dict) else [held_out])]
    return [dataset for dataset in found if dataset is not None]
