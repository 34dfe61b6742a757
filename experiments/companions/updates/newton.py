"""Damped Newton: (H + damping I)^-1 g, by the dense matrix or by conjugate gradients."""

from dataclasses import dataclass

import torch
from torch.func import grad

from experiments.companions.curvature import LossOf, Parameters, dense, flattened, product, shaped
from experiments.companions.updates.base import Update


@dataclass(frozen=True)
class Newton(Update):
    """The dense solve; one step to the minimum of a quadratic, for networks of some 2,000 parameters.

    Attributes:
        damping: Added to the diagonal; large, it is gradient descent at the rate 1 / damping.
    """

    damping: float = 1e-3

    def change(self, loss: LossOf, parameters: Parameters, gone: float) -> Parameters:
        """See `Update.change`."""
        matrix = dense(loss, parameters)
        damped = matrix + self.damping * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
        step = torch.linalg.solve(damped, flattened(grad(loss)(parameters)))
        return shaped(step, parameters)


@dataclass(frozen=True)
class HessianFree(Update):
    """The same by conjugate gradients: only products H v are needed (Martens 2010).

    Attributes:
        damping: Added to the diagonal.
        iterations: Of conjugate gradients.
    """

    damping: float = 1e-3
    iterations: int = 20

    def change(self, loss: LossOf, parameters: Parameters, gone: float) -> Parameters:
        """See `Update.change`."""
        residual = flattened(grad(loss)(parameters))
        step, direction = torch.zeros_like(residual), residual
        square = residual.square().sum()
        for _ in range(self.iterations):  # a fixed number, so that lanes go together
            curved = flattened(product(loss, parameters, shaped(direction, parameters)))
            curved = curved + self.damping * direction
            length = _ratio(square, (direction * curved).sum())
            step, residual = step + length * direction, residual - length * curved
            new = residual.square().sum()
            direction, square = residual + _ratio(new, square) * direction, new
        return shaped(step, parameters)


def _ratio(above: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
    """Divide, 0 by 0 being 0: once the residual is 0 nothing moves any more."""
    return torch.where(below == 0, 0.0, above / torch.where(below == 0, 1.0, below))
