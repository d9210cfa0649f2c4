"""Folds of labelled clips, and the recall of an extractor over them."""

import logging
from collections.abc import Iterator

import numpy as np

from ...data.speaker_splits import check_disjoint, corpus_of, group_folds, hold_out, speaker_of
from ...measures.recognition import emotion_metrics
from .arguments import ExtractorArguments, HeldOutArguments
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
        sides = [kept for kept, _ in folds_with_extra(items, extra, held_out)]
    for side in sides:
        if arguments.choice.choose_from:
            group_folds(side, arguments.choice.choice_folds)
        if held_out.dev_groups and held_out.dev_groups >= (speakers := len(set(map(speaker_of, side)))):
            raise ValueError(
                f"dev_groups holds out {held_out.dev_groups} speakers and a training side has {speakers}: hold out "
                "fewer, so that some are left to train on."
            )


def folds_with_extra(
    items: list[dict], extra: list[dict], held_out: HeldOutArguments
) -> Iterator[tuple[list[dict], list[dict]]]:
    r"""
    Training side and test side of each fold. No group is on both, and every clip is tested once; with `"other
    corpora"` a fold trains on what it would hold out, and tests on all the rest.

    Args:
        items (`list[dict]`): Labelled clips.
        extra (`list[dict]`): Further clips for the training sides, each without the speakers of its test side.
        held_out ([`HeldOutArguments`]): How many folds, and what of a clip is held out together.
    """
    group = held_out.group
    for fold, names in enumerate(group_folds(items, held_out.folds, group)):
        kept, test = hold_out(items, names, group)
        if held_out.split == "other corpora":
            kept, test = test, kept
        check_disjoint(group, training=kept, test=test)
        tested = {speaker_of(item) for item in test}
        if group is corpus_of:  # one person may speak in two of them
            joining, kept = kept + extra, []
        else:
            joining = extra
        others = [item for item in joining if speaker_of(item) not in tested]
        if len(others) < len(joining):
            logger.info(f"fold {fold}: {len(joining) - len(others)} further clips are of tested speakers and stay out")
        yield kept + others, test


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
