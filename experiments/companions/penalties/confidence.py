"""The confidence penalty (Pereyra et al. 2017): low entropy of the probabilities costs."""

from dataclasses import dataclass
from typing import Literal

import torch

from experiments.companions.penalties.base import Penalty, View

FLOOR = 1e-6  # added to probabilities before the logarithm, by the author's code


@dataclass(frozen=True)
class Confidence(Penalty):
    """sum_i sum_k p_k log(p_k + 1e-6) over the samples of a batch, or its mean.

    Attributes:
        reduction: The author's code sums; with B samples a weight is then B times as much as on the mean.
    """

    reduction: Literal["sum", "mean"] = "sum"

    def value(self, view: View) -> torch.Tensor:
        """See `Penalty.value`."""
        # DEVIATION D38: the document gives no formula.
        p = view.answer.outputs.softmax(1)
        each = (p * (p + FLOOR).log()).sum(1)
        return each.sum() if self.reduction == "sum" else each.mean()
