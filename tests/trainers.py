"""What trainings in tests share: settings, and a model of one number whose rows are numbers."""

import torch
from torch import nn


SETTINGS = {
    "use_cpu": True,
    "report_to": "none",
    "logging_steps": 1,
    "save_strategy": "no",
    "disable_tqdm": True,
    "remove_unused_columns": False,
}
ROWS = [{"id": f"row-{index}", "x": torch.tensor([1.0 + index])} for index in range(8)]


class Line(nn.Module):
    """A slope that is to become zero: its loss is the mean of `(slope * x)²`."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return {"loss": (self.slope * x).square().mean()}


def gather(rows: list[dict]) -> dict:
    """The batch of some rows, without their ids."""
    return {"x": torch.stack([row["x"] for row in rows])}
