"""The Hessian of a loss: products with a vector, its largest eigenvalues, and the dense matrix as an oracle.

Everything here is of one network; a loss is a function of its parameters by name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch.func import grad, hessian, jvp

from bgd.curvature.hutchinson import rademacher

Parameters = dict[str, torch.Tensor]
LossOf = Callable[[Parameters], torch.Tensor]
SWEEPS, TOLERANCE = 1000, 1e-6  # of the power method; the dissertation's code has 100 and 0.1 or 0.001


def product(loss: LossOf, parameters: Parameters, vector: Parameters) -> Parameters:
    """Give H v, the derivative of the gradient along v: forward over reverse."""
    found: Parameters = jvp(grad(loss), (parameters,), (vector,))[1]
    return found


def flattened(parameters: Parameters) -> torch.Tensor:
    """Lay parameters out in one vector, in their order."""
    return torch.cat([value.reshape(-1) for value in parameters.values()])


def shaped(flat: torch.Tensor, like: Parameters) -> Parameters:
    """Cut a vector into parameters of the shapes of others."""
    parts = torch.split(flat, [value.numel() for value in like.values()])
    return {name: part.view(like[name].shape) for name, part in zip(like, parts, strict=True)}


def dense(loss: LossOf, parameters: Parameters) -> torch.Tensor:
    """Give the whole Hessian (|W|, |W|): for networks of a few thousand parameters."""
    like = {name: value.detach() for name, value in parameters.items()}
    found = hessian(lambda flat: loss(shaped(flat, like)))(flattened(like))
    return torch.as_tensor(found)


@dataclass(frozen=True)
class Hessian:
    """H as a linear operator on vectors (|W|,)."""

    loss: LossOf
    parameters: Parameters

    @property
    def size(self) -> int:
        """|W|."""
        return sum(value.numel() for value in self.parameters.values())

    def times(self, vector: torch.Tensor) -> torch.Tensor:
        """Give H v."""
        return flattened(product(self.loss, self.parameters, shaped(vector, self.parameters)))

    def largest(self, count: int, stream: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Give the eigenvalues of largest magnitude, with their signs, by Lanczos (ARPACK), the largest first.

        Args:
            count: How many, below |W|.
            stream: Draws where it begins.
        """
        like = next(iter(self.parameters.values()))

        def times(vector: Any) -> Any:
            return self.times(torch.as_tensor(np.ravel(vector)).to(like)).double().cpu().numpy()

        operator = LinearOperator((self.size, self.size), matvec=times, dtype=np.float64)
        values = eigsh(
            operator, k=count, which="LM", v0=stream.standard_normal(self.size), return_eigenvectors=False
        )
        return np.asarray(sorted(values, key=abs, reverse=True))

    def by_power(
        self, count: int, stream: np.random.Generator, sweeps: int = SWEEPS, tolerance: float = TOLERANCE
    ) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Give the same by simultaneous power iteration, the dissertation's method, as Rayleigh quotients with signs.

        It ends when no entry of the orthonormal directions changes by `tolerance`, up to the direction's sign; its
        printed algorithm never updates the directions that it compares with.
        """
        like = next(iter(self.parameters.values()))
        drawn = torch.from_numpy(stream.standard_normal((self.size, count))).to(like)
        directions = torch.linalg.qr(drawn).Q
        for _ in range(sweeps):
            moved = torch.stack([self.times(column) for column in directions.T], 1)
            new = torch.linalg.qr(moved).Q
            change = (new.abs() - directions.abs()).abs().max()
            directions = new
            if change < tolerance:
                break
        moved = torch.stack([self.times(column) for column in directions.T], 1)
        values = (directions * moved).sum(0).double().cpu().numpy()
        return np.asarray(sorted(values, key=abs, reverse=True))

    def diagonal(self, probes: int, stream: np.random.Generator) -> torch.Tensor:
        """Estimate the diagonal of H (|W|,) by Hutchinson's z * (H z), z of -1 and 1; exact where H is diagonal."""
        like = flattened(self.parameters).detach()
        drawn = [rademacher(stream, like, self.size) for _ in range(probes)]
        return torch.stack([probe * self.times(probe) for probe in drawn]).mean(0)
