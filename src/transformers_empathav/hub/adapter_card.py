"""The card of a trained adapter, or of a model that was trained as a whole."""

from pathlib import Path

from transformers import Trainer

from .card import REPO_PLACEHOLDER, render_card, save_card


def write_card(trainer: Trainer, method: str, summary: str, rows_of_a_step: int, facts: dict | None = None):
    r"""
    Writes README.md into the output directory of a training. The trainer knows base, steps and figures; licence and
    data are for its maker to add, with `facts` or `empathav card`.

    Args:
        trainer (`Trainer`): After training, or in the middle of it.
        method (`str`): `"sft"` or `"epo"`, a tag of the card.
        summary (`str`): A paragraph on how the adapter was trained.
        rows_of_a_step (`int`): Rows of one update, of all processes.
        facts (`dict`, *optional*): Of [`read_facts`]; they go before what the trainer knows.
    """
    arguments, state, adapted = trainer.args, trainer.state, hasattr(trainer.model, "peft_config")
    if not adapted and not Path(arguments.output_dir, "config.json").is_file():
        return  # of a whole model there is something to tell once it is saved
    base = trainer.model.config._name_or_path
    repo_id = trainer.hub_model_id or arguments.hub_model_id
    last = {}
    for line in state.log_history:
        last |= {key: value for key, value in line.items() if isinstance(value, int | float)}
    skipped = ("epoch", "step", "total_flos", "minutes_left", "tokens_per_second")
    figures = "\n".join(f"| {key} | {value:.6g} |" for key, value in sorted(last.items()) if key not in skipped)
    known = {
        "template": "adapter" if adapted else "checkpoint",
        "name": (repo_id or Path(arguments.output_dir).name).rpartition("/")[2],
        "summary": summary,
        "base_model": None if Path(base).is_dir() else base,
        "training": (
            f"{state.global_step} steps of {rows_of_a_step} rows, learning rate "
            f"{arguments.learning_rate:g}, seed {arguments.seed}.\n\n| last value logged | |\n| --- | --- |\n{figures}"
        ),
        "repo_id": repo_id or REPO_PLACEHOLDER,
    }
    card = render_card(arguments.output_dir, **{**known, **(facts or {})})
    card.data.tags = [*card.data.tags, method]
    Path(arguments.output_dir).mkdir(parents=True, exist_ok=True)
    save_card(card, arguments.output_dir)
