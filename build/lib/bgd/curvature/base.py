"""What an estimate of curvature is, and what gives one."""

import math
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from bgd.parameters import ParameterSpace


class CurvatureError(RuntimeError):
    """A network has no usable curvature: it overflows, or is built in a way that an estimator cannot follow."""


class Curvature(Protocol):
    """A positive semi-definite matrix C (|W|, |W|) that stands for the second derivative of the mean loss over D."""

    def diagonal(self) -> torch.Tensor:
        """Return the diagonal of C (|W|,): finite, at least 0, and 0 where the loss does not feel a parameter."""
        ...

    def multiply(self, vector: torch.Tensor) -> torch.Tensor:
        """Return C v for a vector (|W|,)."""
        ...

    def solve(self, vector: torch.Tensor, damping: float) -> torch.Tensor:
        """Return an x with (C + damping I) x = v, or what the estimator's damping makes of it, for a vector (|W|,).

        Raises:
            ValueError: `damping` is not a finite number above 0.
            CurvatureError: `damping` is too small for the type of the numbers, or x overflows.
        """
        ...

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return all that it consists of, to be kept in a file."""
        ...


class Estimator(Protocol):
    """A way to estimate curvature. A frozen dataclass: its fields are its options.

    Attributes:
        images: How many images of D, the first ones, it is estimated over.
    """

    @property
    def images(self) -> int: ...  # noqa: D102

    def estimate(
        self,
        network: nn.Module,
        space: ParameterSpace,
        images: torch.Tensor,
        labels: torch.Tensor,
        stream: np.random.Generator,
    ) -> Curvature:
        """Estimate the curvature of a network's mean cross-entropy.

        Args:
            network: In eval mode, for which images are independent of each other. Gives logits (N, C).
            space: Flat index over its parameters.
            images: Of D (N, ...): all of them count, whoever calls has taken the first `images`.
            labels: Their classes, int64 (N,).
            stream: Random numbers, for an estimator that draws.

        Raises:
            CurvatureError: The logits or the curvature overflow, or the network is built in a way that the estimator
                cannot follow; it names the layer.
        """
        ...

    def restore(self, tensors: dict[str, torch.Tensor], space: ParameterSpace) -> Curvature:
        """Return the curvature that `Curvature.tensors` came from.

        Raises:
            CurvatureError: The tensors are not of this space.
        """
        ...


def check_damping(damping: float) -> None:
    """Hold damping to what it must be.

    Raises:
        ValueError: It is not a finite number above 0.
    """
    if not (math.isfinite(damping) and damping > 0):
        raise ValueError(f"damping={damping}: must be a finite number above 0")


def check_counts(estimator: Any, *keys: str) -> None:
    """Hold options that count something to what they must be.

    Raises:
        ValueError: One is below 1.
    """
    for key in keys:
        if getattr(estimator, key) < 1:
            raise ValueError(f"{key}={getattr(estimator, key)}: must be at least 1")


def finite(values: torch.Tensor, space: ParameterSpace, what: str) -> torch.Tensor:
    """Return a vector (|W|,) that is finite.

    Raises:
        CurvatureError: It is not; names the parameters.
    """
    if not torch.isfinite(values).all():
        bad = [name for name in space.names if not torch.isfinite(values[space.span(name)]).all()]
        raise CurvatureError(f"{what} is not finite in {', '.join(bad)}: too large for {values.dtype}")
    return values


def zeros(network: nn.Module, space: ParameterSpace) -> torch.Tensor:
    """Return a vector of zeros (|W|,), of the type and on the device of a network's parameters."""
    return next(network.parameters()).detach().new_zeros(space.size)
