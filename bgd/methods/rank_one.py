"""Rank-one edit of one hidden layer, as ROME does it, on a classifier.

Meng, Bau, Andonian and Belinkov, "Locating and editing factual associations in GPT", NeurIPS 2022, Eq. 2: a linear
layer is read as a memory that gives a value for a key; W + v (C^-1 k)^T / (k^T C^-1 k) gives the key k a value that is
larger by v, and of all updates that do, it changes the values of keys with second moment C the least.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from bgd.curvature.base import CurvatureError, check_counts, check_damping
from bgd.curvature.second_moments import InputMoments, cholesky
from bgd.layers import editable_linear, entered
from bgd.methods.base import Correction, Sample, Trial
from bgd.methods.linear import hidden_layer

VERSION = 1  # raised whenever the same options may give another correction

STRETCHES = (1.0, 1.25, 2.0, 4.0, 8.0)  # of the update: 1 is right but for rounding


@dataclass(frozen=True)
class SecondMoment:
    """C as the uncentred second moment of the layer's inputs over D, damped.

    Attributes:
        images: How many images of D, the first ones. Fewer than the layer has inputs leave C singular.
        damping: Added to the diagonal of C, as a share of its mean: units that are never active make C singular. From
            1e-4 to 0.1 alike on held-out errors.
    """

    images: int = 5000
    damping: float = 0.01

    def __post_init__(self) -> None:
        check_counts(self, "images")
        check_damping(self.damping)

    def solve(self, trial: Trial, layer: str, key: torch.Tensor) -> torch.Tensor:
        """Return C^-1 k, float64 (in,).

        Args:
            trial: What may be known.
            layer: Name of the layer.
            key: k, what goes into the layer at the sample, float64 (in,).

        Raises:
            CurvatureError: C is zero or not finite.
        """
        factor: torch.Tensor = trial.kept(f"factor of {self} of {layer}", lambda: self._factor(trial, layer))
        return torch.cholesky_solve(key[:, None], factor)[:, 0]

    def _factor(self, trial: Trial, layer: str) -> torch.Tensor:
        matrix = trial.curvature(InputMoments(layer, self.images)).tensors()["matrix"]
        return cholesky(matrix, self.damping * float(matrix.diagonal().double().mean()))


@dataclass(frozen=True)
class RankOne:
    """Gives one layer another output at the sample, by the least rank-one update that does.

    The new output: steps to the linearised boundary with the strongest rival, until the label leads by the margin
    (Moosavi-Dezfooli et al., "DeepFool", CVPR 2016, Eq. 9, the other way round); ROME has Adam on the loss there. Then
    the update is scaled down, by halving intervals, to the least that the real network is right with.

    Attributes:
        layer: Name of the linear layer; None for the last but one.
        margin: Of the label's logit over every other one.
        steps: The most linearisations.
        halvings: Of the interval that the scale of the update is known to lie in.
        moment: C; None for the identity, with which the update is the one of least norm.
    """

    knows: ClassVar[str] = "nothing"

    layer: str | None = None
    margin: float = 0.01
    steps: int = 50
    halvings: int = 8
    moment: SecondMoment | None = None

    def __post_init__(self) -> None:
        if self.margin <= 0:
            raise ValueError(f"margin={self.margin}: must be above 0")
        if self.steps < 1:
            raise ValueError(f"steps={self.steps}: must be at least 1")
        if self.halvings < 0:
            raise ValueError(f"halvings={self.halvings}: must be at least 0")

    def draws(self, network: nn.Module) -> bool:
        """No random numbers."""
        return False

    def correct(self, trial: Trial, sample: Sample, stream: np.random.Generator) -> Correction:
        """Move the layer's output, then write the update that moves it there; see `Method.correct`."""
        name: str = trial.kept(
            f"hidden layer {self.layer}",
            lambda: hidden_layer(trial.network, sample.image, self.layer, "method.layer"),
        )
        layer = editable_linear(trial.network, name)
        with Handle.on(layer) as handle:
            shift, steps, reason = self._shift(trial, sample, handle)
        if shift is None:
            return Correction.failed(reason, steps)
        try:
            row = self._row(trial, name, handle.key.double())
        except CurvatureError as error:
            return Correction.failed(str(error), steps)
        if row is None:
            return Correction.failed(f"nothing goes into {name}: its weights do not reach the sample", steps)
        update = torch.outer(shift, row.to(shift))
        if not torch.isfinite(update).all():
            return Correction.failed(f"so little goes into {name} that the update overflows", steps)
        if not self._scale(trial, sample, trial.space.span(f"{name}.weight"), update.reshape(-1)):
            return Correction.failed("wrong with every multiple of the update that was tried", steps)
        return Correction(trial.patch(), altered=update.numel(), steps=steps)

    def _row(self, trial: Trial, layer: str, key: torch.Tensor) -> torch.Tensor | None:
        """Return C^-1 k / (k^T C^-1 k), float64 (in,), for a key k; None where k is zero."""
        row = key if self.moment is None else self.moment.solve(trial, layer, key)
        product = float(key @ row)
        return row / product if product > 0 else None

    def _shift(self, trial: Trial, sample: Sample, handle: "Handle") -> tuple[torch.Tensor | None, int, str]:
        """Return the change of the layer's output (out,), the linearisations, and why there is no change."""
        for step in range(1, self.steps + 1):
            trial.forward_passes += 1
            logits = trial.network(sample.image)
            lead = _lead(logits, sample)
            if lead >= self.margin:
                return handle.shift.detach(), step, ""
            trial.backward_passes += 1
            (gradient,) = torch.autograd.grad(lead, handle.shift)
            # Twice the margin, so that the steps end where two rivals take turns.
            move = (2 * self.margin - lead.detach()) / gradient.dot(gradient) * gradient
            if not torch.isfinite(move).all():
                flat = bool(torch.isfinite(logits).all()) and not gradient.any()
                return None, step, "the gradient is zero" if flat else "the gradient is not finite"
            handle.move(move)
        return None, self.steps, f"wrong after {self.steps} linearisations"

    def _scale(self, trial: Trial, sample: Sample, span: slice, update: torch.Tensor) -> bool:
        """Write the least multiple found of the update (out * in,) that is right; return whether there is one."""

        def right(scale: float) -> bool:
            trial.flat[span] = trial.original[span] + scale * update
            return bool(_lead(trial.logits(sample), sample) >= self.margin)

        low = 0.0
        for high in STRETCHES:
            if right(high):
                break
            low = high
        else:
            return False
        for _ in range(self.halvings):
            middle = (low + high) / 2
            low, high = (low, middle) if right(middle) else (middle, high)
        return right(high) and trial.answer(sample).right


