"""Curves over the samples of the non-reloading setting: a line a method, figure by figure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from experiments.report.canvas import blank, grid, legend_above, lettered
from experiments.report.captions import absent_text
from experiments.report.frames import Frames
from experiments.report.metrics import Values, correct
from experiments.report.numbers import format_count, listing
from experiments.report.part import words
from experiments.report.scope import Scope
from experiments.report.style import DOUBLE_COLUMN, UNCORRECTED_COLOUR, method_style, network_label

FIRST = 100  # samples in panel (b), section 4.7 of the thesis
SHARE_OF_FIRST = 4  # a panel of the first samples alone shows at most a quarter of all
MET = "misclassified samples met so far"
BAND = "Line: mean over runs (seeds and replicas of N0; runs that are the same are one); band: smallest to largest."

LABELS = {
    "test_accuracy": "testing accuracy",
    "train_accuracy": "training accuracy",
    "train_loss": "training loss (nats)",
}


@dataclass(frozen=True)
class Curve:
    """A measure after 0, 1, 2, ... samples.

    Attributes:
        mean, low, high: Over the seeds whose value is finite; NaN where none is. The first is N0's.
        uncorrected: Whether at least half of the seeds failed on the sample; False for N0.
        not_finite: How many values of all seeds are not finite.
        seeds: How many seeds there are.
    """

    mean: Values
    low: Values
    high: Values
    uncorrected: npt.NDArray[np.bool_]
    not_finite: int
    seeds: int

    def scaled(self, factor: float) -> "Curve":
        """Return it in another unit."""
        return replace(self, mean=factor * self.mean, low=factor * self.low, high=factor * self.high)


Curves = Mapping[str, Curve]  # by method


def curve(samples: pd.DataFrame, measure: str) -> Curve:
    """Return a method's curve from the rows of all its seeds (at least one)."""
    table = samples.assign(failed=~correct(samples)).pivot(
        index="position", columns="seed", values=[measure, "failed"]
    )
    base = samples.groupby("seed")[f"base_{measure}"].first().to_numpy(dtype=np.float64)
    values = np.vstack([base, table[measure].to_numpy(dtype=np.float64)])
    failed = table["failed"].to_numpy(dtype=np.float64)
    known = pd.DataFrame(values)
    # A seed whose run is shorter has no row there and no say.
    share = pd.DataFrame(failed).mean(axis=1).to_numpy()
    absent = np.vstack([np.zeros(base.size, dtype=np.bool_), np.isnan(failed)])
    return Curve(
        mean=known.mean(axis=1).to_numpy(),
        low=known.min(axis=1).to_numpy(),
        high=known.max(axis=1).to_numpy(),
        uncorrected=np.concatenate([[False], share >= 0.5]),
        not_finite=int((np.isnan(values) & ~absent).sum()),
        seeds=int(base.size),
    )


def draw_lines(axes: Axes, curves: Curves, last: int) -> None:
    """Draw each method's mean and its band over runs, rasterized for a small svg, over the first `last` samples."""
    for method, item in curves.items():
        style, places = method_style(method), np.arange(min(last + 1, item.mean.size))
        if item.seeds > 1:
            band: dict[str, Any] = {"color": style.colour, "alpha": 0.15, "linewidth": 0, "rasterized": True}
            axes.fill_between(places, item.low[places], item.high[places], **band)
        axes.plot(places, item.mean[places], color=style.colour, linestyle=style.line)
    axes.set_xlabel(MET)
    axes.set_xlim(0, max(1, last))


def longest(curves: Curves) -> int:
    """Return how many samples the longest of some curves has."""
    return max((item.mean.size for item in curves.values()), default=1) - 1


def draw_legend(figure: Figure, methods: Iterable[str], *more: Line2D, **look: Any) -> None:
    """Name the lines of methods above the panels, and what else is drawn; nothing where nothing is."""
    handles = [
        Line2D([], [], color=style.colour, linestyle=style.line, linewidth=1.4, label=style.short)
        for style in map(method_style, methods)
    ]
    legend_above(figure, [*handles, *more], **look)


def draw_curves(
    figure: Figure, panels: Any, frames: Frames, methods: Sequence[str], measure: str
) -> list[str]:
    """Draw a measure over all samples and over the first 100, with a legend above; return notes."""
    found = {name: frames.select(method=name).samples for name in methods}
    curves = {name: curve(samples, measure) for name, samples in found.items() if len(samples)}
    network, every = network_label(str(frames.runs["network"].iloc[0])), longest(curves)
    first = min(FIRST, every)
    titles = (f"{network}, {format_count(every)} samples", f"first {first} samples")
    for (letter, axes), last, title in zip(lettered(panels), (every, first), titles, strict=True):
        if measure == "train_loss":
            axes.set_yscale("log")
        draw_lines(axes, curves, last)
        for item in curves.values():
            # Below the line, so that its colour stays to be seen where sample after sample fails.
            failed = np.flatnonzero(item.uncorrected[: last + 1])
            dots: dict[str, Any] = {"color": UNCORRECTED_COLOUR, "markersize": 2.6, "markeredgewidth": 0}
            axes.plot(failed, item.mean[failed], "o", rasterized=True, zorder=1.9, **dots)
        axes.set_title(f"{letter} {title}")
        axes.set_ylabel(LABELS[measure])
    dot: dict[str, Any] = {"marker": "o", "markersize": 3, "linewidth": 0, "label": "uncorrected"}
    draw_legend(figure, curves, Line2D([], [], color=UNCORRECTED_COLOUR, **dot), columnspacing=1.2)
    return _notes(curves, methods)


