"""The frontier as a picture: a numbered mark for each method, and a key."""

import io
import math
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from bgd.pareto.points import Frontier, Point
from bgd.patch.file import put

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {  # Okabe and Ito's: apart for dichromats; which stands for what is told in the key's words as well
    "nothing": "#666666",
    "statistic": "#D98600",
    "keep_set": "#0072B2",
    "training_data": "#009E73",
    "": "#CC79A7",
}
LOOK: Any = {"font.family": "DejaVu Sans", "font.size": 8, "axes.linewidth": 0.6, "svg.hashsalt": "bgd"}
REACH = (11, 17, 24)  # points from a mark to its number
APART = 1.15  # ratio of places across, of two marks side by side
NEAR = 9  # points within which a number hides what is there
TURNS = 12


def draw(frontier: Frontier, path: str | PathLike[str]) -> None:
    """Draw a frontier into a file, see `Frontier.figure`."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the frontier as a figure needs matplotlib: pip install matplotlib"
        ) from error
    points = frontier.points
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(7.6, max(3.4, 0.17 * len(points) + 1.6)), layout="constrained")
        axes, key = figure.subplots(1, 2, width_ratios=(3, 1.9))
        across = _side_by_side(points)
        _marks(axes, frontier, points, across)
        _key(key, frontier, points)
        figure.canvas.draw()
        _numbers(axes, points, across)
        held = io.BytesIO()
        figure.savefig(held, format=Path(path).suffix[1:], dpi=180, facecolor="white")
    put(path, held.getvalue(), overwrite=True)


def _side_by_side(points: Sequence[Point]) -> list[float]:
    """Return where each mark stands across: those of nearly as many parameters a little apart."""
    groups: list[list[float]] = []
    for point in points:  # by parameters
        if groups and point.parameters < groups[-1][-1] * APART:
            groups[-1].append(point.parameters)
        else:
            groups.append([point.parameters])
    return [
        math.exp(fmean(map(math.log, group))) * APART ** (place - (len(group) - 1) / 2)
        for group in groups
        for place in range(len(group))
    ]


def _marks(axes: "Axes", frontier: Frontier, points: Sequence[Point], across: Sequence[float]) -> None:
    """Draw the median of each method, and a line up to its worst."""
    for point, x in zip(points, across, strict=True):
        axes.plot([x, x], [point.flips, point.flips_worst], **_line(point))
        axes.plot(x, point.flips, **_mark(point))
    most = max((point.flips_worst for point in points), default=1)
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=1)
    axes.set_xlim(min(across, default=1) / 2, max(across, default=1) * 2)
    axes.set_yticks([0, *(10**power for power in range(1 + math.ceil(math.log10(max(1, 2 * most)))))])
    axes.set_ylim(-0.3, max(2, 2 * most))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("parameters changed")
    axes.set_ylabel(f"held-out inputs that change class, of {frontier.held_out:,}")


def _numbers(axes: "Axes", points: Sequence[Point], across: Sequence[float]) -> None:
    """Write each method's number beside its mark, where it hides least."""
    if not points:
        return
    places = [(x, point.flips) for x, point in zip(across, points, strict=True)]
    marks = axes.transData.transform(places).tolist()
    unit = axes.figure.dpi / 72  # pixels in a point
    taken = [(x / unit, y / unit) for x, y in marks]
    for number, (x, y) in enumerate(list(taken), start=1):
        turns = [2 * math.pi * turn / TURNS + math.pi / 4 for turn in range(TURNS)]
        moves = [(reach * math.cos(turn), reach * math.sin(turn)) for reach in REACH for turn in turns]
        best = min(
            moves, key=lambda move: sum(math.dist((x + move[0], y + move[1]), at) < NEAR for at in taken)
        )
        taken.append((x + best[0], y + best[1]))
        far = math.hypot(*best) > REACH[0] + 1
        axes.annotate(
            str(number),
            places[number - 1],
            best,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=7,
            arrowprops={"arrowstyle": "-", "color": "#888888", "linewidth": 0.4} if far else None,
            zorder=5,
        )


def _key(axes: "Axes", frontier: Frontier, points: Sequence[Point]) -> None:
    """Say which number is which method, and what the marks mean."""
    axes.set_axis_off()
    notes = ["side by side: nearly as many parameters"]
    notes += ["mark: median over the inputs; line: to the worst"] if frontier.inputs > 1 else []
    signs = [("nothing", "D", True, "closed form"), ("nothing", "o", True, "a search")]
    signs += [("nothing", "o", False, "hollow: another method is better")]
    levels = [each for each in COLOURS if each in {point.knows for point in points}]
    rows = len(points) + len(notes) + len(signs) + len(levels)
    axes.set(xlim=(0, 1), ylim=(rows, 0))
    for number, point in enumerate(points, start=1):
        axes.text(0.08, number - 0.5, str(number), ha="right", va="center", fontsize=7)
        axes.plot(0.13, number - 0.5, **_mark(point))
        some = (
            ""
            if point.corrected == frontier.inputs
            else f" ({point.corrected:,} of {frontier.inputs:,} corrected)"
        )
        axes.text(0.19, number - 0.5, point.method + some, va="center", fontsize=7)
    for row, words in enumerate(notes, start=len(points)):
        axes.text(0.19, row + 0.5, words, va="center", fontsize=6.5, color="#444444")
    for row, (level, marker, full, words) in enumerate(signs, start=len(points) + len(notes)):
        axes.plot(0.13, row + 0.5, **_sign(COLOURS[level], marker, full))
        axes.text(0.19, row + 0.5, words, va="center", fontsize=6.5, color="#444444")
    for row, level in enumerate(levels, start=rows - len(levels)):
        said = f"knows {level.replace('_', ' ')}" if level else "does not say what it knows"
        axes.text(0.19, row + 0.5, said, va="center", fontsize=6.5, color=COLOURS[level], fontweight="bold")


def _mark(point: Point) -> dict[str, Any]:
    return _sign(COLOURS.get(point.knows, COLOURS[""]), "D" if point.closed_form else "o", point.optimal)


def _sign(colour: str, marker: str, full: bool) -> dict[str, Any]:
    return {
        "marker": marker,
        "markersize": 5.5,
        "markerfacecolor": colour if full else "white",
        "markeredgecolor": colour,
        "markeredgewidth": 1.1,
        "linestyle": "",
        "zorder": 3,
    }


def _line(point: Point) -> dict[str, Any]:
    return {
        "color": COLOURS.get(point.knows, COLOURS[""]),
        "linewidth": 0.8,
        "alpha": 0.6,
        "zorder": 2,
    }
