"""Which reply a policy prefers, pair by pair: accuracies with intervals, before training and after."""

import numpy as np
import torch
from datasets import Dataset

from ...measures.shares import wilson
from ..collator import PAIR
from .trainer import EPOTrainer


def preferences(trainer: EPOTrainer) -> dict[str, dict]:
    """[`preference_summary`] of each of the trainer's sets of held-out pairs, by name."""
    return {name: preference_summary(pair_scores(trainer, pairs)) for name, pairs in trainer.eval_dataset.items()}


@torch.no_grad()
def pair_scores(trainer: EPOTrainer, dataset: Dataset) -> dict[str, np.ndarray]:
    r"""
    Log-probabilities of both replies of each pair, under the policy as it is now and under the reference.

    Returns:
        `dict`: `chosen`, `rejected`, `ref_chosen`, `ref_rejected` (summed over tokens) and `chosen_tokens`,
        `rejected_tokens`, each `(pairs,)` in the order of the dataset.
    """
    training, found = trainer.model.training, []
    trainer.model.eval()
    for batch in trainer.get_eval_dataloader(dataset):
        scores = trainer.log_probs_of(trainer._prepare_inputs(batch))
        found.append({name: trainer.accelerator.gather_for_metrics(values).cpu() for name, values in scores.items()})
    trainer.model.train(training)
    return {name: torch.cat([scores[name] for scores in found]).double().numpy() for name in found[0]}


def preference_summary(scores: dict[str, np.ndarray]) -> dict[str, dict]:
    r"""
    Shares of the pairs in which the chosen reply is preferred.

    Args:
        scores (`dict[str, np.ndarray]`): Of [`pair_scores`].

    Returns:
        `dict`: for each sense of "preferred" its `accuracy` and its 95% `interval` (Wilson). `reward`: by how much
        likelier than under the reference; before training all pairs are tied, and none counts. `likelihood`: by
        log-probability, which favours short replies. `likelihood_per_token`: by its mean over tokens.
    """
    by_token = [scores[name] / scores[f"{name}_tokens"] for name in PAIR]
    wins = {
        "reward": scores["chosen"] - scores["ref_chosen"] > scores["rejected"] - scores["ref_rejected"],
        "likelihood": scores["chosen"] > scores["rejected"],
        "likelihood_per_token": by_token[0] > by_token[1],
    }
    return {name: {"accuracy": float(won.mean()), "interval": wilson(won)} for name, won in wins.items()}
