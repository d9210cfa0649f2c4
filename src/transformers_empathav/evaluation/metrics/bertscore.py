"""BERTScore over a layer of any encoder, tokens unweighted, figures not rescaled."""

import datasets
import evaluate

from transformers_empathav.evaluation.embedding_metrics import BertScore


FEATURES = datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")})


class BertScoreMetric(evaluate.Metric):
    """BERTScore over a layer of any encoder, tokens unweighted, figures not rescaled."""

    def _info(self):
        return evaluate.MetricInfo(
            description=__doc__,
            citation="Zhang et al., 2020, arXiv 1904.09675",
            inputs_description="One reference for each prediction; model: directory or Hub id of an encoder.",
            features=FEATURES,
        )

    def _compute(self, predictions, references, model, layer=-1):
        found = BertScore(model, layer)(predictions, references)
        return {name: scores.figure() for name, scores in found.items()}
