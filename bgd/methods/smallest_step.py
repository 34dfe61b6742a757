"""The change of another method, shrunk to the smallest multiple that still corrects the sample."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import nn

from bgd.methods.base import Answer, Correction, Method, Sample, Together, Trial
from bgd.methods.bgd.search import SubsetSearch
from bgd.methods.elimination import margins
from bgd.patch import Patch

VERSION = 1  # raised whenever the same options may give another correction


@dataclass(frozen=True)
class SmallestStep:
    """Runs a method, and where it finds a change d takes alpha d in its place, with alpha in (0, 1] by bisection.

    The methods of the thesis set how far a parameter goes before they look (-1 / g_j, -0.01 g_j), and go too far
    or, once in the right class, on. Only which parameters change and in what ratio is kept of that: what is added to
    the training loss falls with alpha, to first order in proportion and to second order with its square.

    A multiple suffices where the sample is right and the label's logit is above the largest other one by `margin`, or
    by as much as it is at d where that is less. The margin along the ray need not be monotone, so this need not be the
    smallest multiple of all that suffice. What holds is that alpha suffices and that a multiple below it, by no more
    than `tolerance` alpha, does not.

    Attributes:
        inner: The method that finds d. Its failures are passed on.
        tolerance: On alpha, relative. The change is that much larger than it has to be, at the most.
        margin: In logits. It keeps the correction clear of rounding, some 1e-5 for logits of some 10 in float32.
    """

    inner: Method = field(default_factory=SubsetSearch)
    tolerance: float = 1e-3
    margin: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < 1:
            raise ValueError(f"tolerance={self.tolerance}: must be above 0 and below 1")
        if self.margin < 0:
            raise ValueError(f"margin={self.margin}: must be at least 0")

    def draws(self, network: nn.Module) -> bool:
        """Only the inner method may draw."""
        says = getattr(self.inner, "draws", None)
        return says is None or bool(says(network))

    def correct(self, trial: Trial, sample: Sample, stream: np.random.Generator) -> Correction:
        """Run the inner method, then shrink; see `Method.correct`.

        What is altered and the steps are the inner method's; each multiple looked at is one forward pass more.
        """
        return self._smallest(trial, sample, self.inner.correct(trial, sample, stream))

    def at_once(self, network: nn.Module) -> int:
        """As many as the inner method; see `Together`."""
        return self.inner.at_once(network) if isinstance(self.inner, Together) else 1

    def correct_many(
        self, trial: Trial, samples: Sequence[Sample], streams: Sequence[np.random.Generator]
    ) -> Sequence[Correction]:
        """Have the inner method correct all, then shrink one after another; see `Together`."""
        assert isinstance(self.inner, Together), "at_once says so"
        found = []
        for sample, correction in zip(samples, self.inner.correct_many(trial, samples, streams), strict=True):
            before = trial.forward_passes
            smallest = self._smallest(trial, sample, correction)
            looks = trial.forward_passes - before
            found.append(replace(smallest, forward_passes=correction.forward_passes + looks))
        return found

    def _smallest(self, trial: Trial, sample: Sample, correction: Correction) -> Correction:
        """Return a correction with its change shrunk, if it has one."""
        if correction.patch is None:
            return correction
        return replace(correction, patch=self._shrunk(trial, sample, correction.patch))

    def _shrunk(self, trial: Trial, sample: Sample, patch: Patch) -> Patch:
        """Return a multiple of a patch that suffices."""
        _only(trial, patch)
        old, whole = patch.old.double(), patch.new.double()

        def margin(values: torch.Tensor) -> float:
            trial.flat[patch.indices] = values
            logits = trial.logits(sample)
            right = Answer.of(logits, sample).right
            return float(margins(logits, sample)) if right else -float("inf")

        found, least = patch.new, max(0.0, min(self.margin, margin(patch.new)))
        low, high = 0.0, 1.0  # at 0 the sample is wrong
        while high - low > self.tolerance * high:
            alpha = (low + high) / 2
            values = torch.lerp(old, whole, alpha).to(patch.new.dtype)
            if margin(values) >= least:
                found, high = values, alpha
            else:
                low = alpha
        return Patch.sparse(patch.space, patch.indices, patch.old, found)


def _only(trial: Trial, patch: Patch) -> None:
    """Undo what a method did to the copy, so that it differs at most where the patch does."""
    if trial.altered is None:
        trial.flat.copy_(trial.original)
    else:
        trial.flat[trial.altered] = trial.original[trial.altered]
        trial.altered = patch.indices
