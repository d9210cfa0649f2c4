"""Cosine of the sentence embeddings of each prediction and its reference."""

import datasets
import evaluate

from transformers_empathav.emotional_similarity import SentenceEmbedder
from transformers_empathav.evaluation.embedding_metrics import embedding_similarity


FEATURES = datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")})


class EmbeddingSimilarity(evaluate.Metric):
    """Cosine of the sentence embeddings of each prediction and its reference."""

    def _info(self):
        return evaluate.MetricInfo(
            description=__doc__,
            citation="Reimers and Gurevych, 2019, arXiv 1908.10084",
            inputs_description="One reference for each prediction; model: sentence encoder, MiniLM by default.",
            features=FEATURES,
        )

    def _compute(self, predictions, references, model=None):
        scores = embedding_similarity(predictions, references, SentenceEmbedder(model))
        return {"embedding_similarity": scores.figure()}
