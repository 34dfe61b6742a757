"""Tests on values per run: the non-reloading setting, whose samples depend on those before them.

A sample's outcome there is not independent of the one before it, so no test pairs samples: a run is one value. The runs
of a method are draws over its seeds and over replicas of N0 (`mnist.replicas`): without replicas the spread leaves out
what rounding does, and there is no verdict. The rule is that the runs of two methods do not overlap; the outcome says
how many there are.
"""

from dataclasses import dataclass
from math import comb
from typing import ClassVar

import numpy as np
import pandas as pd

from experiments.report.claims.evidence import PER_SEED, Evidence, Missing, Outcome, shown
from experiments.report.claims.on_samples import Choices
from experiments.report.metrics import Values, rounding_is_known
from experiments.report.numbers import format_number
from experiments.report.style import method_style, network_label

ENOUGH = 3  # seeds of one of the two, for an order of seeds to say more than the order of two runs
NO_VALUE = "missing: no seed has a value"
NO_REPLICA = "missing: no replica of N0 is among the records, and rounding alone may move the end of a run"


def separated(first: Values, second: Values, less: bool) -> tuple[bool, bool]:
    """Return whether the first mean is less (or more), and whether every first value is, with enough seeds."""
    if not less:
        first, second = -first, -second
    apart = bool(first.max() < second.min()) and max(first.size, second.size) >= ENOUGH
    return bool(first.mean() < second.mean()), apart


def weakness(first: int, second: int) -> str:
    """Return how little a separation of so many seeds says."""
    smallest = min(1.0, 2 / comb(first + second, first))
    return (
        f"{first} against {second} run{'s' if second > 1 else ''}: at best p = {format_number(smallest)}"
        " by permutation"
    )


@dataclass(frozen=True)
class Order:
    """A method ends with less, or more, of something than another.

    Direction: the mean over seeds is on the stated side. Size: so is every seed against every seed of the other, and
    one of the two has three seeds or more. No p value.
    """

    choices: ClassVar[Choices] = {"metric": PER_SEED, "expect": ("less", "more")}
    network: str
    metric: str
    method: str
    against: str
    expect: str
    setting: str = "non_reloading"

    @property
    def subject(self) -> str:
        """The test in words."""
        first, second = (method_style(name).label for name in (self.method, self.against))
        return f"{PER_SEED[self.metric].label}: {first} {self.expect} than {second}"

    def evaluate(self, evidence: Evidence) -> Outcome | Missing:
        """Return the finding of the records."""
        found = []
        for method in (self.method, self.against):
            values = seed_values(evidence, self.network, self.setting, method, self.metric)
            if isinstance(values, Missing):
                return values
            found.append(values)
        return _compared(found[0], found[1], self.expect == "less")


def _compared(first: Values, second: Values, less: bool) -> Outcome:
    ours, theirs = float(first.mean()), float(second.mean())
    direction, apart = separated(first, second, less)
    difference = ours - theirs if np.isfinite([ours, theirs]).any() else np.nan
    n, note = first.size + second.size, weakness(first.size, second.size)
    return Outcome(ours, theirs, difference, None, None, direction, apart, n, first.size, note=note)


def seed_values(evidence: Evidence, network: str, setting: str, method: str, metric: str) -> Values | Missing:
    """Return a quantity's value for each seed of a method, and for each replica of N0."""
    samples = evidence.samples(network, setting, method)
    if isinstance(samples, Missing):
        return samples
    if not rounding_is_known(samples):
        return Missing(NO_REPLICA)
    values = PER_SEED[metric].values(samples)
    values = values[~np.isnan(values)]
    return values if values.size else Missing(NO_VALUE)


@dataclass(frozen=True)
class Level:
    """A quantity lies between two stated values under every seed.

    Direction: the mean over seeds does, with the range widened by `near` at either end. Size: every seed does, as
    stated. No p value.
    """

    choices: ClassVar[Choices] = {"metric": PER_SEED}
    network: str
    metric: str
    method: str
    low: float = -np.inf
    high: float = np.inf
    near: float = 0.0
    setting: str = "non_reloading"

    @property
    def subject(self) -> str:
        """The test in words."""
        label = method_style(self.method).label
        return f"{PER_SEED[self.metric].label}: {label} {self._range()}{_unless_sequential(self.setting)}"

    def _range(self) -> str:
        if not np.isfinite(self.low):
            return f"at most {format_number(self.high)}"
        if not np.isfinite(self.high):
            return f"at least {format_number(self.low)}"
        return f"between {format_number(self.low)} and {format_number(self.high)}"

    def evaluate(self, evidence: Evidence) -> Outcome | Missing:
        """Return the finding of the records."""
        values = seed_values(evidence, self.network, self.setting, self.method, self.metric)
        if isinstance(values, Missing):
            return values
        mean = float(values.mean())
        within = bool((values >= self.low).all() and (values <= self.high).all())
        near = self.low - self.near <= mean <= self.high + self.near
        note = f"{shown(values.min())} to {shown(values.max())}" if values.size > 1 else "one run"
        return Outcome(mean, None, mean, None, None, near, within, values.size, values.size, note=note)


def _unless_sequential(setting: str) -> str:
    return "" if setting == "non_reloading" else " (reloading)"


@dataclass(frozen=True)
class Sooner:
    """Test accuracy falls below a level after fewer samples on one network than on another.

    Direction and size as for `Order`, of the number of samples until the accuracy is first below `below`; a run whose
    accuracy never is counts as later than any. No p value.
    """

    choices: ClassVar[Choices] = {}
    first: str
    later: str
    method: str
    below: float = 0.5

    network: ClassVar[str] = ""  # of two

    @property
    def subject(self) -> str:
        """The test in words."""
        first, second = map(network_label, (self.first, self.later))
        level = f"test accuracy of {method_style(self.method).label} below {format_number(self.below)}"
        return f"{level} after fewer samples on {first} than on {second}"

    def evaluate(self, evidence: Evidence) -> Outcome | Missing:
        """Return the finding of the records."""
        found = []
        for network in (self.first, self.later):
            samples = evidence.samples(network, "non_reloading", self.method)
            if isinstance(samples, Missing):
                return samples
            if not rounding_is_known(samples):
                return Missing(NO_REPLICA)
            found.append(first_below(samples, self.below))
        return _compared(found[0], found[1], less=True)


def first_below(samples: pd.DataFrame, level: float) -> Values:
    """Return for each seed after how many samples test accuracy is first below a level; infinite for never."""
    places = [
        rows.loc[rows["test_accuracy"] < level, "position"].min() + 1.0 for _, rows in samples.groupby("seed")
    ]
    return np.where(np.isnan(places), np.inf, places)
