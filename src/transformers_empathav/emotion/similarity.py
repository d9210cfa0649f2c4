r"""
How far two replies are apart: in emotion, and in what they are about.

**Emotional similarity** is the cosine of two emotion distributions, those that a text classifier gives to the replies;
emotional distance is one minus it. Distributions have no negative entries, so it lies between 0 (no emotion in common)
and 1. **Contextual similarity** is the cosine of two sentence embeddings, between -1 and 1.

Both read the words alone. The classifier errs, most of all on short replies and irony; where it is unsure of both
replies, both distributions are flat and the replies count as similar. A sentence embedding knows topic better than
attitude, yet holds some of it: a furious reply is also a little further from a kind one in context.
"""

import numpy as np


def cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """
    Cosine of the rows of two arrays `(..., width)` that broadcast: emotional similarity of distributions, contextual
    similarity of embeddings.
    """
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return np.sum(first * second, axis=-1) / np.maximum(lengths, 1e-12)


def emotional_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """One minus the cosine of emotion distributions `(..., 7)`: 0 for the same, 1 for nothing in common."""
    return 1 - cosine(first, second)
