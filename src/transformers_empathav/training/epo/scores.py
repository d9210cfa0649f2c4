"""What a policy prefers, pair by pair: accuracies with intervals, before training and after."""

import math

import numpy as np
import torch
from datasets import Dataset

from ..collator import PAIR
from .trainer import EPOTrainer


@torch.no_grad()
def pair_scores(trainer: EPOTrainer, dataset: Dataset) -> dict[str, np.ndarray]:
    r"""
    Log-probabilities of both replies of each pair.

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


def preference_summary(scores: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    r"""
    Shares of the pairs in which the chosen reply is preferred, each with a 95% interval (Wilson).

    Returns:
        `dict`: `reward`: by how much likelier than under the reference (before training all are tied, none counts);
        `likelihood`: by log-probability, in which short replies win; `likelihood_per_token`: by its mean.
    """
    by_token = [scores[name] / scores[f"{name}_tokens"] for name in PAIR]
    wins = {
        "reward": scores["chosen"] - scores["ref_chosen"] > scores["rejected"] - scores["ref_rejected"],
        "likelihood": scores["chosen"] > scores["rejected"],
        "likelihood_per_token": by_token[0] > by_token[1],
    }
    return {
        name: {"accuracy": float(won.mean()), "interval": wilson(int(won.sum()), len(won))}
        for name, won in wins.items()
    }


def wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Interval of a proportion (Wilson 1927), 95% by default."""
    share, shrink = successes / trials, 1 + z**2 / trials
    centre = (share + z**2 / (2 * trials)) / shrink
    width = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2)) / shrink
    return centre - width, centre + width
