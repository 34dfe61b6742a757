"""What remains of the corrections when each builds on the last: the non-reloading setting beyond its test accuracy.

The samples of a run are misclassified test images. In the non-reloading setting the test accuracy therefore counts
every sample that stays corrected as a gain, whatever happens to the other images. With m test images, R of them
predicted right, and R_u of these R not on the work list (untouched):

    R / m = R_u / m + (R - R_u) / m

The last term is the part of the test accuracy that images of the work list contribute. N0 gets all of these wrong: it
starts at 0.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import pandas as pd

from experiments.records.schema import Run
from experiments.report.canvas import Picture
from experiments.report.curves import FIGURES, paint_trails
from experiments.report.frames import REPLICA, REPLICAS, Frames, draws
from experiments.report.metrics import NONE_CORRECTED, Metric, Summary, Values, measure
from experiments.report.numbers import counted, format_summary
from experiments.report.part import Made, Study
from experiments.report.scope import EVERY_METHOD, Scope
from experiments.report.sheet import Block
from experiments.report.style import method_style, network_label

NEVER = "never"
FALLS = (1, 5, 10)  # points, hundredths of accuracy
ROUNDING = 1e-9  # of an accuracy: what a subtraction of two of them leaves behind


def with_trails(samples: pd.DataFrame) -> pd.DataFrame:
    """Return non-reloading samples with the measures that are drawn and tabled, and N0's as `base_...`.

    Columns: `retention`, the share in [0, 1] of the samples corrected before that are right after this one's turn, NaN
    where there is none yet; `untouched_accuracy`, in [0, 1], over the test images that are not on the work list;
    `listed_part`, the part of the test accuracy from images of the work list (see the module); `union_share`, the share
    of all parameters that any correction so far has changed; `drift`, L2 norm. N0's retention is NaN; its union and
    drift are 0.
    """
    images, others = samples["test_images"], samples["base_untouched_images"]
    right = (samples["test_accuracy"] * images).round()
    base_right = (samples["base_test_accuracy"] * images).round()
    untouched, base_untouched = samples["untouched_right"], samples["base_untouched_right"]
    return samples.assign(
        retention=samples["earlier_right"] / samples["earlier"].where(samples["earlier"] > 0),
        base_retention=np.nan,
        untouched_accuracy=untouched / others.where(others > 0),
        base_untouched_accuracy=base_untouched / others.where(others > 0),
        listed_part=(right - untouched) / images,
        base_listed_part=(base_right - base_untouched) / images,
        union_share=samples["union"] / samples["parameters"],
        base_union_share=0.0,
        base_drift=0.0,
    )


def of_run(
    name: str, label: str, value: Callable[[pd.DataFrame], float], nothing: str = "not finite"
) -> Metric:
    """Return a number of a run, from its rows in order and with the columns of `with_trails`; what NaN means last."""

    def values(samples: pd.DataFrame) -> Values:
        return np.array([value(rows) for _, rows in samples.groupby("seed")], dtype=np.float64)

    return Metric(name, label, "seeds", values, "non_reloading", nothing=nothing)


def at(column: str, share: float = 1.0, factor: float = 1.0) -> Callable[[pd.DataFrame], float]:
    """Return a column after a share of the samples, in (0, 1], rounded up to a whole sample; in another unit."""
    return lambda samples: factor * float(samples[column].iloc[int(np.ceil(share * len(samples))) - 1])


def first_fall(samples: pd.DataFrame, column: str, points: int) -> float:
    """Return after how many samples an accuracy is first `points` hundredths or more below N0's; NaN for never."""
    fallen = np.flatnonzero(lost(samples, column) >= points / 100 - ROUNDING)
    return float(fallen[0] + 1) if fallen.size else float("nan")


def lost(samples: pd.DataFrame, column: str) -> Values:
    """Return by how much a column is below N0's value."""
    return (samples[f"base_{column}"] - samples[column]).to_numpy(dtype=np.float64)


def _at_the_end(values: Values) -> float:
    return float(values[-1])


def _fall(column: str, label: str, points: int) -> Metric:
    value = partial(first_fall, column=column, points=points)
    return of_run(f"{column}_fall_{points}", f"{label}, {counted(points, 'point')}", value, NEVER)


