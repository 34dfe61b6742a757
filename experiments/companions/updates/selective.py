"""Selective L2: weights decay where the loss does not feel them, by h = H theta."""

from dataclasses import dataclass
from typing import Literal

import torch

from experiments.companions.curvature import LossOf, Parameters, product
from experiments.companions.updates.base import Update, compounded


@dataclass(frozen=True)
class Selective(Update):
    """theta -= rate k theta where |h| < omega max(h), in each tensor by itself.

    Attributes:
        omega: Share of the maximum.
        k: See `Decay`.
        threshold: Maximum of h with its sign, as run, so that nothing decays where all of h is below 0; or of |h|.
        inverted: Whether weights decay where |h| > omega max instead: the code for CIFAR-10, against the text.
        since: Share of the training before which all weights decay: L2 Stopped Selective.
        before: Rate of the decay before it, over `rate`: that one is L2's.
    """

    omega: float = 0.1
    k: float = 2.0
    threshold: Literal["signed_max", "abs_max"] = "signed_max"
    inverted: bool = False
    since: float = 0.0
    before: float = 1.0

    def stretched(self, decay: float, learning: float) -> float:
        """See `Update.stretched`: the decay of several steps compounds."""
        return compounded(self.rate, self.k, decay)

    def change(self, loss: LossOf, parameters: Parameters, gone: float) -> Parameters:
        """See `Update.change`."""
        if gone < self.since:
            return {name: self.before * self.k * value for name, value in parameters.items()}
        found = product(loss, parameters, parameters)
        return {name: self.k * value * self._chosen(found[name]) for name, value in parameters.items()}

    def _chosen(self, felt: torch.Tensor) -> torch.Tensor:
        # DEVIATION D41: the text does not say over what the maximum is.
        most = felt.abs().amax() if self.threshold == "abs_max" else felt.amax()
        edge = self.omega * most
        within = felt.abs() > edge if self.inverted else felt.abs() < edge
        return (within & (most > 0)).to(felt.dtype)


def before_tau(l2: float, selective: float, k: float, stretch: float, decay_stretch: float) -> float:
    """Give `Selective.before` for which weights decay before tau as they do by L2, in a training of fewer steps too.

    Args:
        l2: Its rate.
        selective: Rate after tau.
        k: See `Decay`.
        stretch: See `Training`.
        decay_stretch: See `Training`.
    """
    times = decay_stretch or stretch
    return l2 / selective if times == 1 else compounded(l2, k, times) / compounded(selective, k, times)
