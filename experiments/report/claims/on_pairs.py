"""Tests that compare two methods sample by sample, paired on seed and sample."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from experiments.report.claims.evidence import (
    OF_EVERY_SAMPLE,
    QUANTITIES,
    RELOADING,
    Evidence,
    Missing,
    Outcome,
    corrected_too,
    within,
)
from experiments.report.claims.on_samples import Method, OfSamples, refuse_few
from experiments.report.metrics import Values
from experiments.report.numbers import format_number
from experiments.report.statistics import Paired, paired
from experiments.report.style import method_style

NO_COMMON = "missing: no sample that every method of the test corrected"


@dataclass(frozen=True)
class OfTwo(OfSamples):
    """A test of a method against another.

    Pairs are (seed, sample); of quantities that only a corrected sample has, those that both methods, and all of
    `common`, corrected.
    """

    against: Method
    common: tuple[Method, ...] = field(default=(), kw_only=True)

    def compare(self, evidence: Evidence, **factors: float) -> tuple[Paired, float, float]:
        """Return the difference over the pairs, and the mean of either method; values of `factors` are multiplied."""

        def values(rows: pd.DataFrame) -> Values:
            return QUANTITIES[self.metric].values(rows) * factors.get(rows["method"].iloc[0], 1.0)

        ours, theirs = (
            evidence.rows_of(self.network, name, self.metric) for name in (self.method, self.against)
        )
        if self.metric not in OF_EVERY_SAMPLE:
            others = [evidence.samples(self.network, RELOADING, name) for name in self.common]
            ours, theirs = (
                corrected_too(rows, [other, *others]) for rows, other in ((ours, theirs), (theirs, ours))
            )
        if ours.empty or theirs.empty:
            raise Missing(NO_COMMON)
        pairs = paired(ours, theirs, values, *self.name, self.against)
        if pairs is None:
            raise Missing(NO_COMMON)
        refuse_few(pairs.samples)
        return pairs, float(np.nanmean(values(ours))), float(np.nanmean(values(theirs)))


@dataclass(frozen=True)
class PairedTest(OfTwo):
    """A method has less, or more, of something than another, sample by sample.

    Direction: the mean difference lies on the stated side. Significance: the sign-flip p value of that mean, after
    Holm's correction. With a factor f the p value and the size are of f times the smaller less the larger: "at least f
    times fewer".
    """

    expect: Literal["less", "more"]
    factor: float = 1.0

    def _words(self) -> str:
        first, second = (method_style(name).label for name in (self.method, self.against))
        times = f"at least {format_number(self.factor)} times " if self.factor != 1 else ""
        return f"{first} {times}{self.expect} than {second}"

    def _outcome(self, evidence: Evidence) -> Outcome:
        plain, ours, theirs = self.compare(evidence)
        tested, note, side = plain, "", -1 if self.expect == "less" else 1
        if self.factor != 1:
            smaller = self.method if self.expect == "less" else self.against
            tested, _, _ = self.compare(evidence, **{smaller: self.factor})
            # Both differences are linear in the two means over the pairs.
            mean = side * (plain.difference - tested.difference) / (self.factor - 1)
            note = _times(mean + side * plain.difference, mean)
        return Outcome(
            ours,
            direction=side * plain.difference > 0,
            size=side * tested.difference > 0,
            n=plain.n,
            seeds=plain.seeds,
            against=theirs,
            difference=plain.difference,
            interval=plain.interval,
            p=tested.p,
            exact=tested.exact,
            note=note,
        )


def _times(larger: float, smaller: float) -> str:
    ratio = f"{format_number(larger / smaller)} times" if smaller > 0 else "no ratio: one mean is 0"
    return f"{ratio}, over the pairs; the p value is of the factor"


@dataclass(frozen=True)
class Equal(OfTwo):
    """Two methods have as much of something, within a margin, sample by sample.

    Direction: the mean difference is within the margin. Size: its 95 % interval is, which is two one-sided tests at
    2.5 % (Schuirmann 1987). No p value.

    Attributes:
        margin: In the quantity's unit; with `relative` a share of the mean of `against`.
    """

    margin: float
    relative: bool = False

    def _words(self) -> str:
        first, second = (method_style(name).label for name in (self.method, self.against))
        margin = f"{format_number(100 * self.margin)} %" if self.relative else format_number(self.margin)
        return f"{first} the same as {second}, within {margin}"

    def _outcome(self, evidence: Evidence) -> Outcome:
        pairs, ours, theirs = self.compare(evidence)
        margin = self.margin * abs(theirs) if self.relative else self.margin
        found = within(pairs.difference, pairs.interval, -margin, margin)
        return Outcome(ours, *found, pairs.n, pairs.seeds, theirs, pairs.difference, pairs.interval)