def _changed(name: str, label: str, column: str, of: Callable[[Values], float]) -> Metric:
    """Return a number of a run's differences to N0's value, without the digits that subtractions leave behind."""

    def value(samples: pd.DataFrame) -> float:
        return float(
            of(np.round((samples[column] - samples[f"base_{column}"]).to_numpy(dtype=np.float64), 12))
        )

    return of_run(name, label, value)


GROUPS: dict[str, tuple[Metric, ...]] = {
    "Retention, and how far the network has gone from N0.": (
        of_run("retention_halfway", "retention halfway (%)", at("retention", 0.5, 100), NONE_CORRECTED),
        of_run("retention_end", "retention at the end (%)", at("retention", factor=100), NONE_CORRECTED),
        of_run("union", "parameters ever changed (% of all)", at("union_share", factor=100)),
        of_run("drift", "L2 norm of the total change", at("drift")),
    ),
    "Samples after which an accuracy is first 1, 5 and 10 points below N0's.": tuple(
        _fall(f"{which}_accuracy", f"{which} accuracy", points)
        for which in ("test", "untouched")
        for points in FALLS
    ),
    "Accuracy after the last sample, and what of it the work list contributes.": (
        of_run("test_accuracy", "test accuracy", at("test_accuracy")),
        of_run("untouched_accuracy", "untouched accuracy", at("untouched_accuracy")),
        _changed("untouched_change", "untouched, change against N0", "untouched_accuracy", _at_the_end),
        _changed("listed_part", "part from the work list", "listed_part", _at_the_end),
        _changed("listed_part_mean", "part from the work list, mean over the run", "listed_part", np.mean),
    ),
}
MEASURES = tuple(item for group in GROUPS.values() for item in group)


def summary_of(item: Metric, samples: pd.DataFrame) -> Summary:
    """Summarize a measure over the runs of one method; a note says why there is no mean."""
    return measure(samples, item) if len(samples) else item.absent


def cell_text(item: Metric, summary: Summary) -> str:
    """Return "mean ± sd", and in how many runs there is no value."""
    text = format_summary(summary)
    if not summary.n or not summary.left_out:
        return text
    return f"{text} ({item.nothing} in {summary.left_out} of {summary.n + summary.left_out})"


@dataclass(frozen=True)
class Accumulation(Study):
    """A table and three figures of the non-reloading setting."""

    presets: tuple[str, ...] = ("every_method", *REPLICAS)
    methods: tuple[str, ...] = EVERY_METHOD
    tables = ("accumulation",)
    figures = tuple(FIGURES)

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the table and the figures."""
        scope = Scope("non_reloading", self.networks, self.methods, self.thesis)
        frames = scope.frames(draws(runs))
        trails = Frames(with_trails(frames.samples), frames.runs)
        own = {
            (network, method): trails.select(network=network, method=method).samples
            for network, method in product(self.networks, self.methods)
        }
        yield self.sheet(
            scope.caption(trails),
            scope.warnings(trails),
            [_block(title, group, own) for title, group in GROUPS.items()],
            [record for key, samples in own.items() for record in _records(key, samples)],
        )
        for name in FIGURES:
            yield Picture(name, partial(paint_trails, name=name, scope=scope, trails=trails))


Key = tuple[str, str]  # network, method


def _block(title: str, group: Sequence[Metric], own: dict[Key, pd.DataFrame]) -> Block:
    lines = [
        [
            *(network_label(network), method_style(method).label, str(samples["seed"].nunique())),
            *(cell_text(item, summary_of(item, samples)) for item in group),
        ]
        for (network, method), samples in own.items()
    ]
    return Block(title, ["network", "method", "runs", *(item.label for item in group)], lines)


def _records(key: Key, samples: pd.DataFrame) -> Iterator[tuple[object, ...]]:
    """Yield a line per measure and run, then the mean over runs; words where there is no value."""
    seeds = sorted(set(samples["seed"]))
    for item in MEASURES:
        for seed, value in zip(seeds, item.values(samples), strict=True):
            finite = bool(np.isfinite(value))
            told = float(value) if finite else item.nothing
            yield (*key, item.name, seed % REPLICA, seed // REPLICA, told, None, int(finite), int(not finite))
        summary = summary_of(item, samples)
        yield (*key, item.name, "all", "all", summary.told, summary.sd, summary.n, summary.left_out)
