"""LoRA of rank 1: a factored change of the linear layers, trained on the one sample, then merged.

Hu et al., "LoRA: low-rank adaptation of large language models", ICLR 2022, Eq. 3: W + s b a^T with a drawn at random
and b zero at first, so that the change is zero at first.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from bgd.layers import entered
from bgd.methods.adam import Adam
from bgd.methods.base import Answer, Correction, Sample, Trial
from bgd.methods.layers import known_layers
from bgd.methods.linear import chosen_layers
from bgd.parameters import wide

VERSION = 1  # raised whenever the same options may give another correction

Hook = Callable[[nn.Module, tuple[Any, ...], dict[str, Any], torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class LoRA:
    """Trains the factors by Adam until the network is right; the merged change is the patch.

    Attributes:
        steps: The most gradient steps.
        learning_rate: Of Adam. Half of the default leaves 3 of 100 held-out errors of an MLP wrong, more harms more.
        scale: s, on the product of the factors.
        layers: Names of the linear layers that are adapted; None for all plain ones.
    """

    knows: ClassVar[str] = "nothing"

    steps: int = 100
    learning_rate: float = 0.001
    scale: float = 1.0
    layers: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps={self.steps}: must be at least 1")
        for key in ("learning_rate", "scale"):
            if getattr(self, key) <= 0:
                raise ValueError(f"{key}={getattr(self, key)}: must be above 0")

    def draws(self, network: nn.Module) -> bool:
        """Each a is drawn."""
        return True

    def correct(self, trial: Trial, sample: Sample, stream: np.random.Generator) -> Correction:
        """Train the factors, merge them where the sample is right; see `Method.correct`."""
        layers = chosen_layers(trial.network, self.layers, "method.layers")
        factors = {name: Factors.drawn(layer, self.scale, stream) for name, layer in layers.items()}
        trained = [tensor for each in factors.values() for tensor in (each.a, each.b)]
        descent = Adam(trained, self.learning_rate)
        run = adapted_row(trial, sample, factors) or (lambda: adapted_network(trial, sample, layers, factors))
        logits = run()
        for step in range(1, self.steps + 1):
            trial.forward_passes += 2  # the gradient's, and the one that says whether the sample is right
            trial.backward_passes += 1
            loss = F.cross_entropy(sample.judged(logits), sample.label)
            gradient = torch.cat(torch.autograd.grad(loss, trained, materialize_grads=True))
            if not torch.isfinite(gradient).all():
                return Correction.failed("the gradient is not finite", step - 1)
            if not gradient.any():
                return Correction.failed("the gradient is zero", step - 1)
            descent.step(gradient)
            logits = run()  # the next gradient is taken of the same pass
            if Answer.of(logits.detach(), sample).right and _merged(trial, sample, factors):
                altered = sum(layer.weight.numel() for layer in layers.values())
                return Correction(trial.patch(), altered, step)
        return Correction.failed(f"wrong after {self.steps} steps", self.steps)


def _merged(trial: Trial, sample: Sample, factors: "dict[str, Factors]") -> bool:
    """Merge the factors, with which the sample is right; return whether it is with the merged weights too.

    Merging writes to every weight, so it is looked first whether it is worth it; and looked again after it, since W h +
    s b (a.h) and (W + s b a^T) h differ by rounding.
    """
    for name, each in factors.items():
        span = trial.space.span(f"{name}.weight")
        each.add_product(trial.original[span], out=trial.flat[span])
    if trial.answer(sample).right:
        return True
    trial.flat.copy_(trial.original)
    return False


@dataclass
class Factors:
    """The change s b a^T of a layer's weight; in float32 for a layer in a type of 16 bits, which Adam underflows in.

    Attributes:
        a: On what goes in (in,).
        b: On what comes out (out,).
        scale: s.
    """

    a: torch.Tensor
    b: torch.Tensor
    scale: float

    @classmethod
    def drawn(cls, layer: nn.Linear, scale: float, stream: np.random.Generator) -> "Factors":
        """Return factors with a from N(0, 1 / in) and b zero."""
        drawn = torch.from_numpy(stream.standard_normal(layer.in_features) / math.sqrt(layer.in_features))
        nothing = wide(layer.weight.new_zeros(layer.out_features))
        return cls(drawn.to(nothing).requires_grad_(), nothing.requires_grad_(), scale)

    def output(self, entering: torch.Tensor) -> torch.Tensor:
        """Return the change of the layer's output (..., out) for an input (..., in)."""
        return (self.scale * (entering.to(self.a.dtype) @ self.a)[..., None] * self.b).to(entering.dtype)

    @torch.no_grad()
    def add_product(self, weight: torch.Tensor, out: torch.Tensor) -> None:
        """Write a weight with its change; both are flat (out * in,)."""
        shape = len(self.b), len(self.a)
        if weight.dtype == self.a.dtype:
            torch.addr(weight.view(shape), self.b, self.a, alpha=self.scale, out=out.view(shape))
        else:
            out.copy_(weight + self.scale * torch.outer(self.b, self.a).reshape(-1))


def adapted_network(
    trial: Trial, sample: Sample, layers: dict[str, nn.Linear], factors: dict[str, Factors]
) -> torch.Tensor:
    """Return the logits of the adapted network, any network: every layer is run."""
    with adapted(layers, factors):
        logits: torch.Tensor = trial.network(sample.image)
        return logits


def adapted_row(
    trial: Trial, sample: Sample, factors: dict[str, Factors]
) -> Callable[[], torch.Tensor] | None:
    """Return what gives the logits of an adapted row of known layers; None where the network is none.

    What goes into the first adapted layer, and what its own weights make of that, is the same at each step: of the
    thesis' AlexNet a tenth of the weights is left to be read.
    """
    row = list(known_layers(trial.network, trial.space).items())
    first = next((at for at, (name, _) in enumerate(row) if name in factors), None)
    if first is None:
        return None
    with torch.no_grad():
        entering = sample.image
        for _, layer in row[:first]:
            entering = layer(entering)
        name, layer = row[first]
        own = layer(entering)

    def logits() -> torch.Tensor:
        value: torch.Tensor = own + factors[name].output(entering)
        for other, layer in row[first + 1 :]:
            out = layer(value)
            value = out + factors[other].output(value) if other in factors else out
        return value

    return logits


@contextmanager
def adapted(layers: dict[str, nn.Linear], factors: dict[str, Factors]) -> Iterator[None]:
    """Add the output of the factors to that of the layers inside the block."""

    def hook(each: Factors) -> Hook:
        return lambda _, given, named, output: output + each.output(entered(given, named))

    handles = [
        layer.register_forward_hook(hook(factors[name]), with_kwargs=True) for name, layer in layers.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
