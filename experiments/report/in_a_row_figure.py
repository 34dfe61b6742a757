"""The figure of corrections in a row: every method's untouched accuracy and retention, a number a line."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.report.canvas import blank
from experiments.report.captions import absent_text
from experiments.report.contenders import Contender, Entrant
from experiments.report.curves import MET, curve
from experiments.report.knowledge import LEVELS, level_rank
from experiments.report.metrics import Values
from experiments.report.numbered import SIZE, Entry, draw_key, key_height, spread
from experiments.report.part import words
from experiments.report.standings import Aim
from experiments.report.strips import Panel, set_axis
from experiments.report.style import DOUBLE_COLUMN, family_of, network_label

COLUMNS = 3  # of the key
HEIGHT = 3.4  # inches, of a row of panels
GAP = 0.026  # of a panel's height, between the numbers at its right
POINTS = 60  # about, of a line that is not ours: with every one of 700 samples, forty such lines are a smear
LOSS = Panel("untouched_loss", "untouched accuracy lost (points)", "right", "symlog", 0.1)
AIMED = "Level dotted line: what this project aims at."


Found = Mapping[str, Sequence[Entrant]]  # by network


def draw_rows(figure: Figure, found: Found, aims: Sequence[Aim]) -> list[str]:
    """Draw a row for each network, the loss left and retention right, and the key; return notes."""
    entries = _entries(found)
    key = key_height(list(entries.values()), COLUMNS)
    figure.set_size_inches(DOUBLE_COLUMN, HEIGHT * len(found) + key + 1.1)
    grid = figure.add_gridspec(len(found) + 1, 2, height_ratios=[*([HEIGHT] * len(found)), key])
    letters = iter("abcdefgh")
    for row, (network, items) in enumerate(found.items()):
        for column, quantity in enumerate((LOSS.quantity, "retention")):
            axes = figure.add_subplot(grid[row, column])
            axes.set_title(f"({next(letters)}) {network_label(network)}")
            if not items:
                blank(axes, absent_text(network, "non_reloading"))
                continue
            bounds = [aim.bound for aim in aims if (aim.network, aim.quantity) == (network, quantity)]
            _draw_panel(axes, items, entries, quantity, bounds)
            if row == len(found) - 1:
                axes.set_xlabel(MET)
    draw_key(figure.add_subplot(grid[-1, :]), list(entries.values()), COLUMNS)
    return [words("in_a_row")["figure"], *([AIMED] if aims else [])]


def _entries(found: Found) -> dict[Contender, Entry]:
    """Return a numbered entry for each contender of any network, in the order that they come in."""
    levels = {item.contender: item.level for items in found.values() for item in items}
    ordered = sorted(levels, key=lambda contender: level_rank(levels[contender]))
    entries = {}
    for number, contender in enumerate(ordered, 1):
        family = family_of(contender.method)
        line = {"thesis": ":", "ours": "-"}.get(family, "--")
        entries[contender] = Entry(number, contender.short, levels[contender], family, line)
    return entries


def values_of(samples: pd.DataFrame, quantity: str) -> Values:
    """Return the curve of a panel after 0, 1, 2, ... samples, the mean over seeds."""
    if quantity == "retention":
        return curve(samples, "retention").mean
    accuracy = curve(samples, "untouched_accuracy").mean
    return np.asarray(100 * (accuracy[0] - accuracy), dtype=np.float64)


def drawn_of(size: int, every: bool) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Return the places of a line's values that are drawn: all, or some `POINTS` of them and the last."""
    step = 1 if every else max(1, size // POINTS)
    return np.union1d(np.arange(0, size, step), [size - 1])


def _draw_panel(
    axes: Axes,
    items: Sequence[Entrant],
    entries: Mapping[Contender, Entry],
    quantity: str,
    bounds: Sequence[float],
) -> None:
    loss = quantity == LOSS.quantity
    lines = {item.contender: values_of(item.part.samples, quantity) for item in items}
    longest = max(values.size for values in lines.values()) - 1
    if loss:
        finite = np.concatenate([values[np.isfinite(values)] for values in lines.values()])
        ends = [*finite, *bounds, 0.0]
        set_axis(axes, LOSS, min(ends), max(ends), along="y")
        axes.invert_yaxis()
        axes.set_ylabel(LOSS.label)
        lines = {name: LOSS.heights(values) for name, values in lines.items()}
        marks = [float(LOSS.heights([bound])[0]) for bound in bounds]
    else:
        axes.set_ylim(-0.02, 1.02)
        axes.set_ylabel("retention")
        marks = [bound / 100 for bound in bounds]
    for mark in marks:
        axes.axhline(mark, color="#5E7F3A", linestyle=(0, (1, 1.5)), linewidth=1.0, zorder=1.5)
    for name, values in lines.items():
        entry, ours = entries[name], entries[name].family == "ours"
        look: dict[str, Any] = {"color": LEVELS[entry.level].colour, "linestyle": entry.line}
        drawn = drawn_of(values.size, ours)
        axes.plot(drawn, values[drawn], linewidth=1.2 if ours else 0.75, zorder=2.5 if ours else 2, **look)
    axes.set_xlim(0, max(1, longest))
    _write_ends(axes, {entries[name].number: values for name, values in lines.items()}, entries)


def _write_ends(axes: Axes, lines: Mapping[int, Values], entries: Mapping[Contender, Entry]) -> None:
    """Write each line's number right of the panel, apart from each other, with a thin line to where it ends."""
    bottom, top = axes.get_ylim()
    right = axes.get_xlim()[1]
    ends = {
        number: (float(np.flatnonzero(np.isfinite(values))[-1]), float(values[np.isfinite(values)][-1]))
        for number, values in lines.items()
        if np.isfinite(values).any()
    }
    colours = {entry.number: LEVELS[entry.level].colour for entry in entries.values()}
    shares = [(value - bottom) / (top - bottom) for _, value in ends.values()]
    for (number, (place, _)), share, height in zip(
        ends.items(), shares, spread(shares, GAP, 0.0, 1.0), strict=True
    ):
        thin: dict[str, Any] = {"color": "#999999", "linewidth": 0.3, "clip_on": False}
        axes.plot((place / right, 1.045), (share, height), transform=axes.transAxes, **thin)
        look: dict[str, Any] = {"fontsize": SIZE, "va": "center", "color": colours[number]}
        axes.text(1.05, height, str(number), transform=axes.transAxes, **look)
