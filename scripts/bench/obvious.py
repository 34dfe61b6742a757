"""The searches as the thesis writes them down: one candidate after another, a whole forward pass for each."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bgd.methods.base import Method, Sample, Trial
from bgd.methods.bgd.search import SubsetSearch
from bgd.methods.top_k import TopK
from bgd.patch import Patch

TESTS = Path(__file__).parents[2] / "tests"


class Ledger:
    """A flat vector that remembers where it was written, so that undoing writes there and nowhere else.

    The oracle starts every candidate with a copy of all parameters. On AlexNet that takes longer than the forward pass;
    nobody would do it, and a ratio to it would flatter.
    """

    def __init__(self, flat: torch.Tensor) -> None:
        self.flat = flat
        self._written: list[int] = []

    def copy_(self, original: torch.Tensor) -> None:
        """Undo what was written."""
        self.flat[self._written] = original[self._written]
        self._written = []

    def __getitem__(self, indices: Any) -> torch.Tensor:
        return self.flat[indices]

    def __setitem__(self, indices: Any, values: torch.Tensor) -> None:
        self.flat[indices] = values
        self._written += torch.as_tensor(indices).flatten().tolist()


class Written:
    """A trial whose parameters are written through a ledger; everything else is the trial's own."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self.flat = Ledger(trial.flat)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)


def has_one(method: Method) -> bool:
    """Return whether a method's fast search is another than its obvious one."""
    return isinstance(method, SubsetSearch | TopK)


def correct(method: Method, trial: Trial, sample: Sample, stream: np.random.Generator) -> Patch | None:
    """Correct a sample the obvious way; return the patch, None where the sample stays wrong."""
    if isinstance(method, TopK):
        return _top_k(method, trial, sample)
    assert isinstance(method, SubsetSearch)
    return _subset_search(method, trial, sample, stream)


def _subset_search(
    method: SubsetSearch, trial: Trial, sample: Sample, stream: np.random.Generator
) -> Patch | None:
    if str(TESTS) not in sys.path:
        sys.path.append(str(TESTS))
    from oracles import subset_search  # the statement that the tests hold the fast search to

    subset_search(method, Written(trial), sample, stream)
    return _patch(trial, sample)


def _top_k(method: TopK, trial: Trial, sample: Sample) -> Patch | None:
    """Sort every weight, then write and look, k by k; the tests' own oracle is too slow for AlexNet to be fair."""
    gradient = trial.gradient(sample)
    magnitude = trial.space.drop_biases(gradient.abs())
    order = magnitude.argsort(descending=True, stable=True)[: int((magnitude > 0).sum())]
    k = 0
    while k < len(order):
        k = min(len(order), max(method.first, k + 1, int(np.ceil(k * method.growth))))
        chosen = order[:k]
        trial.flat[chosen] = trial.original[chosen] - method.step * gradient[chosen]
        if trial.answer(sample).right:
            return _patch(trial, sample)
    return None


def _patch(trial: Trial, sample: Sample) -> Patch | None:
    patch = trial.patch()
    return patch if len(patch) and trial.answer(sample).right else None


def same(left: Patch | None, right: Patch | None) -> bool:
    """Return whether two corrections are the same change."""
    if left is None or right is None:
        return left is right
    return torch.equal(left.indices, right.indices) and torch.equal(left.new, right.new)
