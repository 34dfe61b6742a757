"""Metric regularization: decay by h = H theta, H the Hessian of the batch's loss, theta fixed in the product."""

from dataclasses import dataclass

from experiments.companions.curvature import LossOf, Parameters, product
from experiments.companions.updates.base import Update


@dataclass(frozen=True)
class Metric(Update):
    """theta -= rate |h| sign(theta), as run for all sets but CIFAR-10; signed: theta -= rate h, as printed.

    Attributes:
        signed: Whether as printed.
    """

    signed: bool = False

    def change(self, loss: LossOf, parameters: Parameters, gone: float) -> Parameters:
        """See `Update.change`."""
        # DEVIATION D39: the text prints h, the code takes |h| sign(theta).
        found = product(loss, parameters, parameters)
        if self.signed:
            return found
        return {name: found[name].abs() * value.sign() for name, value in parameters.items()}
