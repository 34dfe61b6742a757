"""Sparse activations: the L1 norm of the hidden vectors."""

from dataclasses import dataclass

import torch

from experiments.companions.penalties.base import Penalty, View


@dataclass(frozen=True)
class ActivationL1(Penalty):
    """(1/B) sum_i |h_i|_1, h the vector before the head."""

    def value(self, view: View) -> torch.Tensor:
        """See `Penalty.value`."""
        return view.answer.hidden.abs().sum(1).mean()
