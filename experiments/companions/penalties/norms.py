"""Norms of the weights, biases left out: w^T w, whose gradient is 2 w, and |w|_1."""

from dataclasses import dataclass

import torch

from experiments.companions.optimizers import is_weight
from experiments.companions.penalties.base import Penalty, View


def weights(view: View) -> list[torch.Tensor]:
    """Give the weights of the layers."""
    return [value for name, value in view.parameters.items() if is_weight(name)]


@dataclass(frozen=True)
class L2(Penalty):
    """w^T w; torch's `weight_decay` of 2 lambda is the same in gradient descent."""

    def value(self, view: View) -> torch.Tensor:
        """See `Penalty.value`."""
        return torch.stack([each.square().sum() for each in weights(view)]).sum()


@dataclass(frozen=True)
class L1(Penalty):
    """|w|_1, with the subgradient 0 at 0."""

    def value(self, view: View) -> torch.Tensor:
        """See `Penalty.value`."""
        return torch.stack([each.abs().sum() for each in weights(view)]).sum()
