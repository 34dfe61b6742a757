"""Public bugs drawn: parameters against flips, a panel for each package, a mark for each method."""

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from experiments.records.public_bugs import BugRow
from experiments.report.canvas import blank
from experiments.report.part import words
from experiments.report.style import DOUBLE_COLUMN, method_style

FLOOR = 0.5  # where no flip is drawn on the logarithmic axis
APART = 1.07  # ratio between methods that change as many parameters: drawn side by side
MARKS = "so^DvPX*<>d"
COLUMNS = 3
Method = tuple[str, str]  # its name, and "few" where its budget is smaller


def draw_bugs(figure: Figure, rows: Sequence[BugRow]) -> list[str]:
    """Draw the panels and the key; return notes.

    Args:
        figure: Empty.
        rows: Of methods that changed something.
    """
    packages = {package: list(own) for package, own in groupby(rows, lambda row: row.job.package)}
    places = {name: number for number, name in enumerate(_by_method(rows))}
    lines = max(1, -(-len(packages) // COLUMNS))
    figure.set_size_inches(DOUBLE_COLUMN, 2.3 * lines + 1.0)
    panels = figure.subplots(lines, COLUMNS, squeeze=False)
    for axes, (package, own) in zip(panels.flat, packages.items(), strict=False):
        _draw_panel(axes, package, own, places)
    for axes in list(panels.flat)[len(packages) :]:
        axes.set_axis_off()
    if not packages:
        blank(panels.flat[0], "no records")
    handles: dict[str, Artist] = {}
    for axes in panels.flat:
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    if handles:
        figure.legend(
            handles=handles.values(),
            labels=handles.keys(),
            loc="outside upper center",
            ncols=4,
            frameon=False,
        )
    return [words("public_bugs")["figure"]]


def _draw_panel(axes: Axes, package: str, rows: Sequence[BugRow], places: Mapping[Method, int]) -> None:
    axes.set_title(package)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("parameters changed, median")
    axes.set_ylabel("inputs that change class")
    for (method, options), own in _by_method(rows).items():
        parameters = [value for row in own for value in row.parameters if value is not None]
        flips = [value for row in own for value in row.flips if value is not None]
        if not parameters:
            continue
        place = places[method, options]
        x = float(np.median(parameters)) * APART ** (place - len(places) / 2)
        y = max(FLOOR, float(np.median(flips)))
        name = method_style(method).short + (f" ({options})" if options else "")
        colour = f"C{place % 10}"
        axes.plot([x, x], [y, max(y, float(max(flips)))], linewidth=0.7, color=colour)
        axes.plot(
            [x], [y], marker=MARKS[place % len(MARKS)], linestyle="", markersize=5, label=name, color=colour
        )


def _by_method(rows: Sequence[BugRow]) -> dict[Method, list[BugRow]]:
    """Group rows by method, with a smaller budget or not."""
    found: dict[Method, list[BugRow]] = {}
    for row in rows:
        budget = "few" if row.job.options != "{}" else ""
        found.setdefault((row.job.method, budget), []).append(row)
    return found
