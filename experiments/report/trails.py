"""Figures over the samples of the non-reloading setting: retention, where the accuracy is from, and the drift."""

from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from experiments.report.canvas import blank, grid
from experiments.report.captions import absent_text
from experiments.report.curves import BAND, FIRST, MET, Curve, curve, draw_legend, draw_line, longest
from experiments.report.frames import Frames
from experiments.report.numbers import format_count, listing
from experiments.report.part import words
from experiments.report.scope import Scope
from experiments.report.style import DOUBLE_COLUMN, method_style, network_label

SHARE_OF_FIRST = 4  # the panel of the first samples shows at most a quarter of all

Curves = dict[str, Curve]  # by method


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
    """Draw a row of panels for each network; return the lines of the footnote.

    Args:
        figure: Empty.
        name: A key of `FIGURES`.
        scope: Its networks and methods, in order.
        trails: Of the scope, with the columns of `experiments.report.accumulation.with_trails`.
    """
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
        _draw(axes, panel, curves)
        axes.set_ylabel(panel.label.replace("%s", start))
    methods = dict.fromkeys(method for curves in drawn.values() for method in curves)
    draw_legend(figure, methods, columnspacing=1.1, handlelength=1.8)
    return [words("accumulation")[name], *_notes(scope, drawn), *scope.footnotes(trails)]


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


def _draw(axes: Axes, panel: Panel, curves: Curves) -> None:
    last = _last(panel, curves)
    for method, item in curves.items():
        draw_line(axes, item, method, last)
    axes.set_xlabel(MET)
    axes.set_xlim(0, max(1, last))
    if panel.ends is None:
        axes.set_yscale("log", nonpositive="mask")  # nothing has changed yet: no place on this axis
        axes.yaxis.set_minor_locator(NullLocator())
        if panel.factor > 1:
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    elif panel.ends:
        axes.set_ylim(*panel.ends)


def _notes(scope: Scope, drawn: Mapping[str, Curves]) -> list[str]:
    seeds = max((item.seeds for curves in drawn.values() for item in curves.values()), default=0)
    notes = [BAND] if seeds > 1 else []
    for network, curves in drawn.items():
        lacking = [method_style(name).short for name in scope.methods if name not in curves]
        if curves and lacking:
            notes.append(f"{network_label(network)}: missing, no runs among the records: {listing(lacking)}.")
    return notes
