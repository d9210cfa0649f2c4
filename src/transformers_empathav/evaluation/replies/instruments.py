"""The models that measure replies, by options of the recipe."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ...data.replies import text_of
from ...emotion.sentence_embedder import SentenceEmbedder
from ...emotion.text_classifier import EmotionScorer
from ...measures.bertscore import BertScore
from ...measures.epitome import Epitome
from ...measures.replies import Instruments
from ...measures.specificity import ReplyLikelihood
from ...modeling.configuration_empathav import EMOTION_LABELS
from ..content_cache import ContentCache, content_key
from .systems import parse_pair, weights_digest


@dataclass
class InstrumentArguments:
    """Options of [`load_instruments`]."""

    emotion_scorers: list[str] = field(
        default_factory=list, metadata={"help": "name=classifier, or name=emotion_scorer.safetensors; several."}
    )
    embedder: str | None = field(default=None, metadata={"help": "Sentence encoder; all-MiniLM-L6-v2 by default."})
    bertscore: str | None = field(default=None, metadata={"help": "Encoder for BERTScore; none by default."})
    epitome: list[str] = field(
        default_factory=list,
        metadata={"help": "emotional_reactions=..., interpretations=..., explorations=...: classifiers."},
    )
    likelihood: str | None = field(
        default=None, metadata={"help": "Language model for specificity, none that is compared; none by default."}
    )
    specificity_contexts: int | None = field(
        default=None, metadata={"help": "Replies of each system that specificity is measured of; all by default."}
    )
    specificity_choices: int = field(
        default=20, metadata={"help": "Contexts that each of them is held against, with its own."}
    )


class Remembered:
    """A function of texts to rows of numbers, such as a scorer, that reads each text once."""

    def __init__(self, function: Callable[[list[str]], np.ndarray]):
        self.function, self.rows = function, {}

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        if new := [text for text in dict.fromkeys(texts) if text not in self.rows]:
            self.rows |= dict(zip(new, self.function(new)))
        return np.array([self.rows[text] for text in texts])


class CachedLikelihood:
    r"""
    A [`ReplyLikelihood`] whose figures are kept on disk.

    Args:
        likelihood ([`ReplyLikelihood`]): Measures what is missing.
        digest (`str`): Of its weights.
        cache ([`ContentCache`]): Where figures are kept.
    """

    def __init__(self, likelihood: ReplyLikelihood, digest: str, cache: ContentCache):
        self.likelihood, self.digest, self.cache = likelihood, digest, cache

    def __call__(
        self, prompts: Sequence[list[dict]], replies: Sequence[str], pairs: Sequence[tuple[int, int]]
    ) -> np.ndarray:
        said = [[[message["role"], text_of(message)] for message in prompt] for prompt in prompts]
        keys = [content_key("likelihood", self.digest, said[prompt], replies[reply]) for prompt, reply in pairs]
        of_prompt = defaultdict(list)
        for place, (prompt, _) in enumerate(pairs):
            of_prompt[prompt].append(place)
        # All replies to a prompt are read anew where one is missing, so that batches are the same after a kill.
        for places in tqdm(of_prompt.values(), desc="likelihoods", mininterval=1.0):
            if any(keys[place] not in self.cache for place in places):
                found = self.likelihood(prompts, replies, [pairs[place] for place in places]).tolist()
                self.cache.add({keys[place]: value for place, value in zip(places, found)})
        return np.array([self.cache[key] for key in keys])


def load_instruments(
    arguments: InstrumentArguments, cache: ContentCache | None = None
) -> tuple[Instruments, dict[str, dict]]:
    r"""
    Loads the models that measure.

    Args:
        arguments ([`InstrumentArguments`]): Which ones.
        cache ([`ContentCache`], *optional*): Where likelihoods are kept.

    Returns:
        `tuple`: the instruments, and for results.json the name and digest of the weights of each.
    """
    scorers = {name: EmotionScorer(source) for name, source in map(parse_pair, arguments.emotion_scorers)}
    embedder = SentenceEmbedder(arguments.embedder)
    models = {f"emotion scorer {name}": scorer.model for name, scorer in scorers.items()}
    models["sentence embedder"] = embedder.model
    bertscore = None if arguments.bertscore is None else BertScore(arguments.bertscore)
    if bertscore is not None:
        models["BERTScore, last layer"] = bertscore.model
    epitome = Epitome(dict(map(parse_pair, arguments.epitome))) if arguments.epitome else None
    if epitome is not None:
        models |= {f"EPITOME {name}": model for name, (model, _) in epitome.parts.items()}
    likelihood = None if arguments.likelihood is None else ReplyLikelihood(arguments.likelihood)
    if likelihood is not None:
        models["likelihood"] = likelihood.model
    described = {
        name: {"model": Path(model.config._name_or_path).name, "digest": weights_digest(model)}
        for name, model in models.items()
    }
    if likelihood is not None and cache is not None:
        likelihood = CachedLikelihood(likelihood, described["likelihood"]["digest"], cache)
    return Instruments(
        EMOTION_LABELS,
        {name: Remembered(scorer) for name, scorer in scorers.items()},
        Remembered(embedder),
        bertscore,
        epitome,
        likelihood,
        arguments.specificity_contexts,
        arguments.specificity_choices,
    ), described
