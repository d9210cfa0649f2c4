"""Callbacks of every training: speed in the log, and an error where the loss is lost."""

import math
from time import perf_counter

from transformers import TrainerCallback


class DivergenceCallback(TrainerCallback):
    """
    Ends a training whose loss or gradient is not finite any more. Without it `transformers.Trainer` logs such a loss
    as 0, goes on to the last step and saves weights that are not numbers.

    Raises:
        `FloatingPointError`: names the step and what can be done.
    """

    def on_log(self, args, state, control, logs=None, **kwargs):
        # In float16 the first gradients overflow until the scale of the loss is found, so they are left out.
        watched = ("loss",) if args.fp16 else ("loss", "grad_norm")
        for name in watched:
            value = (logs or {}).get(name, 0.0)
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"{name} is {value} at step {state.global_step}: training has diverged, and what it would save is "
                    f"no model. Checkpoints in {args.output_dir} from before the last finite line of this log are "
                    "good: go on from one of them, or anew, with a lower learning_rate, with attn_implementation "
                    "eager in place of sdpa, or with llm_dtype float32 and bf16 false."
                )


class ThroughputCallback(TrainerCallback):
    """Adds `minutes_left`, and where tokens are counted `tokens_per_second`, to every logged line with a loss."""

    def on_train_begin(self, args, state, control, **kwargs):
        self.started, self.first_step, self.first_tokens = (
            perf_counter(),
            state.global_step,
            state.num_input_tokens_seen,
        )

    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs is None or "loss" not in logs:  # an evaluation, perhaps before any training
            return
        steps = state.global_step - self.first_step
        if not steps:
            return
        elapsed = perf_counter() - self.started
        logs["minutes_left"] = round(elapsed / steps * (state.max_steps - state.global_step) / 60, 1)
        if state.num_input_tokens_seen:
            logs["tokens_per_second"] = round((state.num_input_tokens_seen - self.first_tokens) / elapsed)


def with_own_callbacks(callbacks: list[TrainerCallback] | None) -> list[TrainerCallback]:
    """
    The callbacks of this file and then those that the user gave. Every trainer of this package hands them to
    `transformers.Trainer.__init__`: added later they would come after the one that prints, and never be seen.
    """
    return [ThroughputCallback(), DivergenceCallback(), *(callbacks or [])]
