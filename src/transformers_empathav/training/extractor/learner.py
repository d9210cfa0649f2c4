"""Training an extractor on labelled clips, once for each fold and choice, each time from the same start."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from transformers import EarlyStoppingCallback, set_seed

from ...checkpoint.trained_parts import load_part, part_file, renew_part, save_part, trained_tensors
from ...data.speaker_splits import check_disjoint, hold_out, speaker_of
from ...modeling.modeling_empathav import EmpathAVForCausalLM
from ...processing.processing_empathav import EmpathAVProcessor
from ..arguments import resume_from
from ..feature_cache import FeatureCache
from ..temperature import best_temperature, best_threshold, tempered
from .arguments import ExtractorArguments
from .balance import balanced_shares
from .dataset import EmotionCollator, EmotionDataset, fit_features
from .label_words import find_words
from .linear_start import start_as_regression
from .objective import EmotionTraining
from .trainer import EmotionTrainer


logger = logging.getLogger(__name__)


class ExtractorLearner:
    r"""
    Trains the extractor of a model again and again. Each training starts from the same weights, so it has seen none of
    the clips of another one.

    Args:
        model ([`EmpathAVForCausalLM`]): Its extractor is begun anew, or is the trained one that `start` names.
        processor ([`EmpathAVProcessor`]): Decodes clips.
        arguments ([`ExtractorArguments`]): Those of `start` and `clips` hold for all trainings.
    """

    def __init__(self, model: EmpathAVForCausalLM, processor: EmpathAVProcessor, arguments: ExtractorArguments):
        self.module = EmotionTraining(model)
        if arguments.start.extractor is not None:
            load_part(model, "extractor", arguments.start.extractor)
            if arguments.start.word_steps:
                logger.warning(f"word_steps is not used: {arguments.start.extractor} keeps what it has learned.")
        else:
            renew_part(model, "extractor", processor.tokenizer)
            model.config.pad_audio = arguments.start.pad_audio
            self.module.start_at_labels()
            find_words(self.module, arguments.start.word_steps, arguments.training)
        folder = None if arguments.clips.no_cache else arguments.clips.cache
        self.cache = FeatureCache(model.model.extractor, processor, folder, arguments.clips.disturbance)
        self.start_weights = {name: tensor.clone() for name, tensor in trained_tensors(model, "extractor").items()}

    def train(self, arguments: ExtractorArguments, items: list[dict]) -> EmotionTrainer:
        """
        Trains on labelled clips, from the start or where an interrupted training left off.

        Args:
            arguments ([`ExtractorArguments`]):
                How it learns. `dev_groups` of the speakers are held out, to stop early and to find the temperature of
                the probabilities and from which one on a reading is sure; both go into the configuration.
            items (`list[dict]`): The training side.

        Returns:
            [`EmotionTrainer`]: Trained. The next call changes its weights.
        """
        learning, held_out, training = arguments.learning, arguments.held_out, arguments.training
        labels, dev, callbacks = self.module.model.config.emotion_labels, None, []
        set_seed(training.seed)
        self.module.extractor.load_state_dict(self.start_weights, strict=False)
        config = self.module.model.config
        config.emotion_temperature, config.emotion_threshold = 1.0, 0.5
        self.module.modality_dropout, self.module.time_masking = learning.modality_dropout, learning.time_masking
        self.module.set_feature_dropout(learning.feature_dropout)
        if held_out.dev_groups:
            speakers = sorted({speaker_of(item) for item in items})
            every = max(len(speakers) // held_out.dev_groups, 1)
            items, dev = hold_out(items, speakers[::every][: held_out.dev_groups])
            check_disjoint(training=items, dev=dev)
            dev = EmotionDataset(dev, self.cache, labels)
            training = replace(
                training,
                eval_strategy=training.save_strategy.value,
                eval_steps=training.save_steps,
                eval_delay=max(training.eval_delay, learning.warmup_epochs),
                load_best_model_at_end=True,
                metric_for_best_model="uar",
                greater_is_better=True,
            )
            callbacks = [EarlyStoppingCallback(held_out.patience)]
        trainer = EmotionTrainer(
            model=self.module,
            args=training,
            train_dataset=EmotionDataset(items, self.cache, labels, learning.copies, listeners=learning.listeners),
            eval_dataset=dev,
            data_collator=EmotionCollator(self.module.model.config),
            callbacks=callbacks,
            class_weights=learning.class_weights,
            label_smoothing=learning.label_smoothing,
            warmup_epochs=learning.warmup_epochs,
            balance=learning.balance,
            absent_behind=learning.absent_behind,
        )
        voice = learning.voice_statistics(len(self.module.extractor.audio_mix.logits))
        fit_features(self.module.model, trainer.train_dataset, learning.statistics_gain, voice)
        if learning.linear_start:
            strength, balance = learning.linear_start, learning.balance
            behind = learning.absent_behind
            accuracy = start_as_regression(self.module, trainer.train_dataset, strength, balance, behind)
            logger.info(f"begins as a regression, accuracy {accuracy}")
        trainer.train(resume_from_checkpoint=resume_from(training))
        if dev is not None:
            alike, targets = balanced_shares(dev.items).numpy(), np.array(dev.targets)
            scores = trainer.scores(dev)
            config.emotion_temperature = best_temperature(targets, scores, alike)
            config.emotion_threshold = best_threshold(targets, tempered(scores, config.emotion_temperature), alike)
            found = f"temperature {config.emotion_temperature:.2f}, sure from {config.emotion_threshold:.2f} on"
            logger.info(f"{found}, by {len(dev)} clips of held-out speakers")
        return trainer

    def save(self, output_dir: str, dtype: torch.dtype | None = None):
        """Writes the extractor as it is now to `extractor.safetensors`, its weights in `dtype` where one is given."""
        save_part(self.module.model, "extractor", Path(output_dir) / part_file("extractor"), dtype)
