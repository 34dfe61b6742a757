"""Uncentred second moments of what goes into one linear layer: the C of ROME.

Meng, Bau, Andonian and Belinkov, "Locating and editing factual associations in GPT", NeurIPS 2022, section 3.1:
with keys h, C = E[h h^T] says which directions other inputs use, and C^-1 k is a row that avoids them.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from bgd.curvature.base import CurvatureError, check_counts, check_damping, finite
from bgd.layers import LayerError, plain_layer, unwrapped, watched
from bgd.parameters import ParameterSpace

BATCH = 500  # images at a time


@dataclass(frozen=True, eq=False)
class LayerMoments:
    """The matrix that has A = E[h h^T] for every row of one layer's weight and zeros for all other parameters.

    It is the second derivative of half the mean squared change of the layer's outputs, not that of the training loss:
    K-FAC's input factor with the identity as the output factor. Where (W + d) is the layer's weight, d.(C d) is
    E ||d h||^2.

    Attributes:
        space: Flat index over the parameters.
        weight: Name of the layer's weight (out, in).
        matrix: A (in, in), float32.
    """

    space: ParameterSpace
    weight: str
    matrix: torch.Tensor

    @property
    def _shape(self) -> tuple[int, ...]:
        return self.space.shapes[self.space.names.index(self.weight)]

    def diagonal(self) -> torch.Tensor:
        """Return the diagonal of C (|W|,): the diagonal of A once for each row of the weight, zeros elsewhere."""
        out = self.matrix.new_zeros(self.space.size)
        out[self.space.span(self.weight)] = self.matrix.diagonal().repeat(self._shape[0])
        return out

    def multiply(self, vector: torch.Tensor) -> torch.Tensor:
        """Return C v for a vector (|W|,): A times each row of the weight, zeros elsewhere."""
        out, span = torch.zeros_like(vector), self.space.span(self.weight)
        out[span] = (vector[span].view(self._shape) @ self.matrix).reshape(-1)
        return out

    def solve(self, vector: torch.Tensor, damping: float) -> torch.Tensor:
        """Return the x with (C + damping I) x = v for a vector (|W|,): v / damping outside of the layer's weight.

        Raises:
            ValueError: `damping` is not a finite number above 0.
            CurvatureError: `damping` is too small, see `cholesky`, or x overflows.
        """
        check_damping(damping)
        factor = cholesky(self.matrix, damping)
        out, span = vector / damping, self.space.span(self.weight)
        rows = vector[span].view(self._shape).double()
        out[span] = torch.cholesky_solve(rows.T, factor).T.reshape(-1).to(vector)
        return finite(out, self.space, f"the solution with damping={damping}")

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return A under `matrix`."""
        return {"matrix": self.matrix}


def cholesky(matrix: torch.Tensor, damping: float) -> torch.Tensor:
    """Return the lower factor, float64 (n, n), of a positive semi-definite matrix (n, n) + damping I.

    Raises:
        CurvatureError: The sum is not positive definite as computed: `damping` is too small or the matrix overflows.
    """
    damped = matrix.double().clone()
    damped.diagonal().add_(damping)
    factor: torch.Tensor
    factor, info = torch.linalg.cholesky_ex(damped)
    if int(info) or not torch.isfinite(factor).all():
        raise CurvatureError(
            f"damping={damping}: second moments of {len(matrix)} inputs + damping I are singular"
        )
    return factor


@dataclass(frozen=True)
class InputMoments:
    """Averages h h^T over the images, h what goes into the layer.

    Attributes:
        layer: Name of an `nn.Linear`.
        images: How many images of D, the first ones.
    """

    layer: str
    images: int = 5000

    def __post_init__(self) -> None:
        check_counts(self, "images")

    @torch.no_grad()
    def estimate(
        self,
        network: nn.Module,
        space: ParameterSpace,
        images: torch.Tensor,
        labels: torch.Tensor,
        stream: np.random.Generator,
    ) -> LayerMoments:
        """Return the moments; neither labels nor random numbers are used. See `Estimator.estimate`.

        Raises:
            LayerError: There is no linear layer of this name, or it is not plain.
            CurvatureError: What goes into the layer is not finite, or the layer does not run.
        """
        layer = plain_layer(network, self.layer)
        if not isinstance(layer, nn.Linear):
            raise LayerError(f"layer={self.layer!r} is a {type(layer).__name__}: must be an nn.Linear")
        total = torch.zeros(layer.in_features, layer.in_features, dtype=torch.double, device=images.device)
        count = 0
        for batch in torch.split(images, BATCH):
            with watched(network, self.layer) as entering:
                unwrapped(network)[1](batch.clone())
            for values in entering:
                rows = values.reshape(-1, layer.in_features).double()
                total.add_(rows.T @ rows)
                count += len(rows)
        if not count:
            raise CurvatureError(f"layer {self.layer!r} does not run: nothing goes into it")
        return self.restore({"matrix": (total / count).float()}, space)

    def restore(self, tensors: dict[str, torch.Tensor], space: ParameterSpace) -> LayerMoments:
        """See `Estimator.restore`."""
        weight = f"{self.layer}.weight"
        inputs = space.shapes[space.names.index(weight)][1]
        if set(tensors) != {"matrix"} or tensors["matrix"].shape != (inputs, inputs):
            shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
            raise CurvatureError(f"kept moments {shapes}: must be {{'matrix': {(inputs, inputs)}}}")
        if not torch.isfinite(tensors["matrix"]).all():
            raise CurvatureError(f"what goes into {self.layer} is not finite")
        return LayerMoments(space, weight, tensors["matrix"])
