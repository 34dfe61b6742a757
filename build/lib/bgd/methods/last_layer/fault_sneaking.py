"""Fault sneaking: few parameters of the last layer, a keep-set left alone, by ADMM (Zhao et al., DAC 2019).

Fault sneaking attack: a stealthy framework for misleading deep neural networks, arXiv 1905.12032. To sneak a fault in,
"make x a t", and to correct one are the same problem.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

from bgd.methods.base import Correction, Sample, Trial
from bgd.methods.last_layer.head import (
    NOT_FINITE,
    NOT_FINITE_KEPT,
    Floats,
    Head,
    Integers,
    View,
    check_margin,
    widened,
)

VERSION = 1  # raised whenever the same options may give another correction


@dataclass(frozen=True)
class FaultSneaking:
    """Looks for a sparse change X (C, D) of the last layer by ADMM, then goes as far along it as the sample needs.

        minimise  ||Z||_0 + G(X)  such that  Z = X
        G(X) = sum_i weight_i max(0, margin_i + max over c other than y_i of z_ic(X) - z_i,y_i(X))

    over the sample, whose y is its label, and the keep images, whose y is the network's own class; the sample weighs
    `weight`, a keep image 1. Each iteration k, from 0, with the scaled dual variable U and n images in all:

        X <- (rho (Z + U) + L X - G'(X)) / (rho + L),  L = alpha n sqrt(k + 1)      (G linearised at X, and L/2 ||.||^2)
        U <- U + Z - X
        Z <- X - U, with what is below sqrt(2 / rho) in size set to 0               (the proximal map of the L0 term)

    Authors' code: alpha 20, weight 1000, rho 20 or 100, and X, which is dense, as the result. Here the result is the
    last Z, scaled to the smallest step along it with which the right class wins by `margin`: Z may fall short of the
    sample or overshoot, and a keep image that keeps its class under Z keeps it under every smaller step.

    Attributes:
        keep: How many images of the keep-set, the first ones.
        margin: By which the right class wins, and keep images keep theirs where they have as much, in logits.
        weight: Of the sample's hinge. Its default, and those of rho and iterations, are chosen on errors among held-out
            images outside of the keep-set; the authors' weight changes 2 to 3 times as many parameters.
        rho: Penalty on Z - X: a parameter that changes by less than sqrt(2 / rho) does not change. With the authors'
            the sparse change is not enough for 15 to 25 % of the errors of an MLP.
        alpha: Of the linearisation: larger is smaller steps.
        iterations: Of ADMM.
    """

    knows: ClassVar[str] = "keep_set"

    keep: int = 1000
    margin: float = 0.01
    weight: float = 300.0
    rho: float = 10000.0
    alpha: float = 20.0
    iterations: int = 500

    def __post_init__(self) -> None:
        check_margin(self.margin)
        for key in ("keep", "iterations"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}={getattr(self, key)}: must be at least 1")
        for key in ("weight", "rho", "alpha"):
            if getattr(self, key) <= 0:
                raise ValueError(f"{key}={getattr(self, key)}: must be above 0")

    def draws(self, network: nn.Module) -> bool:
        """No random numbers."""
        return False

    def correct(self, trial: Trial, sample: Sample, stream: np.random.Generator) -> Correction:
        """Run ADMM and take the smallest step; see `Method.correct`."""
        head = Head(trial, sample)
        view = head.view(sample)
        if not view.finite:
            return Correction.failed(NOT_FINITE)
        kept = head.kept_inputs(self.keep)
        hinges = Hinges(head.values, view, kept, self.margin, self.weight)
        if not hinges.finite:
            return Correction.failed(NOT_FINITE_KEPT)
        change = self.sparse_change(hinges)
        if not np.isfinite(change).all():
            return Correction.failed("ADMM diverged")
        if not change.any():
            return Correction.failed(f"every change is below the threshold of {self.threshold:.3g}")
        tries = 0
        for margin in widened(self.margin):
            step = smallest_step(view, change, margin)
            if step is None:
                return Correction.failed("no step along the sparse change makes the sample right", tries)
            tries += 1
            if head.right_with(step * change, sample):
                return head.correction(tries)
        return Correction.failed(f"rounding leaves it wrong by a margin of {margin:g}", tries)

    @property
    def threshold(self) -> float:
        """Size below which a change is set to 0."""
        return float(np.sqrt(2 / self.rho))

    def sparse_change(self, hinges: "Hinges") -> Floats:
        """Return the last Z (C, D) of ADMM; not finite where it diverged."""
        dense = np.zeros(hinges.shape)
        dual = np.zeros_like(dense)
        sparse = np.zeros_like(dense)
        with np.errstate(over="ignore", invalid="ignore"):
            for k in range(self.iterations):
                steepness = self.alpha * hinges.count * np.sqrt(k + 1)
                pulled = self.rho * (sparse + dual) + steepness * dense - hinges.gradient(dense)
                dense = pulled / (self.rho + steepness)
                dual += sparse - dense
                sparse = dense - dual
                sparse[np.abs(sparse) < self.threshold] = 0.0
        return sparse


class Hinges:
    """G of `FaultSneaking`.

    Attributes:
        count: Of images n, the sample included.
        shape: Of X, (C, D).
        finite: Whether every logit of the unchanged layer is finite.
    """

    def __init__(self, values: Floats, view: View, kept: Floats, margin: float, weight: float) -> None:
        self.count, self.shape = len(kept) + 1, values.shape
        self._inputs = np.vstack([view.inputs, kept])
        with np.errstate(over="ignore", invalid="ignore"):
            self._logits = self._inputs @ values.T
        self.finite = bool(np.isfinite(self._logits).all())
        self._at = np.arange(self.count)
        self._own = self._logits.argmax(axis=1)
        self._own[0] = view.label
        gap = -self._excess(self._logits)[0]
        self._margin = np.minimum(margin, gap)
        self._margin[0] = margin
        self._weight = np.ones(self.count)
        self._weight[0] = weight

    def _excess(self, logits: Floats) -> tuple[Floats, Integers]:
        """Return by how much each image's best rival is above its own class (n,), and which rival it is (n,)."""
        rivals = logits.copy()
        rivals[self._at, self._own] = -np.inf
        best = rivals.argmax(axis=1)
        return logits[self._at, best] - logits[self._at, self._own], best

    def gradient(self, change: Floats) -> Floats:
        """Return a subgradient G'(X) (C, D)."""
        excess, best = self._excess(self._logits + self._inputs @ change.T)
        active = np.flatnonzero(self._margin + excess > 0)
        outer = np.zeros((len(active), self.shape[0]))
        at = np.arange(len(active))
        outer[at, best[active]] = self._weight[active]
        outer[at, self._own[active]] -= self._weight[active]
        gradient: Floats = outer.T @ self._inputs[active]
        return gradient


def smallest_step(view: View, change: Floats, margin: float) -> float | None:
    """Return the smallest step a > 0 with which V + a X makes the right class win by a margin; None where none does."""
    moved = change @ view.inputs
    rivals = np.delete(np.arange(len(moved)), view.label)
    needed = margin - (view.logits[view.label] - view.logits[rivals])
    gained = moved[view.label] - moved[rivals]
    if ((gained <= 0) & (needed > 0)).any():
        return None
    with np.errstate(over="ignore"):
        step = float((needed[needed > 0] / gained[needed > 0]).max(initial=0.0))
    holds = step > 0 and np.isfinite(step) and bool((step * gained >= needed - 1e-9 * np.abs(needed)).all())
    return step if holds else None
