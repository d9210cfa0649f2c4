"""The card of a trained adapter."""

from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData
from transformers import Trainer


HOW_TO_USE = """## How to use

```python
import transformers_empathav  # registers the classes
from transformers import AutoModelForCausalLM, AutoProcessor

model = AutoModelForCausalLM.from_pretrained("{name}")
processor = AutoProcessor.from_pretrained("{name}")
```
"""
LIMITS = """## What it cannot do

Research use. It may misread feelings and give wrong or harmful answers; it is no substitute for a person's help.
"""


def write_card(trainer: Trainer, method: str, summary: str):
    """
    Writes README.md into the output directory.

    Args:
        method (`str`): `sft` or `epo`.
        summary (`str`): A paragraph on how the adapter was trained.
    """
    arguments, state = trainer.args, trainer.state
    base = trainer.model.config._name_or_path
    name = arguments.hub_model_id or Path(arguments.output_dir).name
    last = {}
    for line in state.log_history:
        last |= {key: value for key, value in line.items() if isinstance(value, int | float)}
    skipped = ("epoch", "step", "total_flos", "minutes_left", "tokens_per_second")
    figures = "\n".join(f"| {key} | {value:.6g} |" for key, value in sorted(last.items()) if key not in skipped)
    data = ModelCardData(
        library_name="peft",
        pipeline_tag="text-generation",
        base_model=None if Path(base).is_dir() else base,
        tags=["empathav", "empathetic-dialogue", "audio-visual", "lora", method],
    )
    text = (
        f"---\n{data.to_yaml()}\n---\n\n# {name}\n\n{summary}\n\n"
        f"An adapter (LoRA) on the language model of `{base}`.\n\n{HOW_TO_USE.format(name=name)}\n"
        f"## Training\n\n{state.global_step} steps of {rows_of_a_step(trainer)} rows, learning rate "
        f"{arguments.learning_rate:g}, seed {arguments.seed}.\n\n"
        f"| last value logged | |\n| --- | --- |\n{figures}\n\n{LIMITS}"
    )
    Path(arguments.output_dir).mkdir(parents=True, exist_ok=True)
    ModelCard(text).save(Path(arguments.output_dir) / "README.md")


def rows_of_a_step(trainer: Trainer) -> int:
    """Rows of one update, of all processes."""
    arguments = trainer.args
    return arguments.train_batch_size * arguments.gradient_accumulation_steps * trainer.accelerator.num_processes
