"""Weight decay on all parameters, for the whole training or until a share of it."""

from dataclasses import dataclass

from experiments.companions.curvature import LossOf, Parameters
from experiments.companions.updates.base import Update, compounded, nothing


@dataclass(frozen=True)
class Decay(Update):
    """theta -= rate k theta: the dissertation's L2, and L2 Stopped.

    Attributes:
        k: 2 where theta^T theta is differentiated; the norms printed for XOR fit 1.
        until: Share of the training after which there is none.
    """

    k: float = 2.0
    until: float = 1.0

    def stretched(self, decay: float, learning: float) -> float:
        """See `Update.stretched`: the decay of several steps compounds."""
        return compounded(self.rate, self.k, decay)

    def change(self, loss: LossOf, parameters: Parameters, gone: float) -> Parameters:
        """See `Update.change`."""
        if gone >= self.until:
            return nothing(parameters)
        return {name: self.k * value for name, value in parameters.items()}
