"""How the emotion of predictions compares to that of references, by a text classifier of the seven emotions."""

import datasets
import evaluate

from transformers_empathav.emotional_similarity import EMOTION_LABELS, EmotionScorer
from transformers_empathav.evaluation.embedding_metrics import emotion_metrics_of_replies


FEATURES = datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")})


class EmotionalSimilarity(evaluate.Metric):
    """How the emotion of predictions compares to that of references, by a text classifier of the seven emotions."""

    def _info(self):
        return evaluate.MetricInfo(
            description=__doc__,
            citation="arXiv 2412.17572",
            inputs_description="One reference for each prediction; model: classifier; labels: of references.",
            features=FEATURES,
        )

    def _compute(self, predictions, references, model, labels=None):
        labels = labels or [None] * len(predictions)
        indices = [None if label is None else EMOTION_LABELS.index(label) for label in labels]
        found = emotion_metrics_of_replies(predictions, references, indices, EmotionScorer(model))
        return {name: scores.figure() for name, scores in found.items()}
