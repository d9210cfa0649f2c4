"""Words of a prediction, as white space parts them."""

import datasets
import evaluate

from transformers_empathav.evaluation.text_metrics import length


FEATURES = datasets.Features({"predictions": datasets.Value("string")})


class ReplyLength(evaluate.Metric):
    """Words of a prediction, as white space parts them."""

    def _info(self):
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            inputs_description="Predictions alone.",
            features=FEATURES,
        )

    def _compute(self, predictions):
        return {"words": length(predictions).figure()}
