import numpy as np

from transformers_empathav.evaluation.clips.plots import plot_confusion, plot_robustness


def test_plots_are_pictures(tmp_path):
    plot_confusion(np.eye(3, dtype=int), ["a", "b", "c"], tmp_path / "a.png")
    plot_robustness({"noise": {"20 dB": 0.7, "0 dB": 0.4}, "no face": {"all": 0.5}}, tmp_path / "b.png")
    for name in ("a.png", "b.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
