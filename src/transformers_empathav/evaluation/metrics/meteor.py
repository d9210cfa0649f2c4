"""METEOR by nltk: words and stems, without synonyms."""

import datasets
import evaluate

from transformers_empathav.evaluation.text_metrics import meteor


FEATURES = datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")})


class Meteor(evaluate.Metric):
    """METEOR by nltk: words and stems, without synonyms."""

    def _info(self):
        return evaluate.MetricInfo(
            description=__doc__,
            citation="Banerjee and Lavie, 2005, ACL W05-0909",
            inputs_description="One reference for each prediction.",
            features=FEATURES,
        )

    def _compute(self, predictions, references):
        return {"meteor": meteor(predictions, references).figure()}
