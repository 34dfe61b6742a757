"""Tests on values per run: the non-reloading setting, whose samples depend on those before them.

A sample's outcome there is not independent of the one before it, so no test pairs samples: a run is one value, and runs
that are the same are one. The runs of a method are draws over its seeds, over orders of the samples, over other N0, and
over replicas of N0 (`mnist.replicas`): without replicas the spread leaves out what rounding does, and there is no
verdict. The rule is that the runs of two methods do not overlap; the outcome says how many there are.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
import pandas as pd

import experiments.report.metrics as metrics
from experiments.records.schema import NON_RELOADING
from experiments.report.claims.evidence import (
    OF_THE_START,
    PER_SEED,
    QUANTITIES,
    Evidence,
    Missing,
    Outcome,
    shown,
)
from experiments.report.claims.on_samples import Kind, Method, Network, OfMetric
from experiments.report.metrics import Values, is_distribution
from experiments.report.numbers import format_number
from experiments.report.style import method_style, network_label

FEW = "not comparable: fewer than {} different runs, or no replicas of N0: rounding moves the end of a run"
STOPS = "not comparable: the runs stop after {} of N0's {} errors"
MOST = 0.95  # of the runs, or of the pairs of runs: has the size


def run_values(
    evidence: Evidence, network: str, method: str, of: Callable[[pd.DataFrame], Values], whole: bool = True
) -> Values:
    """Return a quantity's value for each run of a method, or raise `Missing`: there are too few, or they stop early.

    A quantity of the `whole` sequence has no value that could be compared where the runs stop before its end.
    """
    samples = evidence.samples(network, NON_RELOADING, method)
    stops = samples[samples["run_samples"] < samples["errors"]]
    if whole and len(stops):
        raise Missing(STOPS.format(stops["run_samples"].iloc[0], stops["errors"].iloc[0]))
    if not is_distribution(samples):
        raise Missing(FEW.format(metrics.ENOUGH_RUNS))
    values = of(samples)
    values = values[~np.isnan(values)]
    if not values.size:
        raise Missing("missing: no run has a value")
    return values


def separated(first: Values, second: Values, less: bool) -> Outcome:
    """Compare two distributions of runs: whether the first median is less (or more), and `MOST` of the pairs are."""
    ours, theirs = float(np.median(first)), float(np.median(second))
    below, above = (first, second) if less else (second, first)
    share = float((below[:, None] < above).mean())
    return Outcome(
        ours,
        direction=bool(np.median(below) < np.median(above)),
        size=share >= MOST,
        n=first.size + second.size,
        seeds=first.size,
        against=theirs,
        difference=ours - theirs if np.isfinite([ours, theirs]).any() else np.nan,
        note=f"{first.size} against {second.size} runs: so in {format_number(100 * share)} % of the pairs",
    )


@dataclass(frozen=True)
class OfRuns(OfMetric):
    """A test on a quantity that each run of a method has a value of."""

    metric: Annotated[str, PER_SEED]

    def values(self, evidence: Evidence, method: str) -> Values:
        """Return the value of each run of a method; see `run_values`."""
        of = QUANTITIES[self.metric].values
        return run_values(evidence, self.network, method, of, self.metric not in OF_THE_START)


@dataclass(frozen=True)
class Order(OfRuns):
    """A method ends with less, or more, of something than another.

    Direction: the median over runs is on the stated side. Size: so are 95 % of the pairs of a run of the one and a run
    of the other. No p value.
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
    """A quantity lies between two stated values.

    Direction: the median over runs does, with the range widened by `near` at either end. Size: 95 % of the runs do, as
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
        middle = float(np.median(values))
        return Outcome(
            middle,
            direction=self.low - self.near <= middle <= self.high + self.near,
            size=float(((values >= self.low) & (values <= self.high)).mean()) >= MOST,
            n=values.size,
            seeds=values.size,
            note=f"{shown(values.min())} to {shown(values.max())}",
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
            run_values(evidence, network, self.method, self._first_below, whole=False)
            for network in (self.first, self.later)
        )
        return separated(first, second, less=True)

    def _first_below(self, samples: pd.DataFrame) -> Values:
        """Return for each seed after how many samples test accuracy is first below the level; infinite for never."""
        below = samples[samples["test_accuracy"] < self.below].groupby("seed")["position"].min() + 1.0
        return below.reindex(samples["seed"].unique(), fill_value=np.inf).to_numpy(dtype=np.float64)
