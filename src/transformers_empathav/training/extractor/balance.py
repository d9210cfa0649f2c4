"""Which clips are drawn in an epoch: corpora, their emotions and the speakers of each alike."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import torch

from ...data.speaker_splits import corpus_of


def balanced_shares(items: Sequence[dict], corpus_power: float = 1.0) -> torch.Tensor:
    r"""
    How large a share of what is drawn each clip should be. Within a corpus its emotions have equal shares, and within
    an emotion its speakers.

    Args:
        items (`list[dict]`): Labelled clips.
        corpus_power (`float`, *optional*, defaults to 1.0):
            1 gives corpora equal shares, 0 shares by their size, 0.5 by the square root of it.

    Returns:
        `torch.Tensor` of shape `(clips,)`: in float64, with a sum of 1.
    """
    keys = [
        (corpus_of(item), message["emotion"], message.get("speaker"))
        for item in items
        for message in item["messages"][-1:]
    ]
    sizes, emotions, speakers = Counter(key[0] for key in keys), defaultdict(set), defaultdict(set)
    for corpus, emotion, speaker in keys:
        emotions[corpus].add(emotion)
        speakers[corpus, emotion].add(speaker)
    clips, total = Counter(keys), sum(size ** (1 - corpus_power) for size in sizes.values())
    return torch.tensor(
        [
            sizes[key[0]] ** (1 - corpus_power) / (total * len(emotions[key[0]]) * len(speakers[key[:2]]) * clips[key])
            for key in keys
        ],
        dtype=torch.float64,
    )


def competing_labels(items: Sequence[dict], labels: Sequence[str]) -> torch.Tensor:
    """
    Which labels might have been the answer for each clip, `(clips, labels)`: those that its corpus has. A corpus
    without surprise, for example, does not teach that nobody is surprised. Labels that no corpus has compete
    everywhere, so that they are not recognised by chance.
    """
    known, everywhere = defaultdict(set), set(labels)
    for item in items:
        known[corpus_of(item)].add(item["messages"][-1]["emotion"])
    nowhere = everywhere.difference(*known.values())
    return torch.tensor([[label in known[corpus_of(item)] | nowhere for label in labels] for item in items])
