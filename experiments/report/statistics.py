"""Intervals and tests for means over pairs of seed and sample.

Every seed of a method meets the same samples, so a pair has two sources of chance that are crossed: the seed's
draws and the sample. Intervals resample both; tests flip the sign of whole samples. N0 is not resampled: another N0 is
outside of every interval here.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import binomtest

from bgd.rng import stream
from experiments.report.metrics import correct
from experiments.report.surveys import HIGH, LOW, RESAMPLES

FLIPS = 9999  # of a Monte Carlo test: with the observed signs 10,000, so that p is at least 0.0001
ENUMERATED = 16  # samples: up to 65,536 sign vectors are looked at one by one
LATTICE_WORK = 200_000_000  # additions, about a tenth of a second
LATTICE_STEPS = 1_000_000  # a sum of more units than this is not taken for a multiple of one
SAME = 1e-9  # relative: sums that differ by less are equal up to the rounding of the records

Values = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


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


def share_of_samples(rows: pd.DataFrame) -> Interval:
    """Return the 95 % interval of the share of samples that are right, in [0, 1], over other samples.

    Wilson's with as many trials as there are different samples: the seeds of one sample are not independent.
    """
    n = int(rows["index"].nunique())
    return wilson(round(float(correct(rows).mean()) * n), n)


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


@dataclass(frozen=True)
class Flip:
    """A two-sided p value of a sign-flip test, and whether it is exact or from Monte Carlo."""

    p: float
    exact: bool


def sign_flip_p(differences: npt.ArrayLike, samples: npt.ArrayLike, *name: str | int) -> Flip:
    """Return the two-sided p value of a sign-flip test of mean difference 0.

    The unit that is flipped is the sample, all its seeds together, since they are not independent: under the
    hypothesis the sum of a sample's differences is as likely as its negative. p is the share of sign vectors
    whose sum is at least as far from 0 as the observed one. It is exact for few samples, and where the sums are
    whole multiples of one unit (counts, accuracies in 1/N). Otherwise it is from `FLIPS` random sign vectors,
    p = (1 + b) / (1 + FLIPS) (Phipson & Smyth, Statistical Applications in Genetics and Molecular Biology 2010).

    Args:
        differences: (n,), one per pair of seed and sample, finite.
        samples: (n,), the sample that each is of.
        *name: What the test is for: the stream of the random signs.

    Raises:
        ValueError: No difference, or one that is not finite.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError("differences must be finite, and one at least")
    ids, sample_of = np.unique(np.asarray(samples), return_inverse=True)
    sums = np.bincount(sample_of, weights=values, minlength=ids.size)
    # What is left of a sum of 0 in floating point is no difference; flipping a 0 changes nothing.
    sums = sums[np.abs(sums) > SAME * np.abs(values).max()]
    if sums.size == 0:
        return Flip(1.0, exact=True)
    if sums.size <= ENUMERATED:
        return Flip(_enumerated(sums), exact=True)
    multiples = _multiples(sums)
    if multiples is not None:
        most = (int(np.abs(multiples).sum()) - abs(int(multiples.sum()))) // 2
        if multiples.size * (most + 1) <= LATTICE_WORK:
            return Flip(_on_lattice(np.abs(multiples), most), exact=True)
    return Flip(_sampled(sums, stream(0, "sign_flip", *name)), exact=False)


def _enumerated(sums: Values) -> float:
    every = np.zeros(1)
    for size in np.abs(sums):
        every = np.concatenate([every - size, every + size])
    return float(_as_far(every, sums).mean())


def _as_far(flipped: Values, sums: Values) -> npt.NDArray[np.bool_]:
    """Return which sums of flipped signs are at least as far from 0 as the observed one."""
    return np.asarray(np.abs(flipped) >= abs(sums.sum()) - SAME * np.abs(sums).sum(), dtype=np.bool_)


def _multiples(sums: Values) -> Integers | None:
    """Return sums as whole multiples of the largest unit that all share, None where there is none."""
    sizes = np.sort(np.abs(sums))
    least = SAME * sizes[-1]
    unit = 0.0
    for size in sizes:
        larger, smaller = float(size), unit
        while smaller > least:  # Euclid's algorithm; a remainder just below its divisor is 0 too
            rest = math.fmod(larger, smaller)
            larger, smaller = smaller, 0.0 if smaller - rest <= least else rest
        unit = larger
        if sizes[-1] / unit > LATTICE_STEPS:
            return None
    multiples = np.round(sums / unit)
    unit = float(np.abs(sums).sum() / np.abs(multiples).sum())
    if np.abs(sums - unit * multiples).max() > 1e-3 * unit:
        return None
    return multiples.astype(np.int64)


def _on_lattice(sizes: Integers, most: int) -> float:
    """Return the exact p value for whole numbers, by convolution.

    Let A be the sum of the sizes with a negative sign. The signed sum is sum(sizes) - 2 A, and A is distributed
    symmetrically: the two tails are as likely as each other, and one of them is A <= `most`.

    Args:
        sizes: (n,), above 0.
        most: A of the observed signs, or of all of them turned: the smaller.
    """
    chances = np.zeros(most + 1)  # of A = 0, 1, ..., most
    chances[0] = 1.0
    for size in np.sort(sizes):
        chances *= 0.5
        if size <= most:
            with_it = chances[:-size].copy()
            chances[size:] += with_it
    p = 1.0 if 2 * most == int(sizes.sum()) else 2 * float(chances.sum())
    # 2^-n is 0 in floating point from 1,075 samples on.
    return min(1.0, max(p, float(np.finfo(np.float64).tiny)))


def _sampled(sums: Values, generator: np.random.Generator) -> float:
    signs = generator.integers(0, 2, size=(FLIPS, sums.size), dtype=np.int8)
    far = 0
    for part in np.array_split(signs, 10):  # a tenth as float64 at a time
        far += int(_as_far((2.0 * part - 1.0) @ sums, sums).sum())
    return (1 + far) / (1 + FLIPS)
