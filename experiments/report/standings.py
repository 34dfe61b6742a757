"""What a correction by each contender costs, over the same samples for all of a network: numbers, and aims for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import pandas as pd

import experiments.report.metrics as metrics
from experiments.report.captions import describe_missing
from experiments.report.contenders import Entrant, Levelled, entrants
from experiments.report.frames import Frames, ReportError
from experiments.report.knowledge import Knowledge, level_rank
from experiments.report.numbers import format_count, format_number, listing
from experiments.report.scope import Scope, describe_listed
from experiments.report.statistics import Interval, bootstrap_mean
from experiments.report.tails import LOW

# Presets: each method as it is; those with a budget at every budget; those with a keep-set at sizes of it.
FRONTIER = ("frontier_points", "frontier_curves", "frontier_threshold", "frontier_keep")
NOBODY: Mapping[str, float] = MappingProxyType({})  # looked at corrections in other arithmetics
DIGITS = 12  # of a mean of accuracies; what is beyond is rounding
ROUNDING = 10.0**-DIGITS


@dataclass(frozen=True)
class Standing(Levelled):
    """A contender on a network, over the samples that all contenders met.

    Where no sample was corrected the numbers over corrections are None.

    Attributes:
        n, corrected: Pairs of seed and sample, and how many of them a change made right.
        POC: Percentage of corrections, in %, those already right included.
        changed_median, changed_max: Parameters whose value differs, over the corrections.
        dTA_mean, dTA_interval, dTA_p5, dTA_worst: Change of the test accuracy, in [-1, 1], over the corrections.
        untouched: Change of the accuracy on images that are not on the work list, the mean over the corrections.
        broken: Test images from right to wrong, the mean over the corrections.
        survived: How many of the corrections are right in every other arithmetic that was looked at, in %; None where
            none was.
        seconds: Of the search, the median over all samples.
    """

    n: int
    corrected: int
    POC: float
    changed_median: float | None = None
    changed_max: float | None = None
    dTA_mean: float | None = None
    dTA_interval: Interval | None = None
    dTA_p5: float | None = None
    dTA_worst: float | None = None
    untouched: float | None = None
    broken: float | None = None
    survived: float | None = None
    seconds: float | None = None


def same_samples(frames: Frames) -> Frames:
    """Return the part of a network's frames with the samples that every run met: the start of the work list."""
    if frames.runs.empty:
        return frames
    count = int(frames.runs["run_samples"].min())
    samples = frames.samples[frames.samples["position"] < count]
    kinds = samples.groupby("position")["index"].nunique()
    if (kinds > 1).any():
        place = int(kinds.index[kinds > 1][0])
        raise ReportError(f"runs met different samples at place {place} of the work list")
    return Frames(samples.reset_index(drop=True), frames.runs)


def describe_same_samples(scope: Scope, frames: Frames) -> list[str]:
    """Return, by network, how many samples the numbers are over, N0's errors, and what is missing."""

    def about(network: str, runs: pd.DataFrame) -> tuple[str, ...]:
        count, errors, images = runs["run_samples"].min(), runs["errors"].max(), runs["test_images"].min()
        seeds = [str(seed) for seed in sorted(set(runs["seed"]))]
        text = (
            f"the first {format_count(count)} of {format_count(errors)} misclassified samples, those that every run"
            f" met; {format_count(images)} test images; seed{'s' if len(seeds) > 1 else ''} {listing(seeds)}."
        )
        return text, describe_listed(runs), describe_missing(scope.lacking(runs))

    return list(scope.by_network(frames, about))


def standings(frames: Frames, knowledge: Knowledge, survived: Mapping[str, float] = NOBODY) -> list[Standing]:
    """Rank the contenders of a network's `same_samples`: those that know least first, then by harm, the least first.

    Args:
        frames: Of the network.
        knowledge: The level of each method.
        survived: How many of a run's corrections survive elsewhere, in %, by run id.
    """
    return sorted((_standing(each, survived) for each in entrants(frames, knowledge)), key=_place)


def _place(item: Standing) -> tuple[object, ...]:
    mean = -np.inf if item.dTA_mean is None else item.dTA_mean
    return (level_rank(item.level), -mean, item.contender.label, item.contender.budget)


def _standing(entrant: Entrant, survived: Mapping[str, float]) -> Standing:
    contender, samples = entrant.contender, entrant.part.samples
    chosen = samples[metrics.corrected(samples)]
    share, seconds = 100 * float(metrics.correct(samples).mean()), float(samples["search_seconds"].median())
    shares = [survived[each] for each in entrant.part.runs["run_id"] if each in survived]
    known = Standing(
        contender,
        entrant.level,
        len(samples),
        len(chosen),
        share,
        survived=min(shares, default=None),
        seconds=seconds,
    )
    if chosen.empty:
        return known
    change = metrics.test_accuracy_change(chosen)
    name = ("frontier", contender.method, contender.budget, contender.options)
    return replace(
        known,
        changed_median=float(chosen["l0"].median()),
        changed_max=float(chosen["l0"].max()),
        dTA_mean=round(float(change.mean()), DIGITS) + 0.0,  # no minus zero
        dTA_interval=bootstrap_mean(change, chosen["seed"], chosen["index"], *name),
        dTA_p5=float(np.percentile(change, LOW)),
        dTA_worst=float(change.min()),
        untouched=metrics.measure(chosen, metrics.METRICS["untouched_dTA"]).mean,
        broken=float(chosen["broken"].mean()),
    )


@dataclass(frozen=True)
class Aim:
    """What a correction of a network should reach.

    Attributes:
        quantity: Of `Standing`, or of a run in a row.
        kind: "at least" or "at most": whether the value may be no less or no more than the bound.
    """

    network: str
    quantity: str
    kind: str
    bound: float

    def met_by(self, value: float | None) -> bool:
        """Return whether a value meets it; no value does not."""
        if value is None or not np.isfinite(value):
            return False
        gap = value - self.bound if self.kind == "at least" else self.bound - value
        return bool(gap >= -ROUNDING)


def met(item: Standing, aims: Sequence[Aim]) -> int:
    """Return how many aims a standing meets."""
    return sum(aim.met_by(getattr(item, aim.quantity)) for aim in aims)


def number_text(value: float | None) -> str:
    """Return a number of a standing for people."""
    return metrics.NONE_CORRECTED if value is None else format_number(value)
