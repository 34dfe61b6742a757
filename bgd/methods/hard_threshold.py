"""Iterative hard thresholding: solve for all parameters, keep the k that matter most, solve again, exchange, repeat.

The other way to a sparse change (Blumensath and Davies, 2009): from above, where `bgd.methods.least_harm.search` grows
from below. Harm, margin and the solution on a support are the same.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from bgd.methods.base import Correction, Sample, Trial
from bgd.methods.least_harm.harm import Divergence, HarmModel
from bgd.methods.least_harm.search import Terms, cheaper, everything, finished, terms_of
from bgd.methods.least_harm.solve import Solution, solve

VERSION = 1  # raised whenever the same options may give another correction


@dataclass(frozen=True)
class HardThreshold:
    """Keeps the k parameters of the dense solution that matter most, and exchanges them for better ones.

    Attributes:
        price: What harm is, and with that what the method needs to know.
        budget: k, how many parameters change; None for all of the tail.
        rounds: Exchanges at most.
        scope: Most parameters of the last layers that are searched; the last layer is always.
        iterations: Quadratic programs for each support.
    """

    knows: ClassVar[str] = "keep_set"

    price: HarmModel = field(default_factory=Divergence)
    budget: int | None = 10
    rounds: int = 3
    scope: int = 20000
    iterations: int = 4

    def __post_init__(self) -> None:
        for key in ("budget", "scope", "iterations"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ValueError(f"{key}={value}: must be at least 1")
        if self.rounds < 0:
            raise ValueError(f"rounds={self.rounds}: must be at least 0")

    def draws(self, network: nn.Module) -> bool:
        """Nothing is drawn."""
        return False

    def correct(self, trial: Trial, sample: Sample, stream: np.random.Generator) -> Correction:
        """Solve, keep k, exchange; see `Method.correct`."""
        terms = terms_of(trial, sample, self.price, self.scope)
        dense = everything(terms, self.iterations)
        if dense is None or self.budget is None or self.budget >= terms.tail.size:
            return finished(trial, sample, terms.tail, dense, 1, self.budget)
        best, steps = self._sparse(terms, dense, self.budget)
        return finished(trial, sample, terms.tail, best, steps, self.budget)

    def _sparse(self, terms: Terms, dense: Solution, budget: int) -> tuple[Solution | None, int]:
        """Return the best solution on k parameters, and how many supports were solved for."""
        _, rise = terms.target.rise(dense.support, dense.change)
        whole = dense.change.double()  # on all parameters, in their order
        chosen = (whole * rise).abs().topk(budget).indices.sort().values
        best: Solution | None = None
        for done in range(self.rounds + 1):
            support = terms.tail.support(chosen)
            found = solve(terms.harm, terms.target, support, whole[chosen], self.iterations)
            best = cheaper(best, terms.within(found))
            if found is None:
                return best, done + 2
            whole = self._step(terms, found)
            ahead = whole.square() * terms.harm.model(support, found.change).diagonal()
            better = ahead.topk(budget).indices.sort().values
            if torch.equal(better, chosen):
                break
            chosen = better
        return best, done + 2

    def _step(self, terms: Terms, found: Solution) -> torch.Tensor:
        """Return the change (P,) after a step down the Lagrangian v(d) - lam m(d), each parameter by its own curvature.

        lam is what makes the slope on the support smallest.
        """
        model = terms.harm.model(found.support, found.change)
        _, rise = terms.target.rise(found.support, found.change)
        slope, own, on = model.gradient().double(), model.diagonal().double(), found.support.indices
        a = rise.double()
        weight = a[on] / own[on]
        multiplier = (weight @ slope[on]) / (weight @ a[on]).clamp_min(1e-30)
        whole = torch.zeros_like(slope)
        whole[on] = found.change.double()
        return whole - (slope - multiplier * a) / own
