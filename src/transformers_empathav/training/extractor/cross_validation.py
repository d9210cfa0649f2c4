"""Folds of labelled clips, and the recall of an extractor over them."""

import logging
from collections.abc import Callable, Iterator

import numpy as np

from ...data.speaker_splits import check_disjoint, group_folds, hold_out, speaker_of
from ...measures.recognition import emotion_metrics
from .arguments import ExtractorArguments
from .dataset import EmotionDataset
from .learner import ExtractorLearner


logger = logging.getLogger(__name__)


def check_groups(items: list[dict], extra: list[dict], arguments: ExtractorArguments):
    """
    Makes sure that the speakers of the clips suffice for what `arguments` hold out. Call it before any work.

    Raises:
        `ValueError`: names what cannot be held out.
    """
    held_out = arguments.held_out
    sides = [items + extra]
    if held_out.folds:
        sides = [kept for kept, _ in folds_with_extra(items, extra, held_out.folds, held_out.group)]
    for side in sides:
        if arguments.choice.choose_from:
            group_folds(side, arguments.choice.choice_folds)
        if held_out.dev_groups and held_out.dev_groups >= (speakers := len(set(map(speaker_of, side)))):
            raise ValueError(
                f"dev_groups holds out {held_out.dev_groups} speakers and a training side has {speakers}: hold out "
                "fewer, so that some are left to train on."
            )


def folds_with_extra(
    items: list[dict], extra: list[dict], folds: int, group: Callable[[dict], str]
) -> Iterator[tuple[list[dict], list[dict]]]:
    r"""
    Training side and test side of each fold. No group is on both, and every clip is tested once.

    Args:
        items (`list[dict]`): Labelled clips.
        extra (`list[dict]`): Further clips for the training sides, each without the speakers of its test side.
        folds (`int`): How many.
        group (`Callable`): What of a clip is held out together.
    """
    for fold, held_out in enumerate(group_folds(items, folds, group)):
        kept, test = hold_out(items, held_out, group)
        check_disjoint(group, training=kept, test=test)
        tested = {speaker_of(item) for item in test}
        joining = [item for item in extra if speaker_of(item) not in tested]
        if len(joining) < len(extra):
            logger.info(f"fold {fold}: {len(extra) - len(joining)} extra clips are of tested speakers and stay out")
        yield kept + joining, test


def cross_validated_recall(
    learner: ExtractorLearner, arguments: ExtractorArguments, items: list[dict], folds: int
) -> float:
    """
    UAR pooled over `folds` trainings on `items`, each tested on the speakers that it was not trained on.
    """
    targets, scores = [], []
    for held_out in group_folds(items, folds):
        kept, test = hold_out(items, held_out)
        trainer = learner.train(arguments, kept)
        test = EmotionDataset(test, learner.cache, learner.module.model.config.emotion_labels)
        targets.extend(test.targets)
        scores.append(trainer.scores(test))
    return emotion_metrics(np.array(targets), np.concatenate(scores))["uar"]
