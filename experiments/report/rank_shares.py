"""Which gradient rank is best: counts over samples, and how far another draw of samples would agree.

Section 4.8.1 of the thesis. A gradient rank is k for the k-th largest |g|, from 1. Two readings of its tables
4.9 and 4.10 are computed: in how many samples a rank alone is best ("best of the sample"), and which rank is
best on average over the samples that it corrects ("best mean").
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from experiments.records.schema import Run
from experiments.report.surveys import HIGH, LOW, Values, measurements, resamples

OF_SAMPLE, MEAN = "best_of_sample", "best_mean"  # the two readings
PLACES = 3  # first, second and third, as the thesis prints

Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Criterion:
    """By what one update is better than another.

    Attributes:
        name: As in the thesis' table, lower case.
        column: Of a measurement, and of the figures of N0.
        sign: 1 where the lowest is best, -1 where the highest is.
        unit: Behind the name; empty for an accuracy.
    """

    name: str
    column: str
    sign: int
    unit: str = ""


CRITERIA = {
    "training_loss": Criterion("training loss", "train_loss", 1, " (nats)"),
    "training_accuracy": Criterion("training accuracy", "train_accuracy", -1),
    "testing_accuracy": Criterion("testing accuracy", "test_accuracy", -1),
}


@dataclass(frozen=True)
class RankData:
    """What came of each single-weight update.

    Attributes:
        corrected: (samples, ranks): whether the update makes the sample right. False where a sample has no
            such rank.
        values: By criterion, (samples, ranks): NaN where the update does not correct, or the value is not
            finite.
        pairs: How many pairs of sample and rank there are.
    """

    corrected: Bools
    values: dict[str, Values]
    pairs: int


def read(run: Run) -> RankData:
    """Return the arrays of a run of the probe `gradient_ranks`."""
    found = measurements(run)
    lengths = [len(item.values["corrected"]) for item in found]
    # At least as wide as there are places, so that a table of fewer ranks has something to leave empty.
    shape = (len(found), max([PLACES, *lengths]))
    corrected = np.zeros(shape, dtype=np.bool_)
    values = {name: np.full(shape, np.nan) for name in CRITERIA}
    for line, (item, length) in enumerate(zip(found, lengths, strict=True)):
        corrected[line, :length] = np.asarray(item.values["corrected"], dtype=np.bool_)
        for name, criterion in CRITERIA.items():
            values[name][line, :length] = np.asarray(item.values[criterion.column], dtype=np.float64)
    for array in values.values():
        array[~(corrected & np.isfinite(array))] = np.nan
    return RankData(corrected, values, sum(lengths))


def at_best(values: Values, criterion: Criterion) -> Bools:
    """Return (samples, ranks) where the sample's best value is; nowhere in a sample without values."""
    keys = np.where(np.isnan(values), np.inf, criterion.sign * values)
    return np.asarray(np.isfinite(keys) & (keys == keys.min(axis=1, keepdims=True)), dtype=np.bool_)


def winners(best: Bools) -> Bools:
    """Return (samples, ranks) where the sample's best value is, a tie given to the smaller rank."""
    return np.asarray(best & (best.cumsum(axis=1) == 1), dtype=np.bool_)


def first_three(keys: Values) -> Integers:
    """Return the ranks with the three smallest of `keys` (..., ranks), ties to the smaller; 0 for an infinite key."""
    order = np.argsort(keys, axis=-1, kind="stable")[..., :PLACES]
    return np.where(np.isfinite(np.take_along_axis(keys, order, axis=-1)), order + 1, 0)


@dataclass(frozen=True)
class Reading:
    """The ranks in their order by one criterion, by one reading of the thesis' table.

    Attributes:
        top: (3,): the ranks named first, second and third; 0 for none.
        shares: (ranks,): the share of all samples that the reading puts beside a rank.
        low, high: (ranks,): the 95 % percentile bootstrap interval of `shares`, over samples.
        tops: (resamples, 3): as `top`, in each resample.
    """

    top: Integers
    shares: Values
    low: Values
    high: Values
    tops: Integers


def _reading(keys: Values, keys_again: Values, hits: Values, draws: Values) -> Reading:
    again = draws @ hits / hits.shape[0]
    low, high = np.percentile(again, (LOW, HIGH), axis=0)
    return Reading(first_three(keys), hits.mean(axis=0), low, high, first_three(keys_again))


