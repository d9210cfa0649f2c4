"""The interval of a share."""

import math

import numpy as np
import pytest

from transformers_empathav.measures.shares import wilson


@pytest.mark.parametrize("wins, pairs", [(80, 100), (1, 3), (0, 10), (10, 10)])
def test_the_interval_of_a_share_is_wilsons_formula(wins, pairs):
    share, z = wins / pairs, 1.959963984540054
    centre = share + z**2 / (2 * pairs)
    width = z * math.sqrt(share * (1 - share) / pairs + z**2 / (4 * pairs**2))
    wanted = [(centre - width) / (1 + z**2 / pairs), (centre + width) / (1 + z**2 / pairs)]
    assert wilson(np.arange(pairs) < wins) == pytest.approx(wanted, abs=1e-9)
    assert wilson([]) == (0, 1)
