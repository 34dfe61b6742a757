"""Tests on what the probes found: the best gradient rank, and the gradients of the layers (section 4.8)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from experiments.report.claims.evidence import Evidence, Missing, Outcome
from experiments.report.claims.on_samples import Choices
from experiments.report.numbers import format_number
from experiments.report.rank_shares import CRITERIA, MEAN, OF_SAMPLE, same_first
from experiments.report.statistics import Interval, bootstrap_mean, wilson
from experiments.report.style import network_label
from experiments.report.surveys import Values, resamples

CONFIDENT = 0.95  # of the resamples
READINGS = {OF_SAMPLE: "best of the sample", MEAN: "best mean"}


def _points(margin: float) -> str:
    return f"{format_number(margin)} point{'' if margin == 1 else 's'}"


def _no_run(probe: str, network: str) -> Missing:
    return Missing(f"missing: no run of {probe} on {network_label(network)} is among the records")


@dataclass(frozen=True)
class NoRankBest:
    """No gradient rank is best by training loss, training accuracy and testing accuracy at once.

    Direction: the three criteria do not all name the same rank first. Size: they do so in at most 5 % of the bootstrap
    resamples of the samples. No p value. `ours` is that share in %.
    """

    choices: ClassVar[Choices] = {"reading": READINGS}
    network: str
    reading: str

    @property
    def subject(self) -> str:
        """The test in words."""
        return f"no gradient rank is first by all three criteria ({READINGS[self.reading]})"

    def evaluate(self, evidence: Evidence) -> Outcome | Missing:
        """Return the finding of the records."""
        results = evidence.ranks.get(self.network)
        if results is None:
            return _no_run("gradient_ranks", self.network)
        readings = results.readings[self.reading]
        firsts = [int(reading.top[0]) for reading in readings.values()]
        share = same_first(readings)
        same = len(set(firsts)) == 1 and firsts[0] > 0
        pairs = zip(readings, firsts, strict=True)
        named = ", ".join(f"{rank or 'none'} by {CRITERIA[name].name}" for name, rank in pairs)
        return Outcome(
            ours=100 * share,
            against=None,
            value=100 * share,
            interval=None,
            p=None,
            direction=not same,
            size=share <= 1 - CONFIDENT,
            n=results.draws.shape[1],
            seeds=0,
            note=f"first: {named}; ours: % of resamples in which one rank is first by all three",
        )


@dataclass(frozen=True)
class RankFirst:
    """A stated gradient rank is the best one by a criterion.

    Direction: it is among the first three. Size: it is the first, in at least 95 % of the bootstrap resamples too. No p
    value. `ours` is the rank found first.
    """

    choices: ClassVar[Choices] = {"reading": READINGS, "criterion": CRITERIA}
    network: str
    reading: str
    criterion: str
    rank: int

    @property
    def subject(self) -> str:
        """The test in words."""
        return (
            f"gradient rank {self.rank} is best by {CRITERIA[self.criterion].name} ({READINGS[self.reading]})"
        )

    def evaluate(self, evidence: Evidence) -> Outcome | Missing:
        """Return the finding of the records."""
        results = evidence.ranks.get(self.network)
        if results is None:
            return _no_run("gradient_ranks", self.network)
        reading = results.readings[self.reading][self.criterion]
        first = int(reading.top[0])
        again = float((reading.tops[:, 0] == self.rank).mean())
        return Outcome(
            ours=float(first),
            against=float(self.rank),
            value=float(first),
            interval=None,
            p=None,
            direction=self.rank in reading.top,
            size=first == self.rank and again >= CONFIDENT,
            n=results.draws.shape[1],
            seeds=0,
            note=f"rank {self.rank} is first in {format_number(100 * again)} % of the resamples",
        )


@dataclass(frozen=True)
class NoRankTrend:
    """The largest gradients correct as many samples, updated alone, as the smallest of the first hundred.

    Of each sample the percentage of the first `count` ranks that correct it, less that of the last `count`. Direction:
    the mean difference is within `margin` points. Size: its 95 % bootstrap interval over samples is. No p value.
    """

    choices: ClassVar[Choices] = {}
    network: str
    margin: float = 5.0
    count: int = 10

    @property
    def subject(self) -> str:
        """The test in words."""
        return (
            f"the first {self.count} gradient ranks, updated alone, correct as many samples (%) as the last"
            f" {self.count}, within {_points(self.margin)}"
        )

    def evaluate(self, evidence: Evidence) -> Outcome | Missing:
        """Return the finding of the records."""
        results = evidence.ranks.get(self.network)
        if results is None:
            return _no_run("gradient_ranks", self.network)
        hits = 100.0 * results.data.corrected
        first, last = hits[:, : self.count].mean(axis=1), hits[:, -self.count :].mean(axis=1)
        values, places = first - last, np.arange(hits.shape[0])
        interval = bootstrap_mean(values, np.zeros_like(places), places, "rank_trend", self.network)
        mean = float(values.mean())
        return Outcome(
            ours=float(first.mean()),
            against=float(last.mean()),
            value=mean,
            interval=interval,
            p=None,
            direction=abs(mean) <= self.margin,
            size=-self.margin <= interval.low and interval.high <= self.margin,
            n=values.size,
            seeds=0,
        )


@dataclass(frozen=True)
class LayerPlace:
    """A layer has the largest, or second largest, summed gradient of all layers.

    Direction: it has that place by the mean over samples. Size: with `every_sample` it has it in every sample;
    otherwise by the mean in at least 95 % of the bootstrap resamples. No p value. `ours` is the percentage of
    samples in which it has the place, with its Wilson interval.
    """

    choices: ClassVar[Choices] = {}
    network: str
    layer: str
    place: int
    every_sample: bool

    @property
    def subject(self) -> str:
        """The test in words."""
        where = "in every sample" if self.every_sample else "by the mean over samples"
        return (
            f"{self.layer.removesuffix('.weight')} has summed gradient number {self.place} by size, {where}"
        )

    def evaluate(self, evidence: Evidence) -> Outcome | Missing:
        """Return the finding of the records."""
        layers = evidence.layers.get(self.network)
        if layers is None:
            return _no_run("layer_gradients", self.network)
        if self.layer not in layers.names:
            return Missing(f"missing: {network_label(self.network)} has no tensor {self.layer}")
        own = layers.names.index(self.layer)
        sums = layers.magnitude
        hits = _place(sums, own) == self.place
        means = resamples(sums.shape[0], "layer_place", self.network) @ sums
        again = float((_place(means, own) == self.place).mean())
        ends = wilson(int(hits.sum()), hits.size)
        by_mean = bool(_place(sums.mean(axis=0, keepdims=True), own)[0] == self.place)
        return Outcome(
            ours=100 * float(hits.mean()),
            against=None,
            value=100 * float(hits.mean()),
            interval=Interval(100 * ends.low, 100 * ends.high),
            p=None,
            direction=by_mean,
            size=bool(hits.all()) if self.every_sample else again >= CONFIDENT,
            n=hits.size,
            seeds=0,
            note=f"by the mean in {format_number(100 * again)} % of the resamples",
        )


def _place(sums: Values, own: int) -> npt.NDArray[np.int64]:
    """Return, for each row of (rows, layers), which place a layer has, from 1 for the largest."""
    return np.asarray(1 + (sums > sums[:, [own]]).sum(axis=1), dtype=np.int64)


@dataclass(frozen=True)
class LayersEven:
    """Normalisation gives each layer the same share of the prior probability.

    Direction: the largest and the smallest mean share lie closer together than before. Size: within `margin` points.
    No p value. `ours` and `against` are the distances after and before, in points.
    """

    choices: ClassVar[Choices] = {}
    network: str
    margin: float = 1.0

    @property
    def subject(self) -> str:
        """The test in words."""
        return f"after normalisation the layers' shares of the prior lie within {_points(self.margin)}"

    def evaluate(self, evidence: Evidence) -> Outcome | Missing:
        """Return the finding of the records."""
        layers = evidence.layers.get(self.network)
        if layers is None:
            return _no_run("layer_gradients", self.network)
        after, before = (
            100 * float(np.ptp(np.nanmean(part, axis=0))) for part in (layers.after, layers.before)
        )
        count = layers.magnitude.shape[0]
        return Outcome(
            after, before, after - before, None, None, after < before, after <= self.margin, count, 0
        )
