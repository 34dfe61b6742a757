"""A test of the mean difference of two methods over samples: exact where it can be, by random signs elsewhere."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bgd.rng import stream

FLIPS = 9999  # of a Monte Carlo test: with the observed signs 10,000, so that p is at least 0.0001
ENUMERATED = 16  # samples: up to 65,536 sign vectors are looked at one by one
LATTICE_WORK = 200_000_000  # additions, about a tenth of a second
LATTICE_STEPS = 1_000_000  # a sum of more units than this is not taken for a multiple of one
SAME = 1e-9  # relative: sums that differ by less are equal up to the rounding of the records

Values = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


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
