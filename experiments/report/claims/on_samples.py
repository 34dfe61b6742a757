"""What every kind of test has in common, and the tests on values per sample of one method."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pandas as pd

import experiments.report.metrics as metrics
from experiments.report.claims.evidence import (
    PER_SAMPLE,
    QUANTITIES,
    RELOADING,
    Evidence,
    Missing,
    Outcome,
    within,
)
from experiments.report.metrics import Values, correct
from experiments.report.numbers import format_number
from experiments.report.statistics import Interval, bootstrap_mean, share_of_samples, sign_flip_p
from experiments.report.style import METHODS, NETWORKS, method_style
from experiments.report.surveys import HIGH, LOW, resamples

Network = Annotated[str, tuple(NETWORKS)]
Method = Annotated[str, tuple(METHODS)]
FEW = "not comparable: it rests on {} samples"
PerSample = Annotated[str, PER_SAMPLE]


def refuse_few(samples: int) -> None:
    """Raise `Missing` where too few different samples are behind a mean."""
    if samples < metrics.ENOUGH_SAMPLES:
        raise Missing(FEW.format(samples))


class Kind(ABC):
    """A test of a claim; its kinds are frozen dataclasses, so that equal tests are one.

    Attributes:
        network: Whose records it is on; empty where it compares networks.
    """

    network: str

    @property
    def subject(self) -> str:
        """The test in words."""
        return self._words()

    def evaluate(self, evidence: Evidence) -> Outcome:
        """Return the finding of the records, before Holm's correction, or raise `Missing`."""
        return self._outcome(evidence)

    @abstractmethod
    def _words(self) -> str: ...

    @abstractmethod
    def _outcome(self, evidence: Evidence) -> Outcome: ...


@dataclass(frozen=True)
class Share(Kind):
    """A method makes a stated percentage of the samples right.

    Direction: the share of pairs of seed and sample lies within `near` points of the stated one. Size: its 95 %
    interval over samples reaches the stated percentage, widened by `tolerance` points. No p value.
    """

    network: Network
    method: Method
    stated: float
    tolerance: float = 0.0
    near: float = 5.0

    def _words(self) -> str:
        slack = f" ± {format_number(self.tolerance)}" if self.tolerance else ""
        return f"{method_style(self.method).label} corrects {format_number(self.stated)}{slack} %"

    def _outcome(self, evidence: Evidence) -> Outcome:
        samples = evidence.samples(self.network, RELOADING, self.method)
        right = correct(samples)
        share, interval = 100 * float(right.mean()), share_of_samples(samples).times(100)
        return Outcome(
            share,
            direction=abs(share - self.stated) <= max(self.near, self.tolerance),
            size=interval.low - self.tolerance <= self.stated <= interval.high + self.tolerance,
            n=right.size,
            seeds=int(samples["seed"].nunique()),
            against=self.stated,
            interval=interval,
        )


@dataclass(frozen=True)
class OfMetric(Kind):
    """A test on a quantity of a method."""

    network: Network
    metric: str
    method: Method

    @property
    def subject(self) -> str:
        """The test in words."""
        return f"{QUANTITIES[self.metric].label}: {self._words()}"


@dataclass(frozen=True)
class OfSamples(OfMetric):
    """A test on a quantity of the samples of a method."""

    metric: PerSample

    @property
    def name(self) -> tuple[str, ...]:
        """The name of its random streams."""
        return self.metric, self.network, RELOADING, self.method

    def finite(self, evidence: Evidence) -> tuple[pd.DataFrame, Values, Interval]:
        """Return the rows that have a finite value, the values, and the interval of their mean."""
        rows = evidence.rows_of(self.network, self.method, self.metric)
        values = QUANTITIES[self.metric].values(rows)
        rows, values = rows[np.isfinite(values)], values[np.isfinite(values)]
        refuse_few(rows["index"].nunique())
        return rows, values, bootstrap_mean(values, rows["seed"], rows["index"], *self.name)


