"""The diagonal of the Hessian itself, by random probes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from bgd.curvature.base import CurvatureError, check_counts, finite, zeros
from bgd.curvature.diagonal import DiagonalCurvature
from bgd.layers import unwrapped
from bgd.parameters import ParameterSpace


@dataclass(frozen=True)
class Hutchinson:
    """Magnitude of the diagonal of the Hessian H of the mean cross-entropy over D, estimated by random probes.

        diag(H) ~ 1/K sum_k v_k * (H v_k),  v_k with entries -1 and 1, each with probability 1/2,

    `*` element by element (Bekas, Kokiopoulou & Saad 2007, Eq. 2, where v * v = 1; Hutchinson 1990). The estimate has
    no bias; entry j has the variance sum_{i != j} H_ij^2 / K. H v is the derivative of g^T v, g the gradient: double
    backward (Pearlmutter 1994). Each batch of images has probes of its own, so that what is off the diagonal averages
    out over batches too.

    H is not positive semi-definite and its diagonal may be negative. The curvature is the magnitude of the estimate,
    |diag(H)|: a parameter that the loss curves down in is as little to be trifled with as one that it curves up in.
    That is how saddle-free Newton (Dauphin et al. 2014) and AdaHessian (Yao et al. 2021, Eq. 10, the root of a mean of
    squares) read it; clamping at 0 would call such a parameter free. The price is a bias upwards, by what noise there
    is, where the diagonal is near 0; `hessian_diagonal` gives the estimate with its sign.

    With ReLU and max-pooling a network is linear, by pieces, in each single parameter, so that the diagonal of H is
    that of Gauss-Newton and not below 0: there `TrueFisher` has exactly, and sooner, what this estimates.

    Attributes:
        images: How many images of D, the first ones.
        batch_size: Images at a time; another number takes other probes.
        probes: K, for each batch.
    """

    images: int = 1000
    batch_size: int = 100
    probes: int = 10

    def __post_init__(self) -> None:
        check_counts(self, "images", "batch_size", "probes")

    def estimate(
        self,
        network: nn.Module,
        space: ParameterSpace,
        images: torch.Tensor,
        labels: torch.Tensor,
        stream: np.random.Generator,
    ) -> DiagonalCurvature:
        """Estimate; see `Estimator.estimate`."""
        total = zeros(network, space)
        for start in range(0, len(images), self.batch_size):
            part = slice(start, start + self.batch_size)
            probes = [rademacher(stream, total, space.size) for _ in range(self.probes)]
            few = images[part]
            total += hessian_diagonal(network, few, labels[part], probes) * (len(few) / len(images))
        return DiagonalCurvature(finite(total.abs(), space, "the diagonal of the Hessian"))

    def restore(self, tensors: dict[str, torch.Tensor], space: ParameterSpace) -> DiagonalCurvature:
        """See `Estimator.restore`."""
        return DiagonalCurvature.restored(tensors, space)


def rademacher(stream: np.random.Generator, like: torch.Tensor, size: int) -> torch.Tensor:
    """Return a probe (size,) of -1 and 1, of the type and on the device of `like`."""
    bits = torch.from_numpy(np.unpackbits(np.frombuffer(stream.bytes(-(-size // 8)), dtype=np.uint8)))
    return bits[:size].to(like).mul_(2).sub_(1)


def hessian_diagonal(
    network: nn.Module, images: torch.Tensor, labels: torch.Tensor, probes: Iterable[torch.Tensor]
) -> torch.Tensor:
    """Return the mean over probes of v * (H v) (|W|,), with its sign, H being that of the mean cross-entropy.

    With the rows of a Hadamard matrix as probes, |W| or more of them, it is the diagonal of H exactly (Bekas et al.
    2007, section 3).

    Args:
        network: In eval mode; its loss has a second derivative, if only by pieces.
        images: (B, ...).
        labels: int64 (B,).
        probes: Vectors (|W|,) of -1 and 1.

    Raises:
        CurvatureError: The loss is not finite.
    """
    parameters = list(network.parameters())
    loss = F.cross_entropy(unwrapped(network)[1](images.clone()), labels)
    if not torch.isfinite(loss):
        raise CurvatureError(f"the cross-entropy is {loss.item()}: there is no curvature there")
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    gradient, products = _derivative(loss, parameters, trained, create_graph=True), 0
    total = torch.zeros_like(gradient, requires_grad=False)
    for probe in probes:
        total += probe * _derivative(gradient, parameters, trained, probe, retain_graph=True)
        products += 1
    return total / products


def _derivative(
    value: torch.Tensor,
    parameters: Sequence[nn.Parameter],
    trained: Sequence[nn.Parameter],
    vector: torch.Tensor | None = None,
    **graph: bool,
) -> torch.Tensor:
    """Return the derivative of a value, times a vector, by all parameters (|W|,): 0 where frozen or unused."""
    if not value.requires_grad:
        return torch.cat([torch.zeros_like(parameter).reshape(-1) for parameter in parameters])
    found = iter(
        torch.autograd.grad(value, trained, vector, allow_unused=True, materialize_grads=True, **graph)
    )
    parts = [next(found) if each.requires_grad else torch.zeros_like(each) for each in parameters]
    return torch.cat([part.reshape(-1) for part in parts])
