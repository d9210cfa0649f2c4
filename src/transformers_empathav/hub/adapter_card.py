"""The card of a trained adapter."""

from pathlib import Path

from transformers import Trainer

from .card import REPO_PLACEHOLDER, render_card, save_card


def write_card(trainer: Trainer, method: str, summary: str, rows_of_a_step: int):
    r"""
    Writes README.md into the output directory of a training. The trainer knows base, steps and figures; licence and
    data are for its maker to add, with `empathav card`.

    Args:
        trainer (`Trainer`): After training, or in the middle of it.
        method (`str`): `"sft"` or `"epo"`, a tag of the card.
        summary (`str`): A paragraph on how the adapter was trained.
        rows_of_a_step (`int`): Rows of one update, of all processes.
    """
    arguments, state = trainer.args, trainer.state
    base = trainer.model.config._name_or_path
    last = {}
    for line in state.log_history:
        last |= {key: value for key, value in line.items() if isinstance(value, int | float)}
    skipped = ("epoch", "step", "total_flos", "minutes_left", "tokens_per_second")
    figures = "\n".join(f"| {key} | {value:.6g} |" for key, value in sorted(last.items()) if key not in skipped)
    card = render_card(
        arguments.output_dir,
        template="adapter",
        name=(arguments.hub_model_id or Path(arguments.output_dir).name).rpartition("/")[2],
        summary=summary,
        base_model=None if Path(base).is_dir() else base,
        training=(
            f"{state.global_step} steps of {rows_of_a_step} rows, learning rate "
            f"{arguments.learning_rate:g}, seed {arguments.seed}.\n\n| last value logged | |\n| --- | --- |\n{figures}"
        ),
        repo_id=arguments.hub_model_id or REPO_PLACEHOLDER,
    )
    card.data.tags = [*card.data.tags, method]
    Path(arguments.output_dir).mkdir(parents=True, exist_ok=True)
    save_card(card, arguments.output_dir)
