"""A dot for each run: replicas of N0 beside method seeds, orders and base networks."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.records.schema import NON_RELOADING
from experiments.report.canvas import blank
from experiments.report.metrics import Values
from experiments.report.style import DOUBLE_COLUMN, METHODS, method_style

NETWORK = "mlp"  # which has orders and other base networks beside replicas
# Axis of a run: marker, shade and shift of its dots from the method's line.
LOOKS: Mapping[str, tuple[str, str, float]] = {
    "replicas": ("o", "#0072B2", -0.27),
    "seeds": ("s", "#E69F00", -0.09),
    "orders": ("D", "#009E73", 0.09),
    "networks": ("^", "#CC79A7", 0.27),
}
NAMES = {
    "replicas": "replicas of N0",
    "seeds": "method seeds",
    "orders": "orders",
    "networks": "base networks",
}
PANELS = (
    ("reloading", "POC", "POC (%), one correction at a time"),
    (NON_RELOADING, "POC", "POC (%), one after the other"),
    (NON_RELOADING, "final_test_accuracy", "test accuracy at the end, one after the other"),
    (NON_RELOADING, "first", "first sample that differs, one after the other"),
)


class Spread(Protocol):
    """The runs of a method, along each axis."""

    def values(self, axis: str, metric: str) -> Values:
        """Give a metric's value in each run along an axis."""
        ...

    def firsts(self) -> Values:
        """Give, for each replica that differs, the place of the first sample whose correction does."""
        ...


def draw_spread(figure: Figure, groups: Mapping[tuple[str, str, str], Spread]) -> list[str]:
    """Draw a panel per metric, a line per method of the thesis; return notes.

    Args:
        figure: Empty.
        groups: By network, setting and method.
    """
    figure.set_size_inches(DOUBLE_COLUMN, 5.2)
    panels = figure.subplots(2, 2)
    methods = [name for name in METHODS if (NETWORK, NON_RELOADING, name) in groups]
    for place, (axes, (setting, metric, title)) in enumerate(zip(panels.flat, PANELS, strict=True)):
        axes.set_title(title)
        if not methods:
            blank(axes, "missing:\nno replica of the MLP\nis among the records")
            continue
        for line, method in enumerate(methods):
            if (NETWORK, setting, method) in groups:
                _draw_method(axes, line, groups[NETWORK, setting, method], metric)
        if metric == "first":
            axes.set_xlim(left=0)
        axes.set_yticks(range(len(methods)), [method_style(name).short for name in methods])
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
        axes.tick_params(axis="y", length=0, labelleft=place % 2 == 0)
    look: dict[str, Any] = {"loc": "outside upper center", "ncols": len(LOOKS), "frameon": False}
    if methods:
        figure.legend(handles=_key(), **look)
    return [
        "MLP. A dot is a run; its colour says over what the runs of a row spread. A method without a dot in the last"
        " panel makes the same corrections from every replica."
    ]


def _draw_method(axes: Axes, place: int, group: Spread, metric: str) -> None:
    for axis, (marker, colour, shift) in LOOKS.items():
        if metric == "first":
            values = group.firsts() if axis == "replicas" else np.empty(0)
        else:
            values = group.values(axis, metric)
        if values.size < 2 and axis != "replicas":
            continue  # the run of seed 0, order 0 and N0 itself alone
        dots: dict[str, Any] = {"color": colour, "markersize": 3.2, "alpha": 0.75, "markeredgewidth": 0}
        axes.plot(values, np.full(values.size, place + shift), marker, linewidth=0, **dots)


def _key() -> list[Line2D]:
    return [
        Line2D([], [], color=colour, marker=marker, linewidth=0, markersize=4, label=NAMES[axis])
        for axis, (marker, colour, _) in LOOKS.items()
    ]
