"""
What matters in the training of the compressor: short runs that differ from a base in one thing each.

    accelerate launch --cpu benchmarks/ablate_compressor.py

Each run spells, then reconstructs single utterances of MELD and EmpatheticDialogues (the folder that EMPATHAV_DATA
names), always with the same seed, order and number of steps, and is measured on MELD dev. They are far too short to
give good memories: they show which choice learns faster. The last line is one line of JSON.
"""

import json
from dataclasses import dataclass, field, replace
from tempfile import TemporaryDirectory

import torch
from transformers import TrainingArguments
from trl import TrlParser

from transformers_empathav import EmpathAVForCausalLM, EmpathAVProcessor, MambaCompressor
from transformers_empathav.data.dialogues.corpus import load_corpus
from transformers_empathav.data.dialogues.windows import windows
from transformers_empathav.modeling.layers_empathav import EmbeddingProjection
from transformers_empathav.training.arguments import ModelArguments
from transformers_empathav.training.compressor.collator import ReconstructionCollator
from transformers_empathav.training.compressor.reconstruction import Reconstruction
from transformers_empathav.training.compressor.spelling import Spelling
from transformers_empathav.training.compressor.trainer import CompressorTrainer


@dataclass(frozen=True)
class Variant:
    """A run: vectors an utterance, layers, learning rate, and whether vectors are scaled to the embeddings' norm."""

    k: int = 4
    layers: int = 4
    learning_rate: float = 1.5e-3  # through the language model; spelling has 4/3 of it
    norm_scaling: bool = True


BASE = Variant()
VARIANTS = {
    "base": BASE,
    "k = 2": replace(BASE, k=2),
    "k = 1": replace(BASE, k=1),
    "2 layers": replace(BASE, layers=2),
    "learning rate / 3": replace(BASE, learning_rate=5e-4),
    "vectors not scaled to the embeddings' norm": replace(BASE, norm_scaling=False),
}


@dataclass
class ScriptArguments:
    checkpoint: str = field(default="build/smollm2-135m", metadata={"help": "Whose parts are taken."})
    spelling_steps: int = field(default=300, metadata={"help": "Steps without the language model."})
    steps: int = field(default=50, metadata={"help": "Steps through it."})
    batch: int = field(default=32, metadata={"help": "Utterances a step."})
    eval_windows: int = field(default=64, metadata={"help": "Dev utterances."})
    variants: list[str] = field(default_factory=lambda: list(VARIANTS), metadata={"help": "Which runs."})

    def __post_init__(self):
        if unknown := [name for name in self.variants if name not in VARIANTS]:
            raise ValueError(f"There is no run called {unknown[0]!r}: take {', '.join(map(repr, VARIANTS))}.")


def main(script: ScriptArguments):
    conversations = [item for name in ("meld", "empathetic_dialogues") for item in load_corpus(name, "train")]
    train, dev = windows(conversations, 1), windows(load_corpus("meld", "dev"), 1)[: script.eval_windows]
    results = {}
    for name in script.variants:
        results[name] = run(VARIANTS[name], script, train, dev)
        print(f"{name:45s} " + "  ".join(f"{key} {value:.3f}" for key, value in results[name].items()), flush=True)
    print(json.dumps({"spelling_steps": script.spelling_steps, "steps": script.steps, "runs": results}))


def run(variant: Variant, script: ScriptArguments, train, dev) -> dict[str, float]:
    """Trains a compressor of the variant and measures it on `dev`."""
    torch.manual_seed(0)
    model, processor = ModelArguments(script.checkpoint, "bfloat16", "eager").load()
    fresh_compressor(model, processor, variant)
    collate = ReconstructionCollator(processor)
    with TemporaryDirectory() as folder:
        lessons = (
            (Spelling, variant.learning_rate * 4 / 3, script.spelling_steps),
            (Reconstruction, variant.learning_rate, script.steps),
        )
        for lesson, rate, steps in lessons:
            trainer = CompressorTrainer(lesson(model), arguments(folder, script, rate, steps), collate, train, dev)
            trainer.train()
        metrics = trainer.evaluate()
    return {key: round(metrics[f"eval_{key}"], 3) for key in ("none", "other", "own", "accuracy")}


def fresh_compressor(model: EmpathAVForCausalLM, processor: EmpathAVProcessor, variant: Variant):
    """Puts an untrained compressor of the variant into the model."""
    config = model.config
    config.memory_tokens_per_utterance = processor.memory_tokens_per_utterance = variant.k
    config.compressor_config.num_hidden_layers = variant.layers
    anchor_id = processor.tokenizer(",", add_special_tokens=False)["input_ids"][-1]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        compressor = MambaCompressor(config).float()
    compressor.fit_to(model.get_input_embeddings().weight, anchor_id)
    compressor.open()
    if not variant.norm_scaling:
        compressor.embedding_projection.__class__ = UnscaledProjection
    model.model.compressor = compressor


class UnscaledProjection(EmbeddingProjection):
    """[`EmbeddingProjection`] without the rescaling to the norm of the language model's embeddings."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return (self.anchor + self.linear(features)) * self.scale


def arguments(folder: str, script: ScriptArguments, learning_rate: float, steps: int) -> TrainingArguments:
    return TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=script.batch,
        learning_rate=learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=10,
        max_steps=steps,
        weight_decay=0.01,
        adam_beta2=0.98,
        bf16=True,
        use_cpu=not torch.cuda.is_available(),
        remove_unused_columns=False,
        disable_tqdm=True,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        seed=0,
    )


if __name__ == "__main__":
    main(*TrlParser((ScriptArguments,)).parse_args_and_config())
