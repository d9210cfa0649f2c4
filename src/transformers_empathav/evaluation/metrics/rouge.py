"""ROUGE-1, ROUGE-2 and ROUGE-L by rouge-score, words stemmed."""

import datasets
import evaluate

from transformers_empathav.evaluation.text_metrics import rouge


FEATURES = datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")})


class Rouge(evaluate.Metric):
    """ROUGE-1, ROUGE-2 and ROUGE-L by rouge-score, words stemmed."""

    def _info(self):
        return evaluate.MetricInfo(
            description=__doc__,
            citation="Lin, 2004, ACL W04-1013",
            inputs_description="One reference for each prediction.",
            features=FEATURES,
        )

    def _compute(self, predictions, references):
        found = rouge(predictions, references)
        return {name: scores.figure() for name, scores in found.items()}
