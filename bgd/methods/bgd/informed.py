"""Priors that more than the gradient goes into: the curvature of the training loss, the activations of the sample."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from bgd.curvature.base import Estimator
from bgd.curvature.diagonal import TrueFisher
from bgd.layers import entered, padding_of, plain_layer
from bgd.methods.base import Sample, Trial
from bgd.methods.bgd.prior import Magnitude, Prior, Weights

Taps = dict[str, torch.Tensor]  # by weight: what it multiplies, in a shape that expands to its own


@dataclass(frozen=True)
class CurvaturePrior:
    """P(w_j) = g_j^2 / (C_j + damping), C the diagonal of a curvature of the training loss at N0: harm counts.

    The change d with the least harm sum C_j d_j^2 / 2 to the training loss, of those that promise the sample a fall
    sum g_j d_j = -m of its own, is d_j ~ -g_j / C_j, and g_j^2 / C_j is what w_j contributes to it. Under the update
    -1 / g_j every weight promises the same fall, 1, for a harm of C_j / 2 g_j^2: this prior is the inverse of the harm.

    Attributes:
        estimator: Gives the curvature. By default of the network softened by a temperature of 4: it has learnt D, and
            at 1 it is so sure of it that little curvature is left.
        damping: Added to C, as a multiple of its mean over the weights. It bounds how much a weight gains over one with
            the same gradient and a mean curvature: 1 / damping. A unit that is dead over D has C_j = 0, and is
            likely only where the sample makes it active; where it does not, g_j = 0 and so is P.
    """

    estimator: Estimator = field(default_factory=lambda: TrueFisher(temperature=4.0))
    damping: float = 1e-3

    def __post_init__(self) -> None:
        if self.damping <= 0:
            raise ValueError(f"damping={self.damping}: must be above 0")

    def at(self, trial: Trial, sample: Sample) -> Prior:
        """Return the prior; see `InformedPrior.at`. The sample does not matter: its gradient says it all."""
        prior: Prior = trial.kept(f"curvature prior {self}", lambda: _PerHarm(self._harm(trial)))
        return prior

    def _harm(self, trial: Trial) -> torch.Tensor:
        """Return C_j / mean C + damping (|W|,): where C is 0 everywhere, all weights are as harmful."""
        diagonal = trial.curvature(self.estimator).diagonal().double()
        diagonal = diagonal.clamp(min=0)  # below 0 by rounding alone
        mean = diagonal[trial.candidates].mean()
        relative = diagonal if mean == 0 else diagonal / mean
        return (relative + self.damping).to(trial.flat.dtype)


@dataclass(frozen=True, eq=False)
class _PerHarm:
    """|g|^2 over some harm (|W|,), above 0."""

    harm: torch.Tensor

    def weights(self, magnitude: Magnitude) -> Weights:
        """Return (|g| / max |g|)^2 / harm: what the largest is divided by keeps the square from overflowing."""
        largest = magnitude.largest
        return magnitude.weights(
            lambda part, start, stop: part.div_(largest).square_().div_(self.harm[start:stop])
        )


@dataclass(frozen=True)
class ActivationPrior:
    """P(w_ij) = |h_j|, what goes into the weight when the network sees the sample (section 5.2, a future direction).

    A weight of a linear layer is as likely as its input unit's value is large. One of a convolution multiplies many
    values, one for each position: the mean of their magnitudes counts, with the zeros of the padding. The gradient does
    not count: a drawn weight may have none, and then no update.
    """

    def at(self, trial: Trial, sample: Sample) -> Prior:
        """Return the prior; see `InformedPrior.at`. It takes one forward pass.

        Raises:
            LayerError: A weight is not of a plain `nn.Linear` or `nn.Conv2d` (`bgd.layers`).
        """
        taps: Taps = {}
        with ExitStack() as watching:
            for name in trial.space.weights:
                watching.enter_context(_tapped(trial.network, name, taps))
            trial.logits(sample)
        return _Activations(taps)


@dataclass(frozen=True, eq=False)
class _Activations:
    """What goes into each weight; a weight that does not run is not there."""

    taps: Taps

    def weights(self, magnitude: Magnitude) -> Weights:
        """Return |h|, 0 for each bias."""
        space = magnitude.space
        weights = torch.zeros_like(magnitude.part(0, space.size))
        for name in self.taps:
            shape = space.shapes[space.names.index(name)]
            weights[space.span(name)].view(shape).copy_(self.taps[name])
        return Weights.listed(weights)


@contextmanager
def _tapped(network: nn.Module, name: str, taps: Taps) -> Iterator[None]:
    """Have the layer of a weight note what goes into it, inside the block."""
    layer = plain_layer(network, name.rpartition(".")[0])

    def note(_: nn.Module, given: Any, named: Any) -> None:
        taps[name] = _into(layer, entered(given, named).detach().abs())

    handle = layer.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _into(layer: nn.Module, values: torch.Tensor) -> torch.Tensor:
    """Return the mean of what each weight multiplies, in a shape that expands to the weight's."""
    if not isinstance(layer, nn.Conv2d):
        return values.reshape(-1, values.shape[-1]).mean(dim=0)
    padding = padding_of(layer)
    assert padding is not None, "the layer is plain"
    windows = F.unfold(values, layer.kernel_size, layer.dilation, padding, layer.stride)
    return windows.mean(dim=(0, 2)).view(layer.weight.shape[1:])
