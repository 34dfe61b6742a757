"""Tests on values per sample of one method."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from experiments.report.claims.evidence import QUANTITIES, Evidence, Missing, Outcome
from experiments.report.metrics import correct, corrected
from experiments.report.numbers import format_number
from experiments.report.statistics import Interval, bootstrap_mean, sign_flip_p, wilson
from experiments.report.style import method_style, setting_label

Choices = Mapping[str, Collection[str]]
NOT_FINITE = "missing: no value is finite"


def about(setting: str) -> str:
    """Return a setting in words; empty for the reloading one."""
    return "" if setting == "reloading" else f" ({setting_label(setting)})"


def rows_of(
    evidence: Evidence, network: str, setting: str, method: str, metric: str
) -> pd.DataFrame | Missing:
    """Return the rows that a quantity has a value for."""
    samples = evidence.samples(network, setting, method)
    if isinstance(samples, Missing) or QUANTITIES[metric].population == "all":
        return samples
    rows = samples[corrected(samples)]
    return Missing(f"missing: {method_style(method).label} corrected no sample") if rows.empty else rows


@dataclass(frozen=True)
class Share:
    """A method makes a stated percentage of the samples right.

    Direction: the share of pairs of seed and sample lies within `near` points of the stated one. Size: its Wilson
    95 % interval reaches the stated percentage, widened by `tolerance` points; with 100 and no tolerance that is
    so only where every pair is right, with 0 where none is. No p value. The pairs of one sample are not
    independent, which the interval does not know.
    """

    choices: ClassVar[Choices] = {}
    network: str
    method: str
    stated: float
    setting: str = "reloading"
    tolerance: float = 0.0
    near: float = 5.0

    @property
    def subject(self) -> str:
        """The test in words."""
        slack = f" ± {format_number(self.tolerance)}" if self.tolerance else ""
        label = method_style(self.method).label
        return f"{label} corrects {format_number(self.stated)}{slack} %{about(self.setting)}"

    def evaluate(self, evidence: Evidence) -> Outcome | Missing:
        """Return the finding of the records."""
        samples = evidence.samples(self.network, self.setting, self.method)
        if isinstance(samples, Missing):
            return samples
        right = correct(samples)
        share = 100 * float(right.mean())
        ends = wilson(int(right.sum()), right.size)
        interval = Interval(100 * ends.low, 100 * ends.high)
        reaches = interval.low - self.tolerance <= self.stated <= interval.high + self.tolerance
        near = abs(share - self.stated) <= max(self.near, self.tolerance)
        seeds = int(samples["seed"].nunique())
        return Outcome(share, self.stated, share, interval, None, near, reaches, right.size, seeds)


@dataclass(frozen=True)
class Sign:
    """The mean of a quantity is below, or above, 0.

    Over the pairs of seed and sample that have a finite value. Direction: the mean lies on the stated side. Size: its
    amount is at least `least` and below `most`, where they are given. Significance: the sign-flip p value, after
    Holm's correction.
    """

    choices: ClassVar[Choices] = {"metric": QUANTITIES, "expect": ("below", "above")}
    network: str
    metric: str
    method: str
    expect: str
    setting: str = "reloading"
    least: float = 0.0
    most: float = np.inf

    @property
    def subject(self) -> str:
        """The test in words."""
        size = ""
        if self.least or np.isfinite(self.most):
            size = f", by {format_number(self.least)} to {format_number(self.most)}"
        label = method_style(self.method).label
        return f"{QUANTITIES[self.metric].label}: {label} {self.expect} 0{size}{about(self.setting)}"

    def evaluate(self, evidence: Evidence) -> Outcome | Missing:
        """Return the finding of the records."""
        rows = rows_of(evidence, self.network, self.setting, self.method, self.metric)
        if isinstance(rows, Missing):
            return rows
        values = QUANTITIES[self.metric].values(rows)
        rows, values = rows[np.isfinite(values)], values[np.isfinite(values)]
        if not values.size:
            return Missing(NOT_FINITE)
        name = (self.metric, self.network, self.setting, self.method)
        mean = float(values.mean())
        flip = sign_flip_p(values, rows["index"], *name)
        return Outcome(
            ours=mean,
            against=0.0,
            value=mean,
            interval=bootstrap_mean(values, rows["seed"], rows["index"], *name),
            p=flip.p,
            direction=mean < 0 if self.expect == "below" else mean > 0,
            size=self.least <= abs(mean) < self.most,
            n=values.size,
            seeds=int(rows["seed"].nunique()),
            exact=flip.exact,
        )


@dataclass(frozen=True)
class MeanBetween:
    """The mean of a quantity lies between two stated values.

    Direction: the mean does. Size: its 95 % interval does. No p value.
    """

    choices: ClassVar[Choices] = {"metric": QUANTITIES}
    network: str
    metric: str
    method: str
    low: float
    high: float
    setting: str = "reloading"

    @property
    def subject(self) -> str:
        """The test in words."""
        ends = f"between {format_number(self.low)} and {format_number(self.high)}"
        label = method_style(self.method).label
        return f"{QUANTITIES[self.metric].label}: {label} {ends}{about(self.setting)}"

    def evaluate(self, evidence: Evidence) -> Outcome | Missing:
        """Return the finding of the records."""
        rows = rows_of(evidence, self.network, self.setting, self.method, self.metric)
        if isinstance(rows, Missing):
            return rows
        values = QUANTITIES[self.metric].values(rows)
        finite = np.isfinite(values)
        if not finite.any():
            return Missing(NOT_FINITE)
        name = (self.metric, self.network, self.setting, self.method)
        interval = bootstrap_mean(values, rows["seed"], rows["index"], *name)
        mean = float(values[finite].mean())
        within = self.low <= interval.low and interval.high <= self.high
        direction, seeds = self.low <= mean <= self.high, int(rows["seed"].nunique())
        return Outcome(mean, None, mean, interval, None, direction, within, int(finite.sum()), seeds)
