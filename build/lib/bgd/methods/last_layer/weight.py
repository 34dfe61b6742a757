"""One weight of the last layer, in closed form: Goldberger et al., LPAR-23, 2020, find it by verification.

Their changes that are smallest in L1 are of one weight in effect, of size m / max |h_j|.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

from bgd.curvature.base import Estimator
from bgd.errors import nearest
from bgd.methods.base import Correction, Sample, Trial
from bgd.methods.last_layer.head import NOT_FINITE, Floats, Head, Integers, View, check_margin

VERSION = 1  # raised whenever the same options may give another correction
CHOICES = ("largest_activation", "least_harm")


@dataclass(frozen=True)
class LastLayerWeight:
    """Adds (m + margin) / h_j to one weight w_tj of the right class t, where m = max over c of z_c, less z_t.

    Which unit j: the one with the largest |h_j|, whose change is the smallest, or the one whose change does least harm
    to the training loss to second order, change^2 F_tj / 2 with F the diagonal of a curvature. A unit that is not
    active on the sample can do nothing. Where rounding or overflow leaves the sample wrong, the next unit is tried.

    Attributes:
        choose: `largest_activation` or `least_harm`.
        margin: By which the right class wins, in logits; the default as of `OutputBias`.
        estimator: Of the curvature, for `least_harm`; None for `largest_activation`.
    """

    knows: ClassVar[str] = "nothing"

    choose: str = "largest_activation"
    margin: float = 0.01
    estimator: Estimator | None = None

    def __post_init__(self) -> None:
        check_margin(self.margin)
        if self.choose not in CHOICES:
            raise ValueError(f"choose={self.choose!r}: no such choice; {nearest(self.choose, CHOICES)}")
        if (self.choose == "least_harm") != (self.estimator is not None):
            raise ValueError(
                f"estimator={self.estimator!r}: choose='least_harm' needs one, and no other choice reads one; "
                f"choose={self.choose!r}"
            )

    def draws(self, network: nn.Module) -> bool:
        """No random numbers."""
        return False

    def correct(self, trial: Trial, sample: Sample, stream: np.random.Generator) -> Correction:
        """Change one weight; see `Method.correct`."""
        head = Head(trial, sample)
        view = head.view(sample)
        if not view.finite:
            return Correction.failed(NOT_FINITE)
        units = view.inputs[:-1] if head.bias else view.inputs
        with np.errstate(divide="ignore", over="ignore"):
            changes = (view.deficit + self.margin) / units
        costs = self._costs(trial, head, view, changes)
        tries = 0
        for unit in ranked(costs, changes):
            tries += 1
            change = np.zeros_like(head.values)
            change[view.label, unit] = changes[unit]
            if head.right_with(change, sample):
                return head.correction(tries)
        if not tries:
            return Correction.failed("no unit before the last layer is active")
        return Correction.failed(f"wrong with any one of {tries:,} weights", tries)

    def _costs(self, trial: Trial, head: Head, view: View, changes: Floats) -> Floats:
        """Return the cost of changing each weight of the right class (d,): infinite or NaN where no change suffices."""
        if self.estimator is None:
            return np.abs(changes)
        harm = head.of_vector(trial.curvature(self.estimator).diagonal())[view.label, : len(changes)]
        with np.errstate(invalid="ignore", over="ignore"):
            costs: Floats = np.square(changes) * harm
        return costs


def ranked(costs: Floats, changes: Floats) -> Integers:
    """Return the units by rising cost, equal ones by the size of their change, without those that have no finite one.

    Ties are real: F is 0 at a unit that never acts on D.
    """
    usable = np.flatnonzero(np.isfinite(costs) & np.isfinite(changes))
    return usable[np.lexsort((np.abs(changes[usable]), costs[usable]))]
