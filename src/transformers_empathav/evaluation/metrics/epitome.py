"""Diff-EPITOME: distance of the levels of empathy of prediction and reference, by a classifier a mechanism."""

import datasets
import evaluate

from transformers_empathav.evaluation.embedding_metrics import Epitome


FEATURES = datasets.Features({name: datasets.Value("string") for name in ("predictions", "references", "prompts")})


class EpitomeMetric(evaluate.Metric):
    """Diff-EPITOME: distance of the levels of empathy of prediction and reference, by a classifier a mechanism."""

    def _info(self):
        return evaluate.MetricInfo(
            description=__doc__,
            citation="Lee et al., 2022, COLING; Sharma et al., 2020, arXiv 2009.08441",
            inputs_description="A prompt and a reference for each prediction; models: a classifier by mechanism.",
            features=FEATURES,
        )

    def _compute(self, predictions, references, prompts, models):
        found = Epitome(models)(prompts, predictions, references)
        return {name: scores.figure() for name, scores in found.items()}
