"""Bounds on the weights, held after each step of stacked parameters (L, ...)."""

from dataclasses import dataclass
from typing import Protocol

import torch

from experiments.companions.curvature import Parameters
from experiments.companions.optimizers import is_weight


class Constraint(Protocol):
    """A bound on the weights of each lane."""

    def hold(self, parameters: Parameters, state: torch.Tensor, rates: torch.Tensor, gone: float) -> None:
        """Bring stacked parameters within it, in place.

        Args:
            parameters: (L, ...) by name.
            state: Multipliers of the lanes (L,), 0 at the start; for a constraint that has some.
            rates: Learning rates of the lanes (L,).
            gone: Share of the training that is over.
        """
        ...


@dataclass(frozen=True)
class MaxNorm:
    """The weights into each unit have a norm of at most `most`; projected by `torch.renorm`."""

    most: float

    def hold(self, parameters: Parameters, state: torch.Tensor, rates: torch.Tensor, gone: float) -> None:
        """See `Constraint.hold`."""
        for name, value in parameters.items():
            if is_weight(name):
                units = value.view(-1, value[0][0].numel())  # (L units, inputs)
                units.copy_(torch.renorm(units, 2, 0, self.most))


@dataclass(frozen=True)
class Ball:
    """All weights together have a norm of at most `most`: gradient steps with reprojection."""

    most: float

    def hold(self, parameters: Parameters, state: torch.Tensor, rates: torch.Tensor, gone: float) -> None:
        """See `Constraint.hold`."""
        norms = squares(parameters).sqrt()
        factors = (self.most / norms).clamp_max(1.0)
        for name, value in parameters.items():
            if is_weight(name):
                value.mul_(_beside(factors, value))


@dataclass(frozen=True)
class Lagrange:
    """a (Omega - k), Omega the squared norm of all weights: descent on the weights, ascent on a >= 0.

    Attributes:
        most: k.
        ascent: Rate of a.
    """

    most: float
    ascent: float = 0.01

    def hold(self, parameters: Parameters, state: torch.Tensor, rates: torch.Tensor, gone: float) -> None:
        """See `Constraint.hold`."""
        state.add_(self.ascent * (squares(parameters) - self.most)).clamp_min_(0)
        for name, value in parameters.items():
            if is_weight(name):
                value.mul_(_beside(1 - 2 * rates * state, value))


@dataclass(frozen=True)
class Pruned:
    """The smallest weights are 0, more and more of them: gradual decay and retraining, toward a bound on L0.

    Attributes:
        share: Of all weights, at the end; it grows evenly until three quarters of the training.
    """

    share: float = 0.5

    def hold(self, parameters: Parameters, state: torch.Tensor, rates: torch.Tensor, gone: float) -> None:
        """See `Constraint.hold`."""
        weights = [value for name, value in parameters.items() if is_weight(name)]
        sizes = torch.cat([value.abs().flatten(1) for value in weights], 1)
        count = round(self.share * min(1.0, gone / 0.75) * sizes.shape[1])
        if count:
            edges = sizes.kthvalue(count, dim=1).values
            for value in weights:
                value.mul_(value.abs() > _beside(edges, value))


def squares(parameters: Parameters) -> torch.Tensor:
    """Give the squared norm of all weights of each lane (L,)."""
    return torch.stack(
        [value.square().flatten(1).sum(1) for name, value in parameters.items() if is_weight(name)]
    ).sum(0)


def _beside(factors: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return factors.view(-1, *(1,) * (value.ndim - 1))
