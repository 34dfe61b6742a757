"""Intervals and tests for means over pairs of seed and sample.

Every seed of a method meets the same samples, so a pair has two sources of chance that are crossed: the seed's
draws and the sample. Intervals resample both; tests flip the sign of whole samples. N0 is not resampled: another N0 is
outside of every interval here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import binomtest

from bgd.rng import stream
from experiments.report.sign_flips import FLIPS, Flip, sign_flip_p
from experiments.report.surveys import HIGH, LOW, RESAMPLES

__all__ = ["FLIPS", "Flip", "Interval", "Paired", "bootstrap_mean", "holm", "paired", "sign_flip_p", "wilson"]

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A 95 % interval, ends included."""

    low: float
    high: float

    def times(self, factor: float) -> "Interval":
        """Return it in another unit, or turned."""
        low, high = sorted((factor * self.low, factor * self.high))
        return Interval(low, high)


@dataclass(frozen=True)
class Paired:
    """The mean difference of two methods over the pairs of seed and sample that both have.

    Attributes:
        difference: Mean of the first minus the second.
        interval: Of the difference, by `bootstrap_mean`.
        p: That the mean difference is 0, by `sign_flip_p`.
        exact: Whether `p` is exact.
        n: Pairs of seed and sample.
        seeds, samples: How many different ones are among the pairs.
    """

    difference: float
    interval: Interval
    p: float
    exact: bool
    n: int
    seeds: int
    samples: int


def bootstrap_mean(
    values: npt.ArrayLike, seeds: npt.ArrayLike, samples: npt.ArrayLike, *name: str | int
) -> Interval:
    """Return the 95 % percentile interval of the mean over all pairs, from a hierarchical bootstrap.

    Each of the `RESAMPLES` resamples draws seeds with replacement, and samples with replacement once, common to
    the drawn seeds: samples are crossed with seeds, a hard sample is hard for every seed, and draws of each
    seed's own would average that away as if every seed had met new samples (Owen, The pigeonhole bootstrap,
    Annals of Applied Statistics 2007). A pair counts as often as its seed times its sample is drawn. With one
    seed only samples vary. With few seeds (here 3) the part of the width that comes from them is a rough one.

    Args:
        values: (n,), one per pair. Those that are not finite are left out.
        seeds: (n,), the seed that each is of.
        samples: (n,), the sample that each is of. Pairs of seed and sample may be missing.
        *name: What the bootstrap is for; the same name and pairs give the same interval.

    Raises:
        ValueError: No value is finite.
    """
    known = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(known)
    if not finite.any():
        raise ValueError("no finite value to take a mean of")
    seed_ids, seed_of = np.unique(np.asarray(seeds)[finite], return_inverse=True)
    sample_ids, sample_of = np.unique(np.asarray(samples)[finite], return_inverse=True)
    shape = (sample_ids.size, seed_ids.size)
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (sample_of, seed_of), known[finite])
    np.add.at(counts, (sample_of, seed_of), 1.0)
    generator = stream(0, "bootstrap", *name)
    by_seed, by_sample = (_times_drawn(generator, count) for count in reversed(shape))
    totals = ((by_sample @ sums) * by_seed).sum(axis=1)
    drawn = ((by_sample @ counts) * by_seed).sum(axis=1)
    means = totals[drawn > 0] / drawn[drawn > 0]  # a resample of missing pairs alone has no mean and no say
    low, high = np.percentile(means, (LOW, HIGH))
    return Interval(float(low), float(high))


def _times_drawn(generator: np.random.Generator, count: int) -> Values:
    """Return (RESAMPLES, count): how often each of `count` is drawn in `count` draws with replacement."""
    drawn = generator.integers(0, count, size=(RESAMPLES, count)) + count * np.arange(RESAMPLES)[:, None]
    times = np.bincount(drawn.ravel(), minlength=RESAMPLES * count)
    return times.reshape(RESAMPLES, count).astype(np.float64)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the adjusted p values of a family, in its order (Holm, Scandinavian Journal of Statistics 1979).

    The k-th smallest of m is multiplied by m - k + 1, raised to the ones before it and cut at 1.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def wilson(successes: int, n: int) -> Interval:
    """Return the 95 % score interval of a share, in [0, 1] (Wilson, JASA 1927).

    Raises:
        ValueError: Not 0 <= successes <= n, or n is 0.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is not a share")
    found = binomtest(successes, n).proportion_ci(method="wilson")
    # A share of 0 or 1 is an end itself: without what rounding leaves.
    return Interval(found.low if successes else 0.0, found.high if successes < n else 1.0)


def paired(
    first: pd.DataFrame,
    second: pd.DataFrame,
    column_values: Callable[[pd.DataFrame], Values],
    *name: str | int,
) -> Paired | None:
    """Compare two methods on the pairs of seed and sample that both have; None where no pair exists.

    Where one of them has a single seed, because it is deterministic, its rows are paired with every seed of the
    other: the interval then has the chance of the other's seeds alone.

    Args:
        first: One row per seed and sample of a method, columns `seed` and `index`.
        second: The same of the other method.
        column_values: From such a frame to a value per row; a pair with one that is not finite is left out.
        *name: What the comparison is for: the stream of bootstrap and signs.
    """
    ours, theirs = (rows[["seed", "index"]].assign(value=column_values(rows)) for rows in (first, second))
    keys = ["seed", "index"]
    if ours["seed"].nunique() > theirs["seed"].nunique() == 1:
        theirs, keys = theirs.drop(columns="seed"), ["index"]
    elif theirs["seed"].nunique() > ours["seed"].nunique() == 1:
        ours, keys = ours.drop(columns="seed"), ["index"]
    both = ours.merge(theirs, on=keys, suffixes=("_first", "_second")).sort_values(["seed", "index"])
    differences = (both["value_first"] - both["value_second"]).to_numpy(dtype=np.float64)
    finite = np.isfinite(differences)
    if not finite.any():
        return None
    differences, both = differences[finite], both[finite]
    flip = sign_flip_p(differences, both["index"], *name)
    return Paired(
        difference=float(differences.mean()),
        interval=bootstrap_mean(differences, both["seed"], both["index"], *name),
        p=flip.p,
        exact=flip.exact,
        n=int(differences.size),
        seeds=int(both["seed"].nunique()),
        samples=int(both["index"].nunique()),
    )
