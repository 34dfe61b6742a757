"""Double backpropagation (Drucker & LeCun 1992): the squared gradient of each sample's loss by its input."""

from dataclasses import dataclass

import torch
from torch.func import grad

from experiments.companions.penalties.base import Penalty, View, squared_norms


@dataclass(frozen=True)
class DoubleBack(Penalty):
    """(1/B) sum_i |d L_i / d x_i|^2, through the loss' own pass.

    The derivative is of the sum over the batch: of its mean it would be a B-th, and the term 1/B^2 of this one. With
    batch normalization the loss of a sample feels the others' inputs too, and so does the derivative.
    """

    def value(self, view: View) -> torch.Tensor:
        """See `Penalty.value`."""
        slope = grad(lambda x: view.loss.each(view.logits(x), view.y).sum())(view.x)
        return squared_norms(slope).mean()
