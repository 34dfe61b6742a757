"""Figures over the samples of the non-reloading setting: retention, where the accuracy is from, and the drift."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from experiments.report.canvas import blank, draw
from experiments.report.curves import FIRST, Curve, curve
from experiments.report.figures import absent_text
from experiments.report.frames import Frames
from experiments.report.numbers import format_count, listing
from experiments.report.scope import Scope
from experiments.report.style import DOUBLE_COLUMN, method_style, network_label

MET = "misclassified samples met so far"
SHARE_OF_FIRST = 4  # the panel of the first samples shows at most a quarter of all

Curves = dict[str, Curve]  # by method


def render(name: str, scope: Scope, trails: Frames) -> dict[str, bytes]:
    """Return a figure as files: `{"png": ..., "svg": ...}`.

    Args:
        name: A key of `FIGURES`.
        scope: Its networks and methods, in order.
        trails: Of the scope, with the columns of `experiments.report.accumulation.with_trails`.
    """

    def paint(figure: Figure) -> list[str]:
        return [*FIGURES[name](figure, scope, trails), *scope.footnotes(trails)]

    return draw(paint)


def _curves(scope: Scope, trails: Frames, network: str, measure: str) -> Curves:
    """Return a curve for each method that has a run."""
    samples = trails.select(network=network).samples
    own = {str(name): part for name, part in samples.groupby("method")}
    return {name: curve(own[name], measure) for name in scope.methods if name in own}


def _longest(curves: Curves) -> int:
    return max((item.mean.size for item in curves.values()), default=1) - 1


def _draw_retention(figure: Figure, scope: Scope, trails: Frames) -> list[str]:
    """Draw the share of earlier corrections that still hold: all samples, and the first."""
    panels = _grid(figure, len(scope.networks), 2)
    drawn: dict[str, Curves] = {}
    letters = iter("abcdefgh")
    for row, network in zip(panels, scope.networks, strict=True):
        drawn[network] = _curves(scope, trails, network, "retention")
        longest = _longest(drawn[network])
        first = min(FIRST, max(1, longest // SHARE_OF_FIRST))
        titles = (f"{network_label(network)}, {format_count(longest)} samples", f"first {first} samples")
        for axes, last, title in zip(row, (longest, first), titles, strict=True):
            axes.set_title(f"({next(letters)}) {title if drawn[network] else network_label(network)}")
            _draw_lines(axes, drawn[network], last, absent_text(network, scope.setting))
            if drawn[network]:
                axes.set_ylabel("retention")
                axes.set_ylim(-0.03, 1.03)
    _legend(figure, drawn)
    meaning = (
        "Retention: share of the samples corrected before that the network gets right after the turn of the sample"
        " on the axis; samples already right at their turn are not counted."
    )
    return [meaning, *_notes(scope, drawn)]


def _draw_drift(figure: Figure, scope: Scope, trails: Frames) -> list[str]:
    """Draw how many parameters have changed at all, and how far the network has gone."""
    panels = _grid(figure, len(scope.networks), 2)
    labels = {"union_share": "parameters ever changed (%)", "drift": "L2 norm of the total change"}
    drawn: dict[str, Curves] = {}
    letters = iter("abcdefgh")
    for row, network in zip(panels, scope.networks, strict=True):
        for axes, (measure, label) in zip(row, labels.items(), strict=True):
            axes.set_title(f"({next(letters)}) {network_label(network)}")
            curves = _curves(scope, trails, network, measure)
            if measure == "union_share":
                curves = {name: _scaled(item, 100) for name, item in curves.items()}
            drawn[network] = curves
            _draw_lines(axes, curves, _longest(curves), absent_text(network, scope.setting))
            if curves:
                axes.set_yscale("log", nonpositive="mask")  # nothing has changed yet: no place on this axis
                axes.yaxis.set_minor_locator(NullLocator())
                axes.set_ylabel(label)
            if curves and measure == "union_share":
                axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _legend(figure, drawn)
    meaning = (
        "Left: parameters whose value any correction so far has changed, of all. Right: L2 norm of the difference of"
        " all parameters to N0's. Logarithmic axes: no value is drawn before the first change."
    )
    return [meaning, *_notes(scope, drawn)]


def _scaled(item: Curve, factor: float) -> Curve:
    bounds = (factor * item.mean, factor * item.low, factor * item.high)
    return Curve(*bounds, item.uncorrected, item.not_finite, item.seeds)


def _draw_origins(figure: Figure, scope: Scope, trails: Frames) -> list[str]:
    """Draw the test accuracy, that on images not on the work list, and what the work list adds to the first."""
    panels = _grid(figure, len(scope.networks), 3)
    labels = {
        "test_accuracy": "test accuracy",
        "untouched_accuracy": "accuracy, untouched images",
        "listed_part": "points of (%s) from the list",
    }
    drawn: dict[str, Curves] = {}
    letters = iter("abcdefghi")
    for row, network in zip(panels, scope.networks, strict=True):
        first = ""
        for axes, (measure, label) in zip(row, labels.items(), strict=True):
            letter = next(letters)
            first = first or letter
            axes.set_title(f"({letter}) {network_label(network)}")
            curves = _curves(scope, trails, network, measure)
            if measure == "listed_part":
                curves = {name: _scaled(item, 100) for name, item in curves.items()}
            drawn[network] = curves
            _draw_lines(axes, curves, _longest(curves), absent_text(network, scope.setting))
            if curves:
                axes.set_ylabel(label.replace("%s", first))
                if measure != "listed_part":
                    axes.set_ylim(0, 1.02)
    _legend(figure, drawn)
    meaning = (
        "Left: test accuracy. Middle: accuracy over the untouched test images, those that are not on the work list;"
        " where the list has all of N0's errors it starts at 1. Right: images of the list that are right, in per cent"
        " of all test images: corrections that are retained, and samples that another's correction made right. The"
        " test accuracy is this and the share of all test images that are untouched and right."
    )
    return [meaning, *_notes(scope, drawn)]


def _grid(figure: Figure, rows: int, columns: int) -> Any:
    figure.set_size_inches(DOUBLE_COLUMN, 2.25 * rows + 0.6)
    return figure.subplots(rows, columns, squeeze=False)


def _draw_lines(axes: Axes, curves: Curves, last: int, absent: str) -> None:
    """Draw each method's mean and its band over seeds, up to `last` samples."""
    if not curves:
        blank(axes, absent)
        return
    for method, item in curves.items():
        style = method_style(method)
        places = np.arange(min(last + 1, item.mean.size))
        if item.seeds > 1:
            band: dict[str, Any] = {"color": style.colour, "alpha": 0.15, "linewidth": 0}
            axes.fill_between(places, item.low[places], item.high[places], rasterized=True, **band)
        axes.plot(places, item.mean[places], color=style.colour, linestyle=style.line)
    axes.set_xlabel(MET)
    axes.set_xlim(0, max(1, last))


def _legend(figure: Figure, drawn: Mapping[str, Curves]) -> None:
    names = dict.fromkeys(name for curves in drawn.values() for name in curves)
    handles = [
        Line2D(
            *([], []),
            color=method_style(name).colour,
            linestyle=method_style(name).line,
            linewidth=1.4,
            label=method_style(name).short,
        )
        for name in names
    ]
    if handles:
        look: dict[str, Any] = {"frameon": False, "columnspacing": 1.1, "handlelength": 1.8}
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), **look)


def _notes(scope: Scope, drawn: Mapping[str, Curves]) -> list[str]:
    seeds = max((item.seeds for curves in drawn.values() for item in curves.values()), default=0)
    notes = (
        ["Line: mean over runs (seeds and replicas of N0); band: smallest to largest."] if seeds > 1 else []
    )
    for network, curves in drawn.items():
        absent = [method_style(name).short for name in scope.methods if name not in curves]
        if curves and absent:
            notes.append(f"{network_label(network)}: missing, no runs among the records: {listing(absent)}.")
    return notes


FIGURES: Mapping[str, Callable[[Figure, Scope, Frames], Sequence[str]]] = {
    "retention": _draw_retention,
    "untouched_accuracy": _draw_origins,
    "drift": _draw_drift,
}
