"""The report of a cross-validation: what the linear models beside the extractor read."""

import numpy as np

from transformers_empathav.evaluation.clips.report import linear_inputs


def test_linear_models_read_layers_and_means():
    statistics = np.arange(2 * 5 * 6.0).reshape(2, 5, 6)  # rows, layers, three means and three spreads
    found = linear_inputs(statistics)
    assert list(found) == [*(f"layer {layer}" for layer in range(5)), "layers 2+3", "means of layers 1+2+3"]
    assert found["layer 4"][0].tolist() == [24, 25, 26, 27, 28, 29]
    assert found["layers 2+3"][0].tolist() == list(range(12, 24))
    assert found["means of layers 1+2+3"][0].tolist() == [6, 7, 8, 12, 13, 14, 18, 19, 20]
    assert list(linear_inputs(statistics[:, :3])) == ["layer 0", "layer 1", "layer 2"]