def _lead(logits: torch.Tensor, sample: Sample) -> torch.Tensor:
    """Return by how much the label's logit is above every other one, from logits (1, C)."""
    judged = sample.judged(logits)[0]
    rivals = judged.clone()
    rivals[sample.label] = -torch.inf
    return judged[sample.label[0]] - rivals.max()


class Handle:
    """Moves what comes out of a linear layer, and notes what goes in.

    Attributes:
        shift: Added to the output of the layer (out,); with a gradient.
        key: What went into the layer at the last pass (in,).
    """

    def __init__(self, layer: nn.Linear) -> None:
        self.shift = layer.weight.new_zeros(layer.out_features).requires_grad_()
        self.key = layer.weight.new_zeros(layer.in_features)

    @classmethod
    @contextmanager
    def on(cls, layer: nn.Linear) -> "Iterator[Handle]":
        """Have hold of a layer inside the block, for passes of one image."""
        handle = cls(layer)

        def through(_: nn.Module, given: Any, named: Any, output: torch.Tensor) -> torch.Tensor:
            handle.key = entered(given, named).detach().reshape(layer.in_features)
            return output + handle.shift

        hook = layer.register_forward_hook(through, with_kwargs=True)
        try:
            yield handle
        finally:
            hook.remove()

    def move(self, by: torch.Tensor) -> None:
        """Add to the shift (out,)."""
        self.shift = (self.shift.detach() + by).requires_grad_()
