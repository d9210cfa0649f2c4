"""Perplexity of the last message of conversations, with memory and clips as the model has them in use."""

import tempfile

import datasets
import evaluate

from transformers_empathav.evaluation.content_cache import ContentCache
from transformers_empathav.evaluation.gold_likelihood import gold_perplexity
from transformers_empathav.evaluation.systems import load_system


FEATURES = datasets.Features(
    {"predictions": [{"role": datasets.Value("string"), "content": datasets.Value("string")}]}
)


class Perplexity(evaluate.Metric):
    """Perplexity of the last message of conversations, with memory and clips as the model has them in use."""

    def _info(self):
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            inputs_description="Conversations whose last message is the reply; model: checkpoint or adapter; variant "
            "and recent_turns: what is seen of the history, see gold_perplexity.",
            features=FEATURES,
        )

    def _compute(self, predictions, model, variant="own", recent_turns=None):
        rows = [
            {"id": str(index), "prompt": messages[:-1], "completion": messages[-1:]}
            for index, messages in enumerate(predictions)
        ]
        with tempfile.TemporaryDirectory() as folder:
            cache = ContentCache(f"{folder}/cache.jsonl")
            scores = gold_perplexity(load_system("model", model), rows, cache, variant, recent_turns)
        return {"perplexity": scores.figure(), "tokens": int(scores.statistics[:, 1].sum())}
