"""Distributions with their tails, a horizontal strip per method: rows of panels, a column per network."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.report.canvas import blank, grid
from experiments.report.captions import absent_text
from experiments.report.frames import Frames
from experiments.report.metrics import Values
from experiments.report.scope import Scope
from experiments.report.style import DOUBLE_COLUMN, method_style, network_label

GREY = "#333333"
MOST_TICKS = 4  # on either side of 0: more labels would run into each other
MARGIN = 0.04  # of an axis, free on both sides
HEIGHT, REST = 1.45, 0.75  # inches: of a row of panels, and of all that is no panel
LOW, HIGH = 5.0, 95.0  # percentiles at the ends of a strip's line

Key = tuple[str, str, str]  # network, method, quantity


@dataclass(frozen=True)
class Panel:
    """A row of panels: the name of a quantity, the label of its axis, and where the worse values are.

    Attributes:
        scale: "log", or "symlog" where a value may be 0 or below.
        linear: "log": smaller values are drawn here. "symlog": the axis is linear from minus this to this.
    """

    quantity: str
    label: str
    worse: Literal["right", "left"]
    scale: Literal["log", "symlog"]
    linear: float

    @property
    def words(self) -> str:
        """The label with an arrow to the worse end."""
        return f"{self.label}   worse →" if self.worse == "right" else f"← worse   {self.label}"

    def heights(self, values: Iterable[float]) -> Values:
        """Return where values stand on the axis: even in the logarithm, and in the value around 0."""
        array = np.asarray(list(values), dtype=np.float64)
        if self.scale == "log":
            return np.log10(np.maximum(array, self.linear))
        size = np.abs(array) / self.linear
        return np.sign(array) * np.where(size <= 1, size, 1 + np.log10(np.maximum(size, 1)))


def draw_strips(
    figure: Figure, scope: Scope, frames: Frames, values: Mapping[Key, Values | str], panels: Sequence[Panel]
) -> None:
    """Draw a row per panel and a column per network of a scope; words in `values` stand in the place of a strip."""
    size = (DOUBLE_COLUMN, HEIGHT * len(panels) + REST)
    for _, axes, panel, network in grid(figure, size, panels, scope.networks):
        if panel is panels[0]:
            axes.set_title(network_label(network))
        if frames.select(network=network).runs.empty:
            blank(axes, absent_text(network, scope.setting))
            continue
        _draw_panel(axes, {name: values[network, name, panel.quantity] for name in scope.methods}, panel)
        if network != scope.networks[0]:
            axes.tick_params(axis="y", labelleft=False)
    look: dict[str, Any] = {"ncols": 6, "frameon": False, "columnspacing": 1.4, "handlelength": 1.6}
    figure.legend(handles=_key(), loc="outside upper center", **look)


def _draw_panel(axes: Axes, strips: Mapping[str, Values | str], panel: Panel) -> None:
    """Draw a strip per method from the top, on an axis with ticks at decades."""
    finite = [item[np.isfinite(item)] for item in strips.values() if not isinstance(item, str)]
    pooled = np.concatenate([np.empty(0), *finite])
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    if pooled.size:
        set_axis(axes, panel, float(pooled.min()), float(pooled.max()))
    for place, (method, item) in enumerate(strips.items()):
        if isinstance(item, str) or not np.isfinite(item).any():
            text = item if isinstance(item, str) else "not finite"
            where: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "ha": "center", "va": "center"}
            axes.text(0.5, place, text, color="#555555", fontsize=6, **where)
        else:
            _draw_strip(axes, place, item[np.isfinite(item)], panel, method_style(method).colour)
    axes.set_yticks(range(len(strips)), [method_style(name).short for name in strips])
    axes.set_ylim(len(strips) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(panel.words)


def _draw_strip(axes: Axes, place: int, values: Values, panel: Panel, colour: str) -> None:
    low, first, median, third, high = np.percentile(values, (LOW, 25, 50, 75, HIGH))
    worst = values.max() if panel.worse == "right" else values.min()
    beyond = panel.heights(values[(values < low) | (values > high)])
    dots: dict[str, Any] = {"color": colour, "alpha": 0.3, "markersize": 2.6, "markeredgewidth": 0}
    # Rasterized: thousands of dots would make the svg large. Below the lines, so that a panel has one image of them.
    axes.plot(beyond, np.full(beyond.size, place), ".", rasterized=True, zorder=1.9, **dots)
    axes.plot(panel.heights((low, high)), (place, place), color=colour, linewidth=1.2)
    thick: dict[str, Any] = {"linewidth": 5, "solid_capstyle": "butt"}
    axes.plot(panel.heights((first, third)), (place, place), color=colour, **thick)
    cross: dict[str, Any] = {"markersize": 4, "markeredgewidth": 1.1, "clip_on": False}
    axes.plot(panel.heights((worst,)), place, "x", color=colour, **cross)
    middle: dict[str, Any] = {"markersize": 4, "markeredgewidth": 0.7, "markeredgecolor": colour}
    axes.plot(panel.heights((median,)), place, "o", color="white", **middle)
    edge: dict[str, Any] = {"markersize": 3.6, "markeredgewidth": 0.5, "markeredgecolor": "white"}
    axes.plot(panel.heights((values.mean(),)), place, "D", color=colour, zorder=3, **edge)


def set_axis(axes: Axes, panel: Panel, low: float, high: float, along: Literal["x", "y"] = "x") -> None:
    """Set limits around the values and ticks at powers of ten."""
    left, right = panel.heights((low, high))
    free = MARGIN * max(right - left, 1.0)
    set_limits, axis = (axes.set_xlim, axes.xaxis) if along == "x" else (axes.set_ylim, axes.yaxis)
    set_limits(left - free, right + free)
    ticks = decades(panel, low, high)
    axis.set_ticks(panel.heights(ticks).tolist(), [_tick_label(tick) for tick in ticks])


def decades(panel: Panel, low: float, high: float) -> list[float]:
    """Return powers of ten, and 0 on a "symlog" axis, from `low` to `high`: no more than have room.

    Where there are not two of them, 2 and 5 times powers of ten as well; where there are not two of these, the ends.
    """
    for mantissas in ((1,), (1, 2, 5)):
        if panel.scale == "log":
            ticks = _steps(max(low, panel.linear), high, mantissas, 2 * MOST_TICKS)
        else:
            left = _steps(max(-high, panel.linear), -low, mantissas, MOST_TICKS)
            right = _steps(max(low, panel.linear), high, mantissas, MOST_TICKS)
            ticks = [*(-size for size in reversed(left)), *([0.0] if low <= 0 <= high else []), *right]
        if len(ticks) > 1:
            return ticks
    return sorted({low, high})


def _steps(low: float, high: float, mantissas: Sequence[int], most: int) -> list[float]:
    """Return mantissas times powers of ten within [low, high], evenly thinned from the top."""
    if high < low:
        return []
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    # From text: 10.0**-3 times 5 is not 0.005.
    values = [float(f"{mantissa}e{power}") for power in powers for mantissa in mantissas]
    inside = [value for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
    return inside[:: -max(1, math.ceil(len(inside) / most))][::-1]


def _tick_label(value: float) -> str:
    if value == 0:
        return "0"
    sign = "−" if value < 0 else ""
    size = abs(value)
    return sign + (f"{size:g}" if 1e-3 <= size < 1e4 else f"$10^{{{round(math.log10(size))}}}$")


def _key() -> list[Line2D]:
    marks: list[tuple[str, dict[str, Any]]] = [
        ("quartiles", {"linewidth": 5, "solid_capstyle": "butt"}),
        ("5th to 95th percentile", {"linewidth": 1.2}),
        ("beyond", {"marker": ".", "linewidth": 0, "alpha": 0.5, "markeredgewidth": 0, "markersize": 4}),
        ("worst", {"marker": "x", "linewidth": 0, "markersize": 4, "markeredgewidth": 1.1}),
        ("median", {"marker": "o", "linewidth": 0, "markersize": 4, "markerfacecolor": "white"}),
        ("mean", {"marker": "D", "linewidth": 0, "markersize": 3.6, "markeredgecolor": "white"}),
    ]
    return [Line2D([], [], color=GREY, label=label, **look) for label, look in marks]
