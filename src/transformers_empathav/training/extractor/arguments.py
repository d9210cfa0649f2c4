"""What the recipe of the extractor is asked, grouped by idea."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from transformers import TrainingArguments

from ...data.clips.corpus import load_clip_corpus
from ...data.clips.cremad_ratings import read_cremad_ratings, with_listeners
from ...data.speaker_splits import corpus_of, speaker_of, take_of
from ..arguments import ModelArguments, resumes
from ..disturbance import Disturbance


@dataclass
class ClipArguments:
    """Which clips there are, and where their frozen features are kept."""

    corpora: list[str] = field(
        default_factory=lambda: ["ravdess_audio"],
        metadata={"help": "Labelled clips: folders, csv files or JSON lines; see data/clips/corpus.py."},
    )
    extra_corpora: list[str] = field(
        default_factory=list,
        metadata={"help": "Clips that join the training side alone; those of speakers who are tested on stay out."},
    )
    label_map: list[str] = field(
        default_factory=list,
        metadata={"help": "What to do with other labels: `calm=neutral` renames, `calm=` leaves such clips out."},
    )
    leave_out: list[str] = field(
        default_factory=list, metadata={"help": "Speakers of whom no clip is read, such as those of a demonstration."}
    )
    ratings: str | None = field(
        default=None, metadata={"help": "CREMA-D's summaryTable.csv: what listeners heard in each clip of it."}
    )
    ratings_by: Literal["voice", "face", "both"] = field(
        default="voice", metadata={"help": "What these listeners were given."}
    )
    cache: str = field(default="build/features", metadata={"help": "Folder of the frozen features."})
    no_cache: bool = field(default=False, metadata={"help": "Compute frozen features each time they are needed."})
    bands: list[float] = field(
        default_factory=list,
        metadata={"help": "Of disturbed copies nothing above one of these frequencies, in Hz, is left."},
    )
    max_gain: float = field(default=0.0, metadata={"help": "Disturbed copies are up to so many dB louder or quieter."})
    max_tilt: float = field(
        default=0.0, metadata={"help": "Disturbed copies are tilted by up to so many dB an octave."}
    )
    max_unreadable: float = field(default=0.01, metadata={"help": "Share of clips that may be unreadable."})

    def __post_init__(self):
        if wrong := [pair for pair in self.label_map if "=" not in pair]:
            raise ValueError(
                f"--label_map {wrong[0]} does not say what to do: {wrong[0]}=neutral renames the label, {wrong[0]}= "
                "leaves its clips out."
            )

    @property
    def disturbance(self) -> Disturbance:
        """Of the sound of disturbed copies."""
        bands = tuple(map(float, self.bands))
        return Disturbance(bands=bands, max_gain=float(self.max_gain), max_tilt=float(self.max_tilt))

    def load(self) -> tuple[list[dict], list[dict]]:
        """The labelled clips of `corpora`, and those of `extra_corpora`; each says its `"corpus"`."""
        label_map = {name: other or None for name, _, other in (pair.partition("=") for pair in self.label_map)}
        found = tuple(
            [{**item, "corpus": source} for source in sources for item in load_clip_corpus(source, label_map)]
            for sources in (self.corpora, self.extra_corpora)
        )
        if self.leave_out:
            known = {speaker_of(item) for items in found for item in items}
            if unknown := sorted(set(self.leave_out) - known):
                raise ValueError(
                    f"--leave_out {unknown[0]}: nobody is called so; speakers are {', '.join(sorted(known))}."
                )
            found = tuple([item for item in items if speaker_of(item) not in self.leave_out] for items in found)
        if self.ratings is None:
            return found
        ratings = read_cremad_ratings(self.ratings, self.ratings_by)
        return tuple(with_listeners(items, ratings) for items in found)


@dataclass
class HeldOutArguments:
    """Which clips are held out, to measure or to stop early."""

    split: Literal["speaker", "take", "corpus", "other corpora"] = field(
        default="speaker",
        metadata={
            "help": "What a fold holds out: speakers, takes (statement and repetition in RAVDESS), one corpus, or all "
            "corpora but one."
        },
    )
    folds: int = field(default=0, metadata={"help": "Folds of a cross-validation; 0 trains once, on everything."})
    dev_groups: int = field(
        default=0, metadata={"help": "Training speakers held out to stop early and keep the best."}
    )
    patience: int = field(default=4, metadata={"help": "Evaluations without a gain after which training stops."})
    baselines: bool = field(default=True, metadata={"help": "Whether the table of a cross-validation has baselines."})

    @property
    def group(self) -> Callable[[dict], str]:
        """What a fold holds out together: the speaker, the take or the corpus of a clip."""
        return {"speaker": speaker_of, "take": take_of}.get(self.split, corpus_of)


@dataclass
class StartArguments:
    """What the extractor starts from; the same for all folds."""

    extractor: str | None = field(default=None, metadata={"help": "Trained extractor to go on with; else begun anew."})
    pad_audio: bool = field(
        default=True,
        metadata={"help": "Whether Whisper reads clips in its window of 30 s, or the voice alone, which is quicker."},
    )
    word_steps: int = field(
        default=0,
        metadata={"help": "Steps that look for words which the LLM understands better than the labels; 160 do."},
    )


@dataclass
class LearningArguments:
    """How the extractor learns; a choice may change each of these."""

    copies: int = field(default=0, metadata={"help": "Disturbed copies of each clip, cached beside it."})
    modality_dropout: float = field(default=0.3, metadata={"help": "Share of clips that lose sound or frames."})
    time_masking: float = field(default=0.0, metadata={"help": "Longest hidden stretch of sound, share of the clip."})
    feature_dropout: float = field(default=0.0, metadata={"help": "Share of channels hidden in training."})
    statistics_gain: float = field(
        default=12.0, metadata={"help": "How fast the projection of statistics over time learns."}
    )
    voice_layers: list[int] = field(
        default_factory=list,
        metadata={"help": "Layers whose statistics over time are read, counted from 0; else all."},
    )
    voice_spread: bool = field(
        default=True, metadata={"help": "Whether the standard deviation over time is read, or the mean alone."}
    )
    label_smoothing: float = field(default=0.1, metadata={"help": "Share of the target spread over all labels."})
    class_weights: bool = field(default=True, metadata={"help": "Whether rare emotions weigh more."})
    balance: float | None = field(
        default=None,
        metadata={
            "help": "Draws emotions and speakers of a corpus alike, and corpora alike (1), by their size (0), or "
            "between. Set class_weights to false with it."
        },
    )
    absent_behind: float = field(
        default=float("inf"),
        metadata={
            "help": "How far behind, in log-odds, emotions are in training that a clip's corpus does not have: inf "
            "leaves them out, 0 lets them compete."
        },
    )
    listeners: float = field(
        default=0.0, metadata={"help": "Share of the target that goes to what listeners heard; needs ratings."}
    )
    warmup_epochs: float = field(
        default=0.0, metadata={"help": "Epochs towards the embeddings of the labels, before the LLM is asked."}
    )
    linear_start: float = field(
        default=0.0,
        metadata={"help": "C of the regression that training begins as, shared by inputs; 0 for none."},
    )

    def voice_statistics(self, layers: int) -> torch.Tensor:
        """
        True for what is read of a voice, `(layers, 2)`: mean and standard deviation over time of each of `layers`.

        Raises:
            `ValueError`: the encoder has no such layer.
        """
        if wrong := [layer for layer in self.voice_layers if not 0 <= layer < layers]:
            raise ValueError(f"voice_layers names layer {wrong[0]}, and the audio encoder has 0 to {layers - 1}.")
        read = torch.zeros(layers, 2, dtype=torch.bool)
        read[self.voice_layers or slice(None), : 2 if self.voice_spread else 1] = True
        return read


@dataclass
class ChoiceArguments:
    """Files of settings to choose from, and how the choice is made."""

    choose_from: list[str] = field(
        default_factory=list,
        metadata={"help": "YAML files of settings; each training takes those that serve its training speakers best."},
    )
    choice_folds: int = field(default=2, metadata={"help": "Folds of the training speakers by which it is made."})


@dataclass
class ExtractorArguments:
    """
    All arguments of the recipe, by group; [`parse_groups`] reads them.

    Raises:
        `ValueError`: two of them contradict each other.
    """

    model: ModelArguments
    clips: ClipArguments
    held_out: HeldOutArguments
    start: StartArguments
    learning: LearningArguments
    choice: ChoiceArguments
    training: TrainingArguments

    def __post_init__(self):
        resumed = self.training.resume_from_checkpoint
        if self.held_out.folds and resumes(self.training) and resumed not in (True, "true", "True"):
            raise ValueError(
                f"resume_from_checkpoint names {resumed}, and each of the {self.held_out.folds} folds has checkpoints "
                "of its own: say true."
            )
        if self.learning.listeners and self.clips.ratings is None:
            raise ValueError("listeners gives a share of the target to what was heard: name the table with ratings.")
        if self.held_out.dev_groups and self.training.save_strategy == "no":
            raise ValueError(
                "dev_groups keeps the best checkpoint, and with save_strategy no there is none: set it to epoch."
            )

    def within(self, folder: str) -> "ExtractorArguments":
        """These arguments for a training that writes into `folder` below the output directory."""
        output_dir = str(Path(self.training.output_dir) / folder)
        return replace(self, training=replace(self.training, output_dir=output_dir))