def _notes(curves: Curves, methods: Sequence[str]) -> list[str]:
    many = _seeds(curves) > 1
    notes = [
        f"{BAND} Red: uncorrected in at least half of the runs." if many else "One seed. Red: uncorrected."
    ]
    notes += _gaps(curves, methods, "Missing")
    gaps = [
        f"{method_style(name).short} {item.not_finite:,}" for name, item in curves.items() if item.not_finite
    ]
    if gaps:
        notes.append(f"Not finite and not drawn: {', '.join(gaps)} values.")
    return notes


def _seeds(curves: Curves) -> int:
    return max((item.seeds for item in curves.values()), default=0)


def _gaps(curves: Curves, methods: Sequence[str], start: str) -> list[str]:
    lacking = [method_style(name).short for name in methods if name not in curves]
    return [f"{start}, no runs among the records: {listing(lacking)}."] if lacking else []


@dataclass(frozen=True)
class Panel:
    """A column of panels.

    Attributes:
        measure: A column of `experiments.report.accumulation.with_trails`.
        label: Of the axis; `%s` stands for the letter of the first panel of the row.
        factor: Its unit in that of the panel.
        ends: Of the axis; None for a logarithmic one.
        first: Whether only the first samples are drawn.
    """

    measure: str
    label: str
    factor: float = 1
    ends: tuple[float, float] | tuple[()] | None = ()
    first: bool = False


FIGURES: Mapping[str, tuple[Panel, ...]] = {
    "retention": (
        Panel("retention", "retention", ends=(-0.03, 1.03)),
        Panel("retention", "retention", ends=(-0.03, 1.03), first=True),
    ),
    "untouched_accuracy": (
        Panel("test_accuracy", "test accuracy", ends=(0, 1.02)),
        Panel("untouched_accuracy", "accuracy, untouched images", ends=(0, 1.02)),
        Panel("listed_part", "points of %s from the list", factor=100),
    ),
    "drift": (
        Panel("union_share", "parameters ever changed (%)", factor=100, ends=None),
        Panel("drift", "L2 norm of the total change", ends=None),
    ),
}


def paint_trails(figure: Figure, name: str, scope: Scope, trails: Frames) -> list[str]:
    """Draw a row of panels for each network, those of `FIGURES[name]`, from `with_trails`; return notes."""
    drawn: dict[str, Curves] = {}
    size, start = (DOUBLE_COLUMN, 2.25 * len(scope.networks) + 0.6), ""
    for letter, axes, network, panel in grid(figure, size, scope.networks, FIGURES[name]):
        start = letter if panel is FIGURES[name][0] else start
        own = trails.select(network=network).samples.groupby("method")
        curves = {
            method: curve(own.get_group(method), panel.measure).scaled(panel.factor)
            for method in scope.methods
            if method in own.groups
        }
        drawn[network] = curves
        axes.set_title(f"{letter} {_title(name, network_label(network), panel, curves)}")
        if not curves:
            blank(axes, absent_text(network, scope.setting))
            continue
        _draw_trail(axes, panel, curves)
        axes.set_ylabel(panel.label.replace("%s", start))
    methods = dict.fromkeys(method for curves in drawn.values() for method in curves)
    draw_legend(figure, methods, columnspacing=1.1, handlelength=1.8)
    return [words("accumulation")[name], *_trail_notes(scope, drawn), *scope.footnotes(trails)]


def _last(panel: Panel, curves: Curves) -> int:
    """Return how many samples a panel shows."""
    every = longest(curves)
    return min(FIRST, max(1, every // SHARE_OF_FIRST)) if panel.first else every


def _title(name: str, network: str, panel: Panel, curves: Curves) -> str:
    """Return a panel's title: of retention with the number of samples."""
    if name != "retention" or not curves:
        return network
    count = _last(panel, curves)
    return f"first {count} samples" if panel.first else f"{network}, {format_count(count)} samples"


def _draw_trail(axes: Axes, panel: Panel, curves: Curves) -> None:
    draw_lines(axes, curves, _last(panel, curves))
    if panel.ends is None:
        axes.set_yscale("log", nonpositive="mask")  # nothing has changed yet: no place on this axis
        axes.yaxis.set_minor_locator(NullLocator())
        if panel.factor > 1:
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    elif panel.ends:
        axes.set_ylim(*panel.ends)


def _trail_notes(scope: Scope, drawn: Mapping[str, Curves]) -> list[str]:
    notes = [BAND] if any(_seeds(curves) > 1 for curves in drawn.values()) else []
    for network, curves in drawn.items():
        if curves:
            notes += _gaps(curves, scope.methods, f"{network_label(network)}: missing")
    return notes
