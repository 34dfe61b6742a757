"""Tests that compare two methods sample by sample, paired on seed and sample."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import pandas as pd

from experiments.report.claims.evidence import QUANTITIES, Evidence, Missing, Outcome
from experiments.report.claims.on_samples import Choices, about, rows_of
from experiments.report.metrics import Values
from experiments.report.numbers import format_number
from experiments.report.statistics import Paired, paired
from experiments.report.style import method_style

NO_COMMON = "missing: no sample that every method of the test corrected"


@dataclass(frozen=True)
class PairedTest:
    """A method has less, or more, of something than another, sample by sample.

    Pairs are (seed, sample); of quantities that only a corrected sample has, those that both methods, and all of
    `common`, corrected. Direction: the mean difference lies on the stated side. Significance: the sign-flip p value
    of that mean, after Holm's correction. With a factor f the p value and the size are of f times the smaller less
    the larger: "at least f times fewer".
    """

    choices: ClassVar[Choices] = {"metric": QUANTITIES, "expect": ("less", "more")}
    network: str
    metric: str
    method: str
    against: str
    expect: str
    setting: str = "reloading"
    factor: float = 1.0
    common: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """The test in words."""
        first, second = (method_style(name).label for name in (self.method, self.against))
        times = f"at least {format_number(self.factor)} times " if self.factor != 1 else ""
        words = f"{first} {times}{self.expect} than {second}"
        return f"{QUANTITIES[self.metric].label}: {words}{about(self.setting)}"

    def evaluate(self, evidence: Evidence) -> Outcome | Missing:
        """Return the finding of the records."""
        found = two_methods(evidence, self)
        if isinstance(found, Missing):
            return found
        first, second = found
        quantity, side = QUANTITIES[self.metric], -1 if self.expect == "less" else 1
        name = (self.metric, self.network, self.setting, self.method, self.against)
        plain = paired(first, second, quantity.values, *name)
        if plain is None:
            return Missing(NO_COMMON)
        tested, note = plain, ""
        if self.factor != 1:
            tested = self._scaled(first, second, name)
            # Both differences are linear in the two means over the pairs.
            smaller = side * (plain.difference - tested.difference) / (self.factor - 1)
            note = _times(smaller + side * plain.difference, smaller)
        ours, theirs = (float(np.nanmean(quantity.values(rows))) for rows in (first, second))
        return Outcome(
            ours=ours,
            against=theirs,
            value=plain.difference,
            interval=plain.interval,
            p=tested.p,
            direction=side * plain.difference > 0,
            size=side * tested.difference > 0,
            n=plain.n,
            seeds=plain.seeds,
            exact=tested.exact,
            note=note,
        )

    def _scaled(self, first: pd.DataFrame, second: pd.DataFrame, name: tuple[str, ...]) -> Paired:
        """Compare after multiplying the method that is to have less."""
        smaller = self.method if self.expect == "less" else self.against

        def values(rows: pd.DataFrame) -> Values:
            factor = self.factor if (rows["method"] == smaller).all() else 1.0
            return factor * QUANTITIES[self.metric].values(rows)

        found = paired(first, second, values, *name)
        if found is None:
            raise ValueError("the pairs of the plain comparison are gone")
        return found


def _times(larger: float, smaller: float) -> str:
    ratio = f"{format_number(larger / smaller)} times" if smaller > 0 else "no ratio: one mean is 0"
    return f"{ratio}, over the pairs; the p value is of the factor"


class _OfTwo(Protocol):
    """What tests of two methods have in common."""

    @property
    def network(self) -> str: ...
    @property
    def setting(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def against(self) -> str: ...
    @property
    def common(self) -> tuple[str, ...]: ...


def two_methods(evidence: Evidence, test: _OfTwo) -> tuple[pd.DataFrame, pd.DataFrame] | Missing:
    """Return the rows of two methods that make pairs; of a quantity of corrected samples, those of no others."""
    found = []
    for method, other in ((test.method, test.against), (test.against, test.method)):
        rows = rows_of(evidence, test.network, test.setting, method, test.metric)
        if isinstance(rows, Missing):
            return rows
        if QUANTITIES[test.metric].population == "corrected":
            rows = evidence.corrected_by(rows, (other, *test.common))
        found.append(rows)
    return Missing(NO_COMMON) if any(rows.empty for rows in found) else (found[0], found[1])


@dataclass(frozen=True)
class Equal:
    """Two methods have as much of something, within a margin, sample by sample.

    Pairs as in `PairedTest`. Direction: the mean difference is within the margin. Size: its 95 % interval is, which
    is two one-sided tests at 2.5 % (Schuirmann 1987). No p value.

    Attributes:
        margin: In the quantity's unit; with `relative` a share of the mean of `against`.
    """

    choices: ClassVar[Choices] = {"metric": QUANTITIES}
    network: str
    metric: str
    method: str
    against: str
    margin: float
    relative: bool = False
    setting: str = "reloading"
    common: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """The test in words."""
        first, second = (method_style(name).label for name in (self.method, self.against))
        margin = f"{format_number(100 * self.margin)} %" if self.relative else format_number(self.margin)
        words = f"{first} the same as {second}, within {margin}"
        return f"{QUANTITIES[self.metric].label}: {words}{about(self.setting)}"

    def evaluate(self, evidence: Evidence) -> Outcome | Missing:
        """Return the finding of the records."""
        found = two_methods(evidence, self)
        if isinstance(found, Missing):
            return found
        first, second = found
        values = QUANTITIES[self.metric].values
        name = (self.metric, self.network, self.setting, self.method, self.against)
        pairs = paired(first, second, values, *name)
        if pairs is None:
            return Missing(NO_COMMON)
        ours, theirs = (float(np.nanmean(values(rows))) for rows in (first, second))
        margin = self.margin * abs(theirs) if self.relative else self.margin
        return Outcome(
            ours=ours,
            against=theirs,
            value=pairs.difference,
            interval=pairs.interval,
            p=None,
            direction=abs(pairs.difference) <= margin,
            size=-margin <= pairs.interval.low and pairs.interval.high <= margin,
            n=pairs.n,
            seeds=pairs.seeds,
        )
