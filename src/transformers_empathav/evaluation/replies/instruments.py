"""The models that measure replies, by options of the recipe."""

from dataclasses import dataclass, field
from pathlib import Path

from ...emotion.sentence_embedder import SentenceEmbedder
from ...emotion.text_classifier import EmotionScorer
from ...measures.bertscore import BertScore
from ...measures.epitome import Epitome
from ...measures.replies import Instruments
from ...modeling.configuration_empathav import EMOTION_LABELS
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


def load_instruments(arguments: InstrumentArguments) -> tuple[Instruments, dict[str, dict]]:
    """Loads the models that measure. Gives them, and for results.json the name and digest of the weights of each."""
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
    described = {
        name: {"model": Path(model.config._name_or_path).name, "digest": weights_digest(model)}
        for name, model in models.items()
    }
    return Instruments(EMOTION_LABELS, scorers, embedder, bertscore, epitome), described
