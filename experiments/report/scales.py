"""Scales that hold values over many decades, and zero: heights on an axis, and its ticks."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes

from experiments.report.metrics import Values

MOST_TICKS = 4  # on either side of 0: more labels would run into each other
MARGIN = 0.04  # of an axis, free on both sides


@dataclass(frozen=True)
class Panel:
    """The name of a quantity, the label of its axis and its scale.

    Attributes:
        scale: "log", or "symlog" where a value may be 0 or below.
        linear: "log": smaller values are drawn here. "symlog": the axis is linear from minus this to this.
    """

    quantity: str
    label: str
    scale: Literal["log", "symlog"]
    linear: float

    def heights(self, values: Iterable[float]) -> Values:
        """Return where values stand on the axis: even in the logarithm, and in the value around 0."""
        array = np.asarray(list(values), dtype=np.float64)
        if self.scale == "log":
            return np.log10(np.maximum(array, self.linear))
        size = np.abs(array) / self.linear
        return np.sign(array) * np.where(size <= 1, size, 1 + np.log10(np.maximum(size, 1)))


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
