"""What an estimate of curvature is, and what gives one."""

from typing import Protocol

import numpy as np
import torch
from torch import nn

from bgd.parameters import ParameterSpace


class Curvature(Protocol):
    """A positive semi-definite matrix C (|W|, |W|) that stands for the second derivative of the mean loss over D."""

    def diagonal(self) -> torch.Tensor:
        """Return the diagonal of C (|W|,)."""
        ...

    def multiply(self, vector: torch.Tensor) -> torch.Tensor:
        """Return C v for a vector (|W|,)."""
        ...

    def solve(self, vector: torch.Tensor, damping: float) -> torch.Tensor:
        """Return an x with (C + damping I) x = v, or what the estimator's damping makes of it, for a vector (|W|,).

        Raises:
            ValueError: `damping` is not above 0.
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
            network: In eval mode.
            space: Flat index over its parameters.
            images: Of D (N, ...).
            labels: Their classes, int64 (N,).
            stream: Random numbers, for an estimator that draws.
        """
        ...

    def restore(self, tensors: dict[str, torch.Tensor], space: ParameterSpace) -> Curvature:
        """Return the curvature that `Curvature.tensors` came from."""
        ...
