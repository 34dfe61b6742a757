"""Curvature that is a diagonal, and the Fisher information as one: empirical, true, and of the one sample."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from bgd.curvature.base import CurvatureError, check_counts, check_damping
from bgd.curvature.labels import check_model, of_labels, of_model
from bgd.curvature.squares import mean_squares
from bgd.parameters import ParameterSpace


class DiagonalCurvature:
    """C = diag(c), with c (|W|,) finite and at least 0."""

    def __init__(self, values: torch.Tensor) -> None:
        if not (torch.isfinite(values) & (values >= 0)).all():
            raise CurvatureError("a diagonal curvature has values that are not finite or below 0")
        self._values = values

    @classmethod
    def restored(cls, tensors: dict[str, torch.Tensor], space: ParameterSpace) -> "DiagonalCurvature":
        """Return the curvature that `tensors` describe; see `Estimator.restore`."""
        if set(tensors) != {"diagonal"} or tensors["diagonal"].shape != (space.size,):
            shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
            raise CurvatureError(f"kept curvature {shapes}: must be {{'diagonal': {(space.size,)}}}")
        return cls(tensors["diagonal"])

    def diagonal(self) -> torch.Tensor:
        """Return c."""
        return self._values

    def multiply(self, vector: torch.Tensor) -> torch.Tensor:
        """Return c v, element by element."""
        return self._values * vector

    def solve(self, vector: torch.Tensor, damping: float) -> torch.Tensor:
        """Return v / (c + damping), element by element; see `Curvature.solve`."""
        check_damping(damping)
        solution = vector / (self._values + damping)
        if not torch.isfinite(solution).all():
            raise CurvatureError(
                f"damping={damping}: the solution is not finite, too small for {vector.dtype}"
            )
        return solution

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the diagonal."""
        return {"diagonal": self._values}


@dataclass(frozen=True)
class EmpiricalFisher:
    """Diagonal of the empirical Fisher information over D: the mean of squared gradients at the labels of D.

        c_j = 1/N sum_n g_nj^2,  g_n = gradient of -log p(y_n | x_n)

    The diagonal of Eq. 2.1 of the thesis. It is no second derivative, and next to nothing where N0 has learnt D by
    heart (Kunstner, Balles & Hennig 2019, Limitations of the empirical Fisher approximation, section 3); it is what
    most of the literature of pruning and of continual learning calls the Fisher information.

    Attributes:
        images: How many images of D, the first ones.
        batch_size: Images at a time: no number depends on it but by rounding.
    """

    images: int = 1000
    batch_size: int = 100

    def __post_init__(self) -> None:
        check_counts(self, "images", "batch_size")

    def estimate(
        self,
        network: nn.Module,
        space: ParameterSpace,
        images: torch.Tensor,
        labels: torch.Tensor,
        stream: np.random.Generator,
    ) -> DiagonalCurvature:
        """Estimate; draws nothing. See `Estimator.estimate`."""
        return DiagonalCurvature(
            mean_squares(
                network,
                space,
                images,
                lambda batch: of_labels(batch.logits, labels[batch.part]),
                self.batch_size,
            )
        )

    def restore(self, tensors: dict[str, torch.Tensor], space: ParameterSpace) -> DiagonalCurvature:
        """See `Estimator.restore`."""
        return DiagonalCurvature.restored(tensors, space)


@dataclass(frozen=True)
class TrueFisher:
    """Diagonal of the Fisher information over D, which for softmax and cross-entropy is that of Gauss-Newton.

        c_j = 1/N sum_n E_{y ~ p_n}[(d/dw_j of -log p_n(y))^2] = 1/N sum_n [J_n^T (diag(p_n) - p_n p_n^T) J_n]_jj

    with p_n the network's probabilities and J_n = dz_n/dw of its logits: `bgd.curvature.labels` has the identity. No
    label of D is looked at.

    A network that is sure of D has p near 0 or 1, diag(p) - p p^T near 0 and so next to no curvature, though a change
    moves its logits as ever. `temperature` T puts p = softmax(z / T) in place of p: T^2 times the Fisher information
    of the softened network, the factor being that of distillation (Hinton, Vinyals & Dean 2015, section 2). For large
    T it is the mean squared derivative of logits about their mean, whatever the network is sure of.

    Attributes:
        images: How many images of D, the first ones.
        batch_size: Images at a time: no number depends on it but by rounding.
        temperature: T, at least 1; 1 is the Fisher information.
        draws: Labels drawn from p for each image, for large networks; None for the exact expectation, which takes a
            backward pass for every class.
    """

    images: int = 1000
    batch_size: int = 100
    temperature: float = 1.0
    draws: int | None = None

    def __post_init__(self) -> None:
        check_counts(self, "images", "batch_size")
        check_model(self.temperature, self.draws)

    def estimate(
        self,
        network: nn.Module,
        space: ParameterSpace,
        images: torch.Tensor,
        labels: torch.Tensor,
        stream: np.random.Generator,
    ) -> DiagonalCurvature:
        """Estimate; see `Estimator.estimate`."""
        return DiagonalCurvature(
            mean_squares(
                network,
                space,
                images,
                lambda batch: of_model(batch.logits, self.temperature, self.draws, stream),
                self.batch_size,
            )
        )

    def restore(self, tensors: dict[str, torch.Tensor], space: ParameterSpace) -> DiagonalCurvature:
        """See `Estimator.restore`."""
        return DiagonalCurvature.restored(tensors, space)


def sample_fisher(gradient: torch.Tensor) -> DiagonalCurvature:
    """Return the empirical Fisher information of the one sample, c_j = g_j^2 (BGD-II, thesis, section 4.6.2).

    Not of D: it says what the sample's own loss feels, and no estimator over D gives it.

    Args:
        gradient: Of the sample's cross-entropy (|W|,), from `Trial.gradient`.

    Raises:
        CurvatureError: A square overflows.
    """
    return DiagonalCurvature(gradient.square())
