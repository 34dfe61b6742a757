"""Many methods in one panel: numbers in the place of names, put where they hide nothing, and a key below."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from scipy.optimize import isotonic_regression

from experiments.report.knowledge import LEVELS, level_rank
from experiments.report.style import FAMILIES

Place = tuple[float, float]  # in inches from a panel's corner

SIZE = 5.2  # points, of a number
WIDTH, HEIGHT = 0.105, 0.075  # inches, of a number of two digits
RADII = (0.075, 0.12, 0.18, 0.25, 0.34)  # inches from a mark to its number
DIRECTIONS = 16
MARK = 0.035  # inches, half a mark


@dataclass(frozen=True)
class Entry:
    """A line of the key: a number and a label, with level and family for colour and mark; a curve has a line style."""

    number: int
    label: str
    level: str
    family: str
    line: str = ""


def place_numbers(marks: Sequence[Place], numbers: Sequence[Place], size: Place) -> list[Place]:
    """Return places for the numbers of some of a panel's marks, clear of marks and other numbers where that can be."""
    turns = [2 * math.pi * step / DIRECTIONS for step in range(DIRECTIONS)]
    taken: list[Place] = []
    for right, up in numbers:
        moves = [(r * math.cos(turn), r * math.sin(turn)) for r in RADII for turn in turns]
        places = [(right + across, up + along) for across, along in moves]
        # Of those that are alike the first, which is the nearest.
        taken.append(min(places, key=lambda place: _hidden(place, marks, taken, size)))
    return taken


def _hidden(place: Place, marks: Sequence[Place], taken: Sequence[Place], size: Place) -> int:
    """Return how much a number at a place would hide, or how far it would hang out."""
    outside = sum(
        not half <= at <= whole - half
        for at, half, whole in zip(place, (WIDTH / 2, HEIGHT / 2), size, strict=True)
    )
    over_numbers = sum(_near(place, other, (WIDTH, HEIGHT)) for other in taken)
    over_marks = sum(_near(place, other, (WIDTH / 2 + MARK, HEIGHT / 2 + MARK)) for other in marks)
    return 10 * outside + 3 * over_numbers + over_marks


def _near(one: Place, other: Place, within: Place) -> bool:
    return all(abs(a - b) < gap for a, b, gap in zip(one, other, within, strict=True))


def spread(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return values moved apart by at least `gap`, in their order, within [low, high], each moved little.

    Where there is no room for all the gap shrinks.
    """
    if not values:
        return []
    gap = min(gap, (high - low) / max(1, len(values) - 1))
    order = np.argsort(values, kind="stable")
    # Without the steps neighbours that touch would share a place: the mean of theirs.
    steps = gap * np.arange(len(values))
    wanted = np.clip(np.take(values, order), low + steps, high - steps[::-1])
    found = np.empty(len(values))
    found[order] = isotonic_regression(wanted - steps).x + steps
    return found.tolist()


def draw_key(axes: Axes, entries: Sequence[Entry], columns: int) -> None:
    """Write what each number is, level by level, into an empty panel as tall as `key_height` says."""
    axes.set_axis_off()
    axes.set_xlim(0, columns)
    rows, lines = key_lines(entries, columns)
    axes.set_ylim(rows, 0)
    for place, line in enumerate(lines):
        left, top = place // rows, place % rows + 0.5
        if isinstance(line, str):
            words, colour = (f"knows {LEVELS[line].label}", LEVELS[line].colour) if line else ("", "black")
            axes.text(left, top, words, color=colour, fontsize=6, fontweight="bold", va="center")
            continue
        colour = LEVELS[line.level].colour
        axes.text(left + 0.07, top, str(line.number), fontsize=6, ha="right", va="center")
        if line.line:
            axes.plot((left + 0.1, left + 0.16), (top, top), color=colour, linewidth=1.2, linestyle=line.line)
        else:
            marker = FAMILIES[line.family][1]
            axes.plot(left + 0.13, top, marker, color=colour, markersize=3.4, markeredgewidth=0)
        axes.text(left + 0.185, top, line.label, fontsize=6, va="center")


def key_lines(entries: Sequence[Entry], columns: int) -> tuple[int, list[Entry | str]]:
    """Return how many rows a key has, and its entries with headings; none of these stands alone at a column's end."""
    ordered = sorted(entries, key=lambda entry: (level_rank(entry.level), entry.number))
    groups = [list(own) for _, own in itertools.groupby(ordered, key=lambda entry: entry.level)]
    for rows in itertools.count(max(2, math.ceil((len(ordered) + len(groups)) / columns))):
        lines: list[Entry | str] = []
        for own in groups:
            if len(lines) % rows == rows - 1:
                lines.append("")
            lines += [own[0].level, *own]
        if len(lines) <= rows * columns:
            return rows, lines
    raise AssertionError("more rows always have room for all")


def key_height(entries: Sequence[Entry], columns: int) -> float:
    """Return the height of the key in inches."""
    return 0.125 * key_lines(entries, columns)[0]


def family_handles(entries: Sequence[Entry]) -> list[Line2D]:
    """Return a legend's handles for the marks of the families that there are."""
    present = {entry.family for entry in entries if not entry.line}
    look: dict[str, Any] = {"linewidth": 0, "markersize": 3.6, "color": "#333333", "markeredgewidth": 0}
    return [
        Line2D([], [], marker=marker, label=label, **look)
        for family, (label, marker) in FAMILIES.items()
        if family in present
    ]


def write_numbers(axes: Axes, size: Place, marks: Sequence[Place], numbered: Mapping[int, Place]) -> None:
    """Write numbers beside their marks, with a thin line where one had to go further away.

    The limits of the axes are set; the panel's size is in inches, about. Marks, and of them the one of each number, are
    shares of the axes.
    """
    width, height = size
    inches = [(right * width, up * height) for right, up in marks]
    own = [(right * width, up * height) for right, up in numbered.values()]
    for number, mark, place in zip(numbered, own, place_numbers(inches, own, size), strict=True):
        at, start = ((spot[0] / width, spot[1] / height) for spot in (place, mark))
        look: dict[str, Any] = {"fontsize": SIZE, "ha": "center", "va": "center", "zorder": 5}
        look["path_effects"] = [withStroke(linewidth=1.0, foreground="white")]  # to be read across a line
        axes.text(*at, str(number), transform=axes.transAxes, in_layout=False, **look)
        if math.dist(mark, place) > RADII[0] * 1.01:
            ends = [(a, b) for a, b in zip(start, at, strict=True)]
            thin: dict[str, Any] = {"color": "#888888", "linewidth": 0.35, "zorder": 1.8}
            axes.plot(*ends, transform=axes.transAxes, **thin)


def draw_box(axes: Axes, right: float, top: float) -> None:
    """Mark what lies at or below two bounds: a light box with a dotted edge."""
    left, bottom = axes.get_xlim()[0], axes.get_ylim()[0]
    look: dict[str, Any] = {"facecolor": "#F1F6EC", "edgecolor": "#5E7F3A", "linestyle": (0, (1, 1.5))}
    axes.add_patch(Rectangle((left, bottom), right - left, top - bottom, linewidth=0.8, zorder=0.5, **look))
