"""Preference optimisation of the right reply over a counter-emotional one, in conversations with clips and memory."""

import copy
import re
from collections import defaultdict

import torch
import torch.nn.functional as F
from datasets import Dataset, IterableDataset
from peft import PeftModel
from trl import DPOTrainer
from trl.trainer.utils import use_adapter

from ...modeling.configuration_empathav import EmpathAVConfig
from ..adapter_scope import within_language_model
from ..adapters import base_model
from ..collator import PAIR, ConversationCollator
from ..functional_dropout import disable_functional_dropout
from ..reply_trainer import ReplyTrainer
from ..row_checks import check_columns
from ..shared_vectors import shared_vectors, text_inputs
from ..watched_trainer import check_not_empty
from .config import EPOConfig


SUMMARY = (
    "Empathetic preference optimisation (arXiv 2412.17572): the adapter learned to prefer the right reply over one to "
    "the same conversation that speaks out of another emotion. Trained by TRL's DPOTrainer, with this project's "
    "collator."
)
# The loss of one of several evaluated datasets, as `Trainer` calls it.
EVALUATED = re.compile(r"eval_(.+)_loss")


class EPOTrainer(ReplyTrainer, DPOTrainer):
    r"""
    `trl.DPOTrainer` for pairs of replies in an audio-visual conversation.

    Rows are TRL's conversational ones, `{"prompt", "chosen", "rejected"}`, with clips in the content of the prompt's
    messages. Clips and history of a pair are encoded once: chosen and rejected share their vectors. With an adapter
    the reference is the model without it, or, where a trained adapter is trained further, that adapter as it was.
    Without adapters it is `ref_model`, or a copy of the model as it is given.

    Args:
        model ([`EmpathAVForCausalLM`] or `PeftModel`): The policy.
        ref_model ([`EmpathAVForCausalLM`], *optional*): The reference of a policy without adapters.
        args ([`EPOConfig`], *optional*): Arguments; those of `EPOConfig("epo")` by default.
        data_collator (`Callable`, *optional*): A [`ConversationCollator`] of pairs by default.
        train_dataset (`Dataset` or `IterableDataset`): Pairs to learn from.
        eval_dataset (`Dataset`, `IterableDataset`, or `dict` of them by name, *optional*): Held-out pairs.
        processing_class ([`EmpathAVProcessor`]): The processor of the model.
        peft_config (`PeftConfig`, *optional*): A fresh adapter, see [`within_language_model`].
        cache ([`FeatureCache`], *optional*): Gives the default collator frozen features of clips.
        kwargs: As in `trl.DPOTrainer`.

    Pairs that do not fit into `max_length` are left out, with a warning that counts them.

    Raises:
        `TypeError`: model, processor or arguments are of another kind.
        `ValueError`: a column is missing, or there that nothing reads; there are no pairs, or none fits; or DeepSpeed
            ZeRO-3 is asked for.
    """

    _tag_names = ["trl", "epo", "empathav"]
    _name = "EPO"
    method = "epo"
    summary = SUMMARY

    def __init__(
        self,
        model,
        ref_model=None,
        args: EPOConfig | None = None,
        data_collator=None,
        train_dataset=None,
        eval_dataset=None,
        processing_class=None,
        peft_config=None,
        cache=None,
        **kwargs,
    ):
        args = EPOConfig("epo") if args is None else args
        check_kinds(model, args, processing_class)
        if args.deepspeed_plugin is not None and args.deepspeed_plugin.zero_stage == 3:
            raise ValueError(
                "DeepSpeed ZeRO-3 takes the extractor's weights apart, whose vectors both replies share: use ZeRO-2, "
                "or FSDP as in recipes/accelerate_configs/fsdp.yaml."
            )
        rows = [*first_rows(train_dataset, "train_dataset"), *first_rows(eval_dataset, "eval_dataset")]
        distances = args.emotion_margin != 0.0 or all(args.distance_column in row for row in rows)
        self.numbers = [args.distance_column] if distances else []
        self.numbers += [args.weight_column] if args.weight_column is not None else []
        if data_collator is None:
            data_collator = ConversationCollator(
                processing_class,
                PAIR,
                cache=cache,
                max_length=args.max_length,
                recent_turns=args.recent_turns,
                numbers=tuple(self.numbers),
                ignored_columns=tuple(args.ignored_columns),
                pad_to_multiple_of=args.pad_to_multiple_of,
            )
            for row in rows:
                check_columns(row, PAIR, data_collator.numbers, data_collator.ignored_columns)
        elif cache is not None:
            raise ValueError("A cache is for the default collator: give it to your data_collator, or leave that out.")
        self.collator, self.check_modalities = data_collator, args.check_modalities
        if peft_config is not None:
            peft_config = within_language_model(model, peft_config)
        elif ref_model is None and not isinstance(model, PeftModel):
            # TRL would load it from where the model came from, which may be nowhere.
            ref_model = copy.deepcopy(model).eval().requires_grad_(False)
        super().__init__(
            model,
            ref_model,
            args,
            data_collator=data_collator,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            peft_config=peft_config,
            **kwargs,
        )
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
        if isinstance(self.collator, ConversationCollator) and isinstance(dataset, Dataset | IterableDataset):
            return self.collator.usable(dataset)
        return dataset

    def _precompute_ref_logps(self, dataset, name, batch_size):
        # TRL's `evaluate` calls this for a dataset that it is given, since `precompute_ref_logps` is set, to add two
        # columns. Nothing is to be added: `_pair_batch` computes them for each batch.
        return dataset

    def _compute_loss(self, model, inputs, return_outputs):
        # TRL's `compute_loss`, and with it `prediction_step`, ends here.
        with self.watching(model, inputs):
            return self._pair_loss(model, inputs, return_outputs)

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
        vectors = known = shared_vectors(self.base(self.model), inputs, replies=len(PAIR))
        if self.ref_model is not None:
            with torch.no_grad():
                known = shared_vectors(self.base(self.ref_model), inputs, replies=len(PAIR))
        elif any(tensor.requires_grad for tensor in vectors.values()):  # the reference has its own
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


def check_kinds(model, args, processing_class):
    """
    Makes sure that model, arguments and processor are what the trainer works with.

    Raises:
        `TypeError`: one of them is not; says what to give.
    """
    if not isinstance(args, EPOConfig):
        raise TypeError(f"args is a {type(args).__name__}: EPOTrainer takes an EPOConfig, which has TRL's fields too.")
    # Classes that came with a checkpoint from the Hub are others of the same name.
    if getattr(getattr(model, "config", None), "model_type", None) != EmpathAVConfig.model_type:
        raise TypeError(
            f"model is a {type(model).__name__}: give a loaded EmpathAVForCausalLM, with or without an adapter."
        )
    if getattr(processing_class, "av_token_id", None) is None:
        given = "missing" if processing_class is None else f"a {type(processing_class).__name__}"
        raise TypeError(
            f"processing_class is {given}: give the EmpathAVProcessor of the checkpoint, which reads clips."
        )


def first_rows(datasets, name: str) -> list[dict]:
    """
    The first row of a dataset, or of each of several by name.

    Raises:
        `ValueError`: one has no rows, or is none.
    """
    if datasets is None:
        return []
    if isinstance(datasets, dict):
        return [row for key, dataset in datasets.items() for row in first_rows(dataset, f"{name} {key}")]
    check_not_empty(datasets, name)
    if (row := next(iter(datasets), None)) is None:
        raise ValueError(f"{name} has no rows: give some, or leave it out.")
    return [row]
