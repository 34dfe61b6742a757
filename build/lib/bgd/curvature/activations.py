"""How strongly a weight's input is active: the second moment of activations, as a curvature without gradients."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from bgd.curvature.affine import FEW, affine_layers, passes
from bgd.curvature.base import CurvatureError, check_counts, finite, zeros
from bgd.curvature.diagonal import DiagonalCurvature
from bgd.parameters import ParameterSpace


@dataclass(frozen=True)
class ActivationMoments:
    """Second moment over D of what goes into each layer: the activations of the thesis' section 5.2.

        c = 1/(N T) sum_nt h_ntj^2 for the weight from input j to any unit,  1 for a bias

    over images n and positions t (`bgd.curvature.affine`), zeros of the padding included. So c dw^2 is how far, in the
    mean square, a change dw moves what comes out of the layer: the diagonal of layer-wise Optimal Brain Surgeon,
    H = E[h h^T] (Dong, Chen & Pan 2017), the norm that Wanda prunes by (Sun et al. 2023, Eq. 1), and KFAC with
    G = I (Benzing 2022, FOOF). What the loss makes of the layer does not enter, and no label of D is looked at. A
    unit that is always off gives the weights that leave it 0, not those that enter it.

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
        """Estimate; draws nothing. See `Estimator.estimate`.

        Raises:
            CurvatureError: Also where a parameter is in no linear layer and no plain convolution, so has no input.
        """
        layers, rest = affine_layers(network, space, images[:FEW])
        if rest:
            raise CurvatureError(
                f"no input is known for {', '.join(rest)}: must be in a Linear or a plain Conv2d layer"
            )
        total = [torch.zeros_like(layer.module.weight[0]).flatten() for layer in layers]
        with torch.no_grad():
            for batch in passes(network, layers, images, self.batch_size):
                for sums, inputs in zip(total, batch.inputs(), strict=True):
                    sums += inputs.square().mean(dim=1).sum(dim=0)
        values = zeros(network, space) + 1
        for layer, sums in zip(layers, total, strict=True):
            place = values[space.span(layer.weight)].view(-1, len(sums))
            place.copy_(sums / len(images))
        return DiagonalCurvature(finite(values, space, "the second moment of activations"))

    def restore(self, tensors: dict[str, torch.Tensor], space: ParameterSpace) -> DiagonalCurvature:
        """See `Estimator.restore`."""
        return DiagonalCurvature.restored(tensors, space)
