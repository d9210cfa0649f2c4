"""Progress that says how fast it goes and how long it still takes."""

from time import perf_counter

from transformers import TrainerCallback


class ThroughputCallback(TrainerCallback):
    """Adds tokens per second and the minutes left to every logged line."""

    def on_train_begin(self, args, state, control, **kwargs):
        self.started, self.first_step, self.first_tokens = (
            perf_counter(),
            state.global_step,
            state.num_input_tokens_seen,
        )

    def on_log(self, args, state, control, logs=None, **kwargs):
        steps = state.global_step - self.first_step
        if logs is None or not steps or "loss" not in logs:
            return
        elapsed = perf_counter() - self.started
        logs["minutes_left"] = round(elapsed / steps * (state.max_steps - state.global_step) / 60, 1)
        if state.num_input_tokens_seen:
            logs["tokens_per_second"] = round((state.num_input_tokens_seen - self.first_tokens) / elapsed)
