"""Tests on values per run: the non-reloading setting, whose samples depend on those before them.

A sample's outcome there is not independent of the one before it, so no test pairs samples: a run is one value. The runs
of a method are draws over its seeds and over replicas of N0 (`mnist.replicas`): without replicas the spread leaves out
what rounding does, and there is no verdict. The rule is that the runs of two methods do not overlap; the outcome says
how many there are.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import comb
from typing import Annotated, Literal

import numpy as np
import pandas as pd

from experiments.records.schema import NON_RELOADING
from experiments.report.claims.evidence import PER_SEED, QUANTITIES, Evidence, Missing, Outcome, shown
from experiments.report.claims.on_samples import Kind, Method, Network, OfMetric
from experiments.report.metrics import Values, rounding_is_known
from experiments.report.numbers import format_number
from experiments.report.style import method_style, network_label

NO_REPLICA = "missing: no replica of N0 is among the records, and rounding alone may move the end of a run"
ENOUGH = 3  # seeds of one of the two, for an order of seeds to say more than the order of two runs


def run_values(evidence: Evidence, network: str, method: str, of: Callable[[pd.DataFrame], Values]) -> Values:
    """Return a quantity's value for each seed of a method and each replica of N0, or raise `Missing`."""
    samples = evidence.samples(network, NON_RELOADING, method)
    if not rounding_is_known(samples):
        raise Missing(NO_REPLICA)
    values = of(samples)
    values = values[~np.isnan(values)]
    if not values.size:
        raise Missing("missing: no seed has a value")
    return values


def separated(first: Values, second: Values, less: bool) -> Outcome:
    """Compare runs: whether the first mean is less (or more), and whether every first value is, with enough seeds."""
    ours, theirs = float(first.mean()), float(second.mean())
    below, above = (first, second) if less else (second, first)
    counted = f"{first.size} against {second.size} run{'s' if second.size > 1 else ''}"
    smallest = min(1.0, 2 / comb(first.size + second.size, first.size))
    return Outcome(
        ours,
        direction=bool(below.mean() < above.mean()),
        size=bool(below.max() < above.min()) and max(first.size, second.size) >= ENOUGH,
        n=first.size + second.size,
        seeds=first.size,
        against=theirs,
        difference=ours - theirs if np.isfinite([ours, theirs]).any() else np.nan,
        note=f"{counted}: at best p = {format_number(smallest)} by permutation",
    )


@dataclass(frozen=True)
class OfRuns(OfMetric):
    """A test on a quantity that each run of a method has a value of."""

    metric: Annotated[str, PER_SEED]

    def values(self, evidence: Evidence, method: str) -> Values:
        """Return the value of each run of a method; see `run_values`."""
        return run_values(evidence, self.network, method, QUANTITIES[self.metric].values)


@dataclass(frozen=True)
class Order(OfRuns):
    """A method ends with less, or more, of something than another.

    Direction: the mean over seeds is on the stated side. Size: so is every seed against every seed of the other, and
    one of the two has three seeds or more. No p value.
    """

    against: Method
    expect: Literal["less", "more"]

    def _words(self) -> str:
        first, second = (method_style(name).label for name in (self.method, self.against))
        return f"{first} {self.expect} than {second}"

    def _outcome(self, evidence: Evidence) -> Outcome:
        first, second = (self.values(evidence, method) for method in (self.method, self.against))
        return separated(first, second, self.expect == "less")


@dataclass(frozen=True)
class Level(OfRuns):
    """A quantity lies between two stated values under every seed.

    Direction: the mean over seeds does, with the range widened by `near` at either end. Size: every seed does, as
    stated. No p value.
    """

    low: float = -np.inf
    high: float = np.inf
    near: float = 0.0

    def _words(self) -> str:
        low, high = (shown(value) for value in (self.low, self.high))
        ends = f"between {low} and {high}"
        if not np.isfinite(self.low):
            ends = f"at most {high}"
        elif not np.isfinite(self.high):
            ends = f"at least {low}"
        return f"{method_style(self.method).label} {ends}"

    def _outcome(self, evidence: Evidence) -> Outcome:
        values = self.values(evidence, self.method)
        mean = float(values.mean())
        return Outcome(
            mean,
            direction=self.low - self.near <= mean <= self.high + self.near,
            size=bool((values >= self.low).all() and (values <= self.high).all()),
            n=values.size,
            seeds=values.size,
            note=f"{shown(values.min())} to {shown(values.max())}" if values.size > 1 else "one run",
        )


@dataclass(frozen=True)
class Sooner(Kind):
    """Test accuracy falls below a level after fewer samples on one network than on another.

    Direction and size as for `Order`, of the number of samples until the accuracy is first below `below`; a run whose
    accuracy never is counts as later than any. No p value.
    """

    first: Network
    later: Network
    method: Method
    below: float = 0.5
    network: str = field(default="", init=False)  # of two

    def _words(self) -> str:
        first, second = map(network_label, (self.first, self.later))
        level = f"test accuracy of {method_style(self.method).label} below {format_number(self.below)}"
        return f"{level} after fewer samples on {first} than on {second}"

    def _outcome(self, evidence: Evidence) -> Outcome:
        first, second = (
            run_values(evidence, network, self.method, self._first_below)
            for network in (self.first, self.later)
        )
        return separated(first, second, less=True)

    def _first_below(self, samples: pd.DataFrame) -> Values:
        """Return for each seed after how many samples test accuracy is first below the level; infinite for never."""
        below = samples[samples["test_accuracy"] < self.below].groupby("seed")["position"].min() + 1.0
        return below.reindex(samples["seed"].unique(), fill_value=np.inf).to_numpy(dtype=np.float64)
