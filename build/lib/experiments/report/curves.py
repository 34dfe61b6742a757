"""Curves over the samples of the non-reloading setting, a line a method."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.report.frames import Frames
from experiments.report.metrics import Values, correct
from experiments.report.numbers import format_count, listing
from experiments.report.style import UNCORRECTED_COLOUR, method_style, network_label

FIRST = 100  # samples in panel (b), section 4.7 of the thesis

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


def draw_curves(
    figure: Figure, panels: Sequence[Axes], frames: Frames, methods: Sequence[str], measure: str
) -> list[str]:
    """Draw a measure over all samples and over the first 100, with a legend above; return notes."""
    found = {name: frames.select(method=name).samples for name in methods}
    curves = {name: curve(samples, measure) for name, samples in found.items() if len(samples)}
    longest = max((item.mean.size for item in curves.values()), default=1) - 1
    network = network_label(str(frames.runs["network"].iloc[0]))
    lasts = (longest, min(FIRST, longest))
    titles = (f"(a) {network}, {format_count(longest)} samples", f"(b) first {lasts[1]} samples")
    for axes, last, title in zip(panels, lasts, titles, strict=True):
        if measure == "train_loss":
            axes.set_yscale("log")
        for method, item in curves.items():
            _draw_curve(axes, item, method, last)
        axes.set_title(title)
        axes.set_xlabel("misclassified samples met so far")
        axes.set_ylabel(LABELS[measure])
        axes.set_xlim(0, max(1, last))
    handles = [*(_handle(method) for method in curves), _uncorrected_handle()]
    look: dict[str, Any] = {"ncols": len(handles), "frameon": False, "columnspacing": 1.2}
    figure.legend(handles=handles, loc="outside upper center", **look)
    return _notes(curves, methods)


def _handle(method: str) -> Line2D:
    style = method_style(method)
    return Line2D([], [], color=style.colour, linestyle=style.line, linewidth=1.4, label=style.short)


def _uncorrected_handle() -> Line2D:
    dot: dict[str, Any] = {"marker": "o", "markersize": 3, "linewidth": 0}
    return Line2D([], [], color=UNCORRECTED_COLOUR, label="uncorrected", **dot)


def _draw_curve(axes: Axes, item: Curve, method: str, last: int) -> None:
    """Draw a method's mean, band and uncorrected samples; dense artists rasterized, for a small svg."""
    style = method_style(method)
    places = np.arange(min(last + 1, item.mean.size))
    mean, failed = item.mean[places], item.uncorrected[places]
    if item.seeds > 1:
        band: dict[str, Any] = {"color": style.colour, "alpha": 0.15, "linewidth": 0}
        axes.fill_between(places, item.low[places], item.high[places], rasterized=True, **band)
    axes.plot(places, mean, color=style.colour, linestyle=style.line)
    # Below the line, so that its colour stays to be seen where sample after sample fails.
    dots: dict[str, Any] = {"color": UNCORRECTED_COLOUR, "markersize": 2.6, "markeredgewidth": 0}
    axes.plot(places[failed], mean[failed], "o", rasterized=True, zorder=1.9, **dots)


def _notes(curves: dict[str, Curve], methods: Sequence[str]) -> list[str]:
    seeds = max((item.seeds for item in curves.values()), default=0)
    many = (
        "Line: mean over runs (seeds and replicas of N0); band: smallest to largest. Red: uncorrected in at least half"
        " of the runs."
    )
    notes = [many if seeds > 1 else "One seed. Red: uncorrected."]
    absent = [method_style(name).short for name in methods if name not in curves]
    if absent:
        notes.append(f"Missing, no runs among the records: {listing(absent)}.")
    gaps = [
        f"{method_style(name).short} {item.not_finite:,}" for name, item in curves.items() if item.not_finite
    ]
    if gaps:
        notes.append(f"Not finite and not drawn: {', '.join(gaps)} values.")
    return notes