@dataclass(frozen=True)
class Sign(OfSamples):
    """The mean of a quantity is below, or above, 0.

    Over the pairs of seed and sample that have a finite value. Direction: the mean lies on the stated side. Size: its
    amount is at least `least` and below `most`, where they are given. Significance: the sign-flip p value, after
    Holm's correction.
    """

    expect: Literal["below", "above"]
    least: float = 0.0
    most: float = np.inf

    def _words(self) -> str:
        bounded = self.least or np.isfinite(self.most)
        size = f", by {format_number(self.least)} to {format_number(self.most)}" if bounded else ""
        return f"{method_style(self.method).label} {self.expect} 0{size}"

    def _outcome(self, evidence: Evidence) -> Outcome:
        rows, values, interval = self.finite(evidence)
        mean, flip = float(values.mean()), sign_flip_p(values, rows["index"], *self.name)
        return Outcome(
            mean,
            direction=mean < 0 if self.expect == "below" else mean > 0,
            size=self.least <= abs(mean) < self.most,
            n=values.size,
            seeds=int(rows["seed"].nunique()),
            against=0.0,
            interval=interval,
            p=flip.p,
            exact=flip.exact,
        )


@dataclass(frozen=True)
class MeanBetween(OfSamples):
    """The mean of a quantity lies between two stated values.

    Direction: the mean does. Size: its 95 % interval does. No p value.
    """

    low: float
    high: float

    def _words(self) -> str:
        ends = f"between {format_number(self.low)} and {format_number(self.high)}"
        return f"{method_style(self.method).label} {ends}"

    def _outcome(self, evidence: Evidence) -> Outcome:
        rows, values, interval = self.finite(evidence)
        mean, seeds = float(values.mean()), int(rows["seed"].nunique())
        found = within(mean, interval, self.low, self.high)
        return Outcome(mean, *found, n=values.size, seeds=seeds, interval=interval)


@dataclass(frozen=True)
class Uncorrelated(Kind):
    """Two quantities of a method go together no more than weakly, sample by sample.

    Spearman's rank correlation over the pairs of seed and sample that have both. Direction: its amount is at most
    `limit`. Size: its 95 % percentile bootstrap interval over samples (all seeds of a drawn sample together, the ranks
    kept) is within ± `limit`. No p value: that there is no relation at all is no claim a p value could support.
    """

    network: Network
    metric: PerSample
    with_metric: PerSample
    method: Method
    limit: float = 0.3

    def _words(self) -> str:
        first, second = (QUANTITIES[name].label for name in (self.metric, self.with_metric))
        label = method_style(self.method).label
        return f"{label}: rank correlation of {first} and {second} within ± {format_number(self.limit)}"

    def _outcome(self, evidence: Evidence) -> Outcome:
        rows = evidence.rows_of(self.network, self.method, self.metric)
        values = np.column_stack([QUANTITIES[name].values(rows) for name in (self.metric, self.with_metric)])
        known = np.isfinite(values).all(axis=1)
        ranks = pd.DataFrame(values[known]).rank().to_numpy(dtype=np.float64)
        if ranks.shape[0] < 3 or (ranks.std(axis=0) == 0).any():
            raise Missing("missing: too few samples, or values that do not differ")
        name = ("correlation", self.metric, self.with_metric, self.network, RELOADING, self.method)
        ours, again = rank_correlation(ranks, rows["index"].to_numpy()[known], *name)
        interval = Interval(*map(float, np.nanpercentile(again, (LOW, HIGH))))
        found, seeds = within(ours, interval, -self.limit, self.limit), int(rows["seed"].nunique())
        return Outcome(ours, *found, n=ranks.shape[0], seeds=seeds, against=0.0, interval=interval)


def rank_correlation(ranks: Values, samples: Values, *name: str) -> tuple[float, Values]:
    """Return the correlation of two columns of ranks (n, 2), and in each resample of the samples.

    The rows of one of the `samples` (n,) are drawn together; `name` is that of the bootstrap.
    """
    ids, sample_of = np.unique(samples, return_inverse=True)
    first, second = (ranks - ranks.mean(axis=0)).T
    moments = (np.ones_like(first), first, second, first * first, second * second, first * second)
    sums = np.column_stack([np.bincount(sample_of, weights=part, minlength=ids.size) for part in moments])
    again = resamples(ids.size, *name) @ sums
    return float(_correlation(sums.sum(axis=0, keepdims=True))[0]), _correlation(again)


def _correlation(sums: Values) -> Values:
    """Return the correlation from (rows, 6) sums of 1, x, y, xx, yy and xy; NaN where a column does not vary."""
    n, x, y, xx, yy, xy = sums.T
    spread = (xx - x * x / n) * (yy - y * y / n)
    root = np.sqrt(np.where(spread > 0, spread, np.nan))
    return np.asarray((xy - x * y / n) / root, dtype=np.float64)
