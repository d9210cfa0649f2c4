"""Distinct-n: different n-grams over all n-grams of all predictions together."""

import datasets
import evaluate

from transformers_empathav.evaluation.text_metrics import Distinct


FEATURES = datasets.Features({"predictions": datasets.Value("string")})


class DistinctN(evaluate.Metric):
    """Distinct-n: different n-grams over all n-grams of all predictions together."""

    def _info(self):
        return evaluate.MetricInfo(
            description=__doc__,
            citation="Li et al., 2016, arXiv 1510.03055",
            inputs_description="Predictions alone; n: words in an n-gram, 1 and 2 by default.",
            features=FEATURES,
        )

    def _compute(self, predictions, n=(1, 2)):
        return {f"distinct_{size}": Distinct(predictions, size).figure() for size in n}