def best_of_sample(data: RankData, name: str, draws: Values) -> Reading:
    """Return the ranks by the share of all samples in which a rank alone gives the best value."""
    hits = winners(at_best(data.values[name], CRITERIA[name])).astype(np.float64)
    keys, again = (np.where(counts > 0, -counts, np.inf) for counts in (hits.sum(axis=0), draws @ hits))
    return _reading(keys, again, hits, draws)


def best_mean(data: RankData, name: str, draws: Values) -> Reading:
    """Return the ranks by the mean over the samples they correct; the share is of samples corrected."""
    values, sign = data.values[name], CRITERIA[name].sign
    # Equal means are equal keys: without the last digits that their summation leaves behind.
    keys, again = (
        np.where(np.isnan(each), np.inf, np.round(sign * each, 12))
        for each in (means(values), resampled_means(values, draws))
    )
    return _reading(keys, again, data.corrected.astype(np.float64), draws)


def means(values: Values) -> Values:
    """Return the mean of each column without its gaps, NaN where there are only gaps."""
    return resampled_means(values, np.ones((1, values.shape[0]))).ravel()


def resampled_means(values: Values, draws: Values) -> Values:
    """Return (resamples, ranks): the mean of each column (samples, ranks) in each resample, without gaps."""
    known = ~np.isnan(values)
    counts = draws @ known.astype(np.float64)
    sums = draws @ np.where(known, values, 0.0)
    result: Values = np.divide(sums, counts, out=np.full(counts.shape, np.nan), where=counts > 0)
    return result


def ties(data: RankData, name: str) -> float:
    """Return the share of all samples in which two or more ranks share the best value."""
    return float((at_best(data.values[name], CRITERIA[name]).sum(axis=1) > 1).mean())


def shares_ties_split(data: RankData, name: str) -> Values:
    """Return (ranks,): the share of all samples in which a rank is best, each tie split evenly."""
    best = at_best(data.values[name], CRITERIA[name]).astype(np.float64)
    count = best.sum(axis=1, keepdims=True)
    return np.asarray((best / np.where(count > 0, count, 1)).mean(axis=0), dtype=np.float64)


@dataclass(frozen=True)
class Results:
    """What a network's table and figure are made from: `draws` (resamples, samples), readings by name and criterion."""

    data: RankData
    draws: Values
    readings: dict[str, dict[str, Reading]]

    @classmethod
    def of(cls, run: Run, network: str) -> "Results":
        """Return the results of a run."""
        data = read(run)
        draws = resamples(data.corrected.shape[0], "gradient_ranks", network)
        kinds = {OF_SAMPLE: best_of_sample, MEAN: best_mean}
        readings = {
            kind: {name: reading(data, name, draws) for name in CRITERIA} for kind, reading in kinds.items()
        }
        return cls(data, draws, readings)

    def curve(self, name: str) -> "Curve":
        """Return a criterion's mean at each rank, over the samples that the rank corrects."""
        values = self.data.values[name]
        counts = (~np.isnan(values)).sum(axis=0)
        low, high, median = (np.full(values.shape[1], np.nan) for _ in range(3))
        some = counts > 0
        if some.any():
            # A resample without any of a rank's samples has no mean there and no say.
            again = resampled_means(values[:, some], self.draws)
            low[some], high[some] = np.nanpercentile(again, (LOW, HIGH), axis=0)
            median[some] = np.nanmedian(values[:, some], axis=0)
        return Curve(means(values), low, high, median, counts)


@dataclass(frozen=True)
class Curve:
    """A criterion at each gradient rank, arrays (ranks,) with NaN where the rank corrects no sample.

    Attributes:
        mean, median: Over the samples that the rank corrects.
        low, high: The 95 % percentile bootstrap interval of the mean, over samples.
        n: How many samples that is.
    """

    mean: Values
    low: Values
    high: Values
    median: Values
    n: Integers


def same_first(readings: Mapping[str, Reading]) -> float:
    """Return the share of resamples in which every criterion names the same rank first."""
    firsts = np.stack([reading.tops[:, 0] for reading in readings.values()])
    return float(((firsts == firsts[0]).all(axis=0) & (firsts[0] > 0)).mean())
