"""A mean over many images from a part of them: a stratified sample, with N0's known values as control variate.

A correction changes the loss of most images by next to nothing and that of a few by much, mostly of those whose loss is
large already. So images are sorted by class and N0's loss and cut into strata, those of large losses narrow, and as
many are drawn from each (Cochran, Sampling Techniques, 1977, 5A.7: the rule of equal cumulated square roots).

What is averaged is the difference to N0's value of the same image; N0's known mean is added. This is the difference
estimator (Särndal et al., Model Assisted Survey Sampling, 1992, 6.3). Its coefficient is 1, not fitted, so that it is
unbiased at every size.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bgd import rng

Numbers = NDArray[np.int64]
Values = NDArray[np.float64]

VERSION = 1  # raised whenever the same images and losses may give another part or another estimate
LEAST = 200  # images of a part: fewer say nothing of their spread within strata
A_CLASS = 8  # strata; fewer where the part is small
FLAT = 0.2  # of the mean size: least size of an image, so that those with a loss of 0 are drawn from, too
PAIR = 2  # images drawn from a stratum at least, or there is no variance within


@dataclass(frozen=True)
class Estimate:
    """A mean and its standard error, both in the unit of the values."""

    mean: float
    error: float


@dataclass(frozen=True, eq=False)
class Part:
    """Some of N images, and what each stands for.

    Attributes:
        images: Their numbers, ascending (n,).
        strata: The stratum of each (n,).
        sizes: How many of the N images each stratum has (H,).
        counts: How many of them were drawn (H,).
    """

    images: Numbers
    strata: Numbers
    sizes: Numbers
    counts: Numbers

    @classmethod
    def drawn(cls, labels: Numbers, losses: Values, count: int, certain: int, seed: int = 0) -> "Part":
        """Draw a part.

        Args:
            labels: Class of each image (N,).
            losses: Of N0, finite (N,).
            count: Images to draw, n.
            certain: The last so many images are a stratum that is taken whole, at least one.
            seed: Of the draw.

        Raises:
            ValueError: So few images have no variance within their strata.
        """
        whole = len(labels)
        rest = whole - certain
        strata = np.zeros(whole, dtype=np.int64)
        strata[:rest] = _strata(labels[:rest], losses[:rest], count - certain)
        strata[rest:] = strata[:rest].max() + 1
        sizes = np.bincount(strata)
        quota = np.append(_quota(sizes[:-1], count - certain), certain)
        if (quota < np.minimum(sizes, PAIR)).any():
            raise ValueError(
                f"{count} images are too few for {len(sizes)} strata: at least two of each are needed"
            )
        # A random number for each image: the smallest of a stratum are drawn.
        order = np.lexsort((rng.stream(seed, "part").random(whole), strata))
        place = np.arange(whole) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # within its stratum
        images = np.sort(order[place < np.repeat(quota, sizes)])
        return cls(images, strata[images], sizes, quota)

    def mean(self, values: Values, known: Values, whole: float) -> Estimate:
        """Estimate the mean over all N images.

        Args:
            values: Of the part's images (n,).
            known: N0's values of the same images (n,).
            whole: The mean of N0's values over all N.

        Returns:
            Mean and standard error; 0 where every image was drawn.
        """
        with np.errstate(
            invalid="ignore", over="ignore"
        ):  # a network gone astray has losses without a number
            change = values - known
            means = np.bincount(self.strata, change) / self.counts
            squares = np.bincount(self.strata, (change - means[self.strata]) ** 2)
            variances = squares / np.maximum(self.counts - 1, 1)
            shares = self.sizes / self.sizes.sum()
            error = shares**2 * (1 - self.counts / self.sizes) * variances / self.counts
            return Estimate(whole + float(shares @ means), math.sqrt(float(error.sum())))


def _strata(labels: Numbers, losses: Values, count: int) -> Numbers:
    """Number the stratum of each image (N,): in each class, stretches by loss with equal sums of square roots."""
    size = np.sqrt(np.maximum(losses, 0.0))
    size = np.maximum(size, FLAT * size.mean()) + np.finfo(np.float64).tiny
    found = np.zeros(len(labels), dtype=np.int64)
    each = max(1, min(A_CLASS, count // (2 * PAIR * (int(labels.max()) + 1))))
    first = 0
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        own = own[np.argsort(losses[own], kind="stable")]
        middle = np.cumsum(size[own]) - size[own] / 2
        cells = np.minimum((middle / size[own].sum() * each).astype(np.int64), each - 1)
        _, cells = np.unique(cells, return_inverse=True)
        found[own] = first + cells
        first += int(cells.max()) + 1
    return found


def _quota(sizes: Numbers, count: int) -> Numbers:
    """Share out a number of draws (H,): as many for each stratum, all of those that are smaller."""
    level = bisect_right(range(count + 1), count, key=lambda most: int(np.minimum(sizes, most).sum())) - 1
    quota = np.minimum(sizes, level)
    larger = np.flatnonzero(sizes > level)
    quota[larger[: count - int(quota.sum())]] += 1
    return quota
