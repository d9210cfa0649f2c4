"""A callback of every training: speed in the log."""

from time import perf_counter

from transformers import TrainerCallback


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
