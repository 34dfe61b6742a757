"""Rows of the companion studies as values by seed, their means, and differences of arms over the same seeds."""

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.stats import t as student

from experiments.records.companions import CompanionRow, read_rows, study_file
from experiments.report.numbers import counted, format_number, format_spread
from experiments.report.statistics import Interval

PRINTED = Path(__file__).with_name("printed")
MISSING = "missing"
LEVEL = 0.95
BySeed = Mapping[int, float]
SECOND = "second_eigenvalue_share"  # of the largest one, by magnitude: small where one eigenvalue dominates
PRINTED_STEPS: Mapping[str, int] = {  # of a training, by the sources' settings or their code
    **dict.fromkeys(("c2", "c4", "c6"), 10_001),
    **{"xor": 400, "xord": 4_000, "mnist": 187_600, "synthetic": 50_000, "cifar": 219_100, "starts": 1_000},
}


@dataclass(frozen=True)
class Spread:
    """Values of an arm over seeds.

    Attributes:
        values: Those that are finite.
        failed: How many are not: runs that diverged.
    """

    values: tuple[float, ...]
    failed: int = 0

    @property
    def n(self) -> int:
        """How many are finite."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """NaN of none."""
        return float(np.mean(self.values)) if self.values else math.nan

    @property
    def sd(self) -> float | None:
        """Sample standard deviation (ddof = 1); None of fewer than two."""
        return float(np.std(self.values, ddof=1)) if self.n > 1 else None

    @property
    def text(self) -> str:
        """Mean ± sd, and what diverged; that it is missing, where there is none."""
        lost = f"{self.failed} diverged" if self.failed else ""
        if not self.values:
            return lost or MISSING
        return ", ".join(filter(None, (format_spread(self.mean, self.sd), lost)))


@dataclass(frozen=True)
class Gap:
    """The mean difference of two arms over the seeds that both have, with its t interval."""

    mean: float
    interval: Interval | None
    n: int

    @property
    def text(self) -> str:
        """The difference with the ends of its interval."""
        if not self.n:
            return MISSING
        mean = f"{self.mean:+.2f}"
        if self.interval is None:
            return mean
        return f"{mean} [{format_number(round(self.interval.low, 4))}, {format_number(round(self.interval.high, 4))}]"


def gap_of(first: BySeed, second: BySeed) -> Gap:
    """Give the mean of the first less the second over common seeds, with a 95 % interval by Student's t."""
    seeds = [seed for seed in first if seed in second]
    apart = np.array([first[seed] - second[seed] for seed in seeds])
    apart = apart[np.isfinite(apart)]
    if apart.size < 2:
        return Gap(float(apart.mean()) if apart.size else math.nan, None, int(apart.size))
    half = student.ppf((1 + LEVEL) / 2, apart.size - 1) * apart.std(ddof=1) / math.sqrt(apart.size)
    mean = float(apart.mean())
    return Gap(mean, Interval(mean - float(half), mean + float(half)), int(apart.size))


def value_of(row: CompanionRow, name: str) -> float:
    """Look up a number at the end of a training, or the share that is computed of two of them."""
    if name != SECOND:
        return row.value(name)
    first, second, *_ = (*row.vectors.get("eigenvalues_end", ()), None, None)
    return abs(second / first) if first and second is not None else math.nan


def finite_mean(values: Iterable[float]) -> float:
    """Give the mean of those that are finite; NaN of none."""
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan


@dataclass(frozen=True)
class Evidence:
    """The records of the studies in a folder."""

    folder: Path

    @cached_property
    def _read(self) -> dict[str, list[CompanionRow]]:
        return {}

    def rows(self, study: str, arm: str = "") -> list[CompanionRow]:
        """Give the rows of a study, or of one of its arms, none where there are no records."""
        if study not in self._read:
            self._read[study] = read_rows(study_file(self.folder, study))
        return [row for row in self._read[study] if not arm or row.job.arm == arm]

    def by_seed(self, study: str, arm: str, name: str, factor: float = 1.0) -> BySeed:
        """Give a number of each seed of an arm; NaN for a run that diverged."""
        return {row.job.seed: factor * value_of(row, name) for row in self.rows(study, arm)}

    def spread(self, study: str, arm: str, name: str, factor: float = 1.0) -> Spread:
        """Give the values of an arm."""
        found = self.by_seed(study, arm, name, factor).values()
        finite = tuple(value for value in found if math.isfinite(value))
        return Spread(finite, len(found) - len(finite))

    def gap(self, study: str, first: str, second: str, name: str, factor: float = 1.0) -> Gap:
        """Compare two arms of a study over common seeds."""
        return gap_of(self.by_seed(study, first, name, factor), self.by_seed(study, second, name, factor))

    def scale(self, study: str) -> str:
        """Say in words how much of a study the records are of."""
        rows = self.rows(study)
        if not rows:
            return f"{study}: no records (make companions)"
        job, seeds = rows[0].job, len({row.job.seed for row in rows})
        steps = max(row.value("steps") for row in rows)
        whole = PRINTED_STEPS.get(study, steps)
        of = "" if steps >= whole else f" of the source's {whole:,}"
        much = f"{counted(seeds, 'seed')}, {steps:,.0f}{of} steps"
        return f"{study}: scale {job.scale}, profile {job.profile}, {much}"


def printed(name: str) -> list[dict[str, str]]:
    """Read the values that a table of a source prints, an entry for each cell."""
    with (PRINTED / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def said(cell: Mapping[str, str], name: str) -> str:
    """Give a mean with its deviation digit by digit as a source prints them; empty where it has none."""
    return " ± ".join(filter(None, (cell.get(name, ""), cell.get(f"{name}_sd", ""))))


def number(text: str) -> float | None:
    """Read a printed number; None where there is none."""
    return float(text) if text else None
