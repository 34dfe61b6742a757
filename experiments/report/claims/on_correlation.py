"""A test on how two quantities of one method go together."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from experiments.report.claims.evidence import QUANTITIES, Evidence, Missing, Outcome
from experiments.report.claims.on_samples import Choices, rows_of
from experiments.report.metrics import Values
from experiments.report.numbers import format_number
from experiments.report.statistics import Interval
from experiments.report.style import method_style
from experiments.report.surveys import HIGH, LOW, resamples


@dataclass(frozen=True)
class Uncorrelated:
    """Two quantities of a method go together no more than weakly, sample by sample.

    Spearman's rank correlation over the pairs of seed and sample that have both. Direction: its amount is at most
    `limit`. Size: its 95 % percentile bootstrap interval over samples (all seeds of a drawn sample together, the ranks
    kept) is within ± `limit`. No p value: that there is no relation at all is no claim a p value could support.
    """

    choices: ClassVar[Choices] = {"metric": QUANTITIES, "with_metric": QUANTITIES}
    network: str
    metric: str
    with_metric: str
    method: str
    limit: float = 0.3
    setting: str = "reloading"

    @property
    def subject(self) -> str:
        """The test in words."""
        first, second = (QUANTITIES[name].label for name in (self.metric, self.with_metric))
        label = method_style(self.method).label
        return f"{label}: rank correlation of {first} and {second} within ± {format_number(self.limit)}"

    def evaluate(self, evidence: Evidence) -> Outcome | Missing:
        """Return the finding of the records."""
        rows = rows_of(evidence, self.network, self.setting, self.method, self.metric)
        if isinstance(rows, Missing):
            return rows
        values = np.column_stack([QUANTITIES[name].values(rows) for name in (self.metric, self.with_metric)])
        known = np.isfinite(values).all(axis=1)
        ranks = pd.DataFrame(values[known]).rank().to_numpy(dtype=np.float64)
        if ranks.shape[0] < 3 or (ranks.std(axis=0) == 0).any():
            return Missing("missing: too few samples, or values that do not differ")
        name = ("correlation", self.metric, self.with_metric, self.network, self.setting, self.method)
        ours, again = rank_correlation(ranks, rows["index"].to_numpy()[known], *name)
        low, high = map(float, np.nanpercentile(again, (LOW, HIGH)))
        return Outcome(
            ours=ours,
            against=0.0,
            value=ours,
            interval=Interval(low, high),
            p=None,
            direction=abs(ours) <= self.limit,
            size=-self.limit <= low and high <= self.limit,
            n=ranks.shape[0],
            seeds=int(rows["seed"].nunique()),
        )


def rank_correlation(ranks: Values, samples: Values, *name: str) -> tuple[float, Values]:
    """Return the correlation of two columns of ranks, and in each resample of the samples.

    Args:
        ranks: (n, 2).
        samples: (n,), the sample that each row is of; rows of one sample are drawn together.
        *name: What the bootstrap is for.
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
