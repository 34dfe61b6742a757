"""A few curves with names, in the place of many with numbers: which, in which colours."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.report.canvas import legend_above
from experiments.report.contenders import Contender
from experiments.report.frames import ReportError

Names = Mapping[str, str]  # `Contender.whole` -> what a reader calls it

# Okabe and Ito's palette with one of Tol's, and a mark for each: apart without colours too.
COLOURS = ("#000000", "#E69F00", "#999999", "#CC79A7", "#009E73", "#56B4E9", "#D55E00", "#0072B2")
MARKS = "osv^Pp*D"
COLUMNS = 4  # of the legend

Value = TypeVar("Value")


def chosen(found: Mapping[Contender, Value], names: Names) -> dict[str, Value]:
    """Return what has a name by it, in the order of the names.

    Raises:
        ReportError: There are more names than a reader tells apart.
    """
    if len(names) > len(COLOURS):
        raise ReportError(f"{len(names)} named curves: at most {len(COLOURS)} can be told apart")
    by_whole = {contender.whole: value for contender, value in found.items()}
    return {label: by_whole[whole] for whole, label in names.items() if whole in by_whole}


def look(names: Names, label: str) -> dict[str, Any]:
    """Return colour and mark of a name: the same in every figure of the same names."""
    place = list(names.values()).index(label)
    return {"color": COLOURS[place], "marker": MARKS[place]}


def legend(figure: Figure, names: Names, labels: Iterable[str], **more: Any) -> None:
    """Explain the names that are drawn, above the panels."""
    drawn = set(labels)
    handles = [
        Line2D([], [], label=label, markersize=4, **look(names, label), **more)
        for label in names.values()
        if label in drawn
    ]
    legend_above(figure, handles, ncols=min(COLUMNS, max(len(handles), 1)))


def label_axes(axes: Axes, along: str, up: str) -> None:
    """Label both axes, with lines of a grid along both."""
    axes.set_xlabel(along)
    axes.set_ylabel(up)
    axes.grid(visible=True, axis="both")
