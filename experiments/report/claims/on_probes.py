"""Tests on what the probes found: the best gradient rank, and the gradients of the layers (section 4.8)."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt

from experiments.report.claims.evidence import Evidence, Missing, Outcome, within
from experiments.report.claims.on_samples import Kind, Network
from experiments.report.numbers import format_number
from experiments.report.rank_shares import CRITERIA, MEAN, OF_SAMPLE, same_first
from experiments.report.statistics import bootstrap_mean, wilson
from experiments.report.style import network_label
from experiments.report.surveys import Values, resamples

CONFIDENT = 0.95  # of the resamples
READINGS = {OF_SAMPLE: "best of the sample", MEAN: "best mean"}
Reading = Annotated[str, tuple(READINGS)]


def _points(margin: float) -> str:
    return f"{format_number(margin)} point{'' if margin == 1 else 's'}"


@dataclass(frozen=True)
class NoRankBest(Kind):
    """No gradient rank is best by training loss, training accuracy and testing accuracy at once.

    Direction: the three criteria do not all name the same rank first. Size: they do so in at most 5 % of the bootstrap
    resamples of the samples. No p value. `ours` is that share in %.
    """

    network: Network
    reading: Reading

    def _words(self) -> str:
        return f"no gradient rank is first by all three criteria ({READINGS[self.reading]})"

    def _outcome(self, evidence: Evidence) -> Outcome:
        results = evidence.probe("gradient_ranks", self.network)
        readings = results.readings[self.reading]
        firsts = {name: int(reading.top[0]) for name, reading in readings.items()}
        share = same_first(readings)
        named = ", ".join(f"{rank or 'none'} by {CRITERIA[name].name}" for name, rank in firsts.items())
        return Outcome(
            100 * share,
            direction=len(set(firsts.values())) > 1 or 0 in firsts.values(),
            size=share <= 1 - CONFIDENT,
            n=results.draws.shape[1],
            note=f"first: {named}; ours: % of resamples in which one rank is first by all three",
        )


@dataclass(frozen=True)
class RankFirst(Kind):
    """A stated gradient rank is the best one by a criterion.

    Direction: it is among the first three. Size: it is the first, in at least 95 % of the bootstrap resamples too. No p
    value. `ours` is the rank found first.
    """

    network: Network
    reading: Reading
    criterion: Annotated[str, tuple(CRITERIA)]
    rank: int

    def _words(self) -> str:
        by = CRITERIA[self.criterion].name
        return f"gradient rank {self.rank} is best by {by} ({READINGS[self.reading]})"

    def _outcome(self, evidence: Evidence) -> Outcome:
        results = evidence.probe("gradient_ranks", self.network)
        reading = results.readings[self.reading][self.criterion]
        first = int(reading.top[0])
        again = float((reading.tops[:, 0] == self.rank).mean())
        return Outcome(
            float(first),
            direction=self.rank in reading.top,
            size=first == self.rank and again >= CONFIDENT,
            n=results.draws.shape[1],
            against=float(self.rank),
            note=f"rank {self.rank} is first in {format_number(100 * again)} % of the resamples",
        )


@dataclass(frozen=True)
class NoRankTrend(Kind):
    """The largest gradients correct as many samples, updated alone, as the smallest of the first hundred.

    Of each sample the percentage of the first `count` ranks that correct it, less that of the last `count`. Direction:
    the mean difference is within `margin` points. Size: its 95 % bootstrap interval over samples is. No p value.
    """

    network: Network
    margin: float = 5.0
    count: int = 10

    def _words(self) -> str:
        return (
            f"the first {self.count} gradient ranks, updated alone, correct as many samples (%) as the last"
            f" {self.count}, within {_points(self.margin)}"
        )

    def _outcome(self, evidence: Evidence) -> Outcome:
        hits = 100.0 * evidence.probe("gradient_ranks", self.network).data.corrected
        first, last = hits[:, : self.count].mean(axis=1), hits[:, -self.count :].mean(axis=1)
        values, places = first - last, np.arange(hits.shape[0])
        interval = bootstrap_mean(values, np.zeros_like(places), places, "rank_trend", self.network)
        mean = float(values.mean())
        return Outcome(
            float(first.mean()),
            *within(mean, interval, -self.margin, self.margin),
            n=values.size,
            against=float(last.mean()),
            difference=mean,
            interval=interval,
        )


@dataclass(frozen=True)
class LayerPlace(Kind):
    """A layer has the largest, or second largest, summed gradient of all layers.

    Direction: it has that place by the mean over samples. Size: with `every_sample` it has it in every sample;
    otherwise by the mean in at least 95 % of the bootstrap resamples. No p value. `ours` is the percentage of
    samples in which it has the place, with its Wilson interval.
    """

    network: Network
    layer: str
    place: int
    every_sample: bool

    def _words(self) -> str:
        where = "in every sample" if self.every_sample else "by the mean over samples"
        layer = self.layer.removesuffix(".weight")
        return f"{layer} has summed gradient number {self.place} by size, {where}"

    def _outcome(self, evidence: Evidence) -> Outcome:
        layers = evidence.probe("layer_gradients", self.network)
        if self.layer not in layers.names:
            raise Missing(f"missing: {network_label(self.network)} has no tensor {self.layer}")
        own, sums = layers.names.index(self.layer), layers.magnitude
        hits = _place(sums, own) == self.place
        means = resamples(sums.shape[0], "layer_place", self.network) @ sums
        again = float((_place(means, own) == self.place).mean())
        return Outcome(
            100 * float(hits.mean()),
            direction=bool(_place(sums.mean(axis=0, keepdims=True), own)[0] == self.place),
            size=bool(hits.all()) if self.every_sample else again >= CONFIDENT,
            n=hits.size,
            interval=wilson(int(hits.sum()), hits.size).times(100),
            note=f"by the mean in {format_number(100 * again)} % of the resamples",
        )


def _place(sums: Values, own: int) -> npt.NDArray[np.int64]:
    """Return, for each row of (rows, layers), which place a layer has, from 1 for the largest."""
    return np.asarray(1 + (sums > sums[:, [own]]).sum(axis=1), dtype=np.int64)


@dataclass(frozen=True)
class LayersEven(Kind):
    """Normalisation gives each layer the same share of the prior probability.

    Direction: the largest and the smallest mean share lie closer together than before. Size: within `margin` points.
    No p value. `ours` and `against` are the distances after and before, in points.
    """

    network: Network
    margin: float = 1.0

    def _words(self) -> str:
        return f"after normalisation the layers' shares of the prior lie within {_points(self.margin)}"

    def _outcome(self, evidence: Evidence) -> Outcome:
        layers = evidence.probe("layer_gradients", self.network)
        after, before = (
            100 * float(np.ptp(np.nanmean(part, axis=0))) for part in (layers.after, layers.before)
        )
        return Outcome(
            after,
            direction=after < before,
            size=after <= self.margin,
            n=layers.magnitude.shape[0],
            against=before,
            difference=after - before,
        )
