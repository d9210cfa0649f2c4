r"""
How alike two replies are: in emotion, and in what they are about.

**Emotional similarity** is the cosine of the emotion distributions that a text classifier gives to two replies. It
lies between 0 (no emotion in common) and 1, and emotional distance is one minus it. **Contextual similarity** is the
cosine of two sentence embeddings, between -1 and 1.

Both read the words alone. The classifier errs, most of all on short replies and irony. Where it is unsure of both
replies, both distributions are flat and the replies count as similar. A sentence embedding mostly encodes the topic,
but some attitude too: a furious reply is also a little further from a kind one in context.
"""

import numpy as np


def cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """
    Cosine of the rows of two arrays `(..., width)`, which broadcast. It is the emotional similarity of distributions
    and the contextual similarity of embeddings.
    """
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return np.sum(first * second, axis=-1) / np.maximum(lengths, 1e-12)


def emotional_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """One minus the cosine of emotion distributions `(..., 7)`: 0 for the same, 1 for nothing in common."""
    return 1 - cosine(first, second)
