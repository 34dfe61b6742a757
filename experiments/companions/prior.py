"""The dissertation's h = H theta as a prior of BGD: which parameter to try next."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch.func import functional_call

from bgd.methods.base import Sample, Trial
from bgd.methods.bgd.prior import Magnitude, Prior, Weights
from experiments.companions.curvature import flattened, product


@dataclass(frozen=True)
class MetricPrior:
    """P(w_j) = |h_j|, h = H theta, H the Hessian of the sample's loss: how much the gradient follows the weights."""

    def at(self, trial: Trial, sample: Sample) -> Prior:
        """Compute h at a sample; see `bgd.methods.bgd.prior.InformedPrior.at`."""
        network = trial.network
        parameters = {name: value.detach() for name, value in network.named_parameters()}

        def loss(known: dict[str, torch.Tensor]) -> torch.Tensor:
            return F.cross_entropy(functional_call(network, known, (sample.image,)), sample.label)

        return Felt(flattened(product(loss, parameters, parameters)).abs())


@dataclass(frozen=True, eq=False)
class Felt:
    """A size for each parameter (|W|,), 0 where the gradient is: what has none cannot be updated."""

    sizes: torch.Tensor

    def weights(self, magnitude: Magnitude) -> Weights:
        """Give the sizes of the weights."""
        return magnitude.weights(lambda part, start, stop: self.sizes[start:stop] * (part > 0))
