"""Corpus BLEU of sacrebleu with its signature."""

import datasets
import evaluate

from transformers_empathav.evaluation.text_metrics import bleu, bleu_signature


FEATURES = datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")})


class Bleu(evaluate.Metric):
    """Corpus BLEU of sacrebleu with its signature."""

    def _info(self):
        return evaluate.MetricInfo(
            description=__doc__,
            citation="Post, 2018, arXiv 1804.08771",
            inputs_description="One reference for each prediction.",
            features=FEATURES,
        )

    def _compute(self, predictions, references):
        return {"bleu": bleu(predictions, references).figure(), "signature": bleu_signature()}
