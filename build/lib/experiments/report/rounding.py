"""Spread over replicas of N0 beside that over seeds, orders and base networks: a table and a figure.

A replica (`mnist.replicas`) is N0 with each parameter at a neighbouring float or the same: another machine's rounding.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.records.schema import NON_RELOADING, PROBE, Run
from experiments.report.canvas import Picture, blank
from experiments.report.captions import describe_base, describe_scale_briefly, warnings_of
from experiments.report.frames import REPLICAS, Frames, build_frames
from experiments.report.metrics import METRICS, MISSING, Summary
from experiments.report.numbers import format_count, format_number, format_summary, listing
from experiments.report.part import Made, Study, words
from experiments.report.sheet import Block
from experiments.report.spread import SAME, Spread
from experiments.report.style import (
    DOUBLE_COLUMN,
    METHODS,
    NETWORKS,
    SETTINGS,
    method_order,
    method_style,
    network_label,
    setting_label,
)

OF_SETTING = {"reloading": ("POC", "POPA", "dTA"), NON_RELOADING: ("POC", "final_test_accuracy")}


@dataclass(frozen=True)
class Axis:
    """Over what runs of one method spread.

    Attributes:
        label: In the table.
        drawn: In the figure's legend.
        marker, colour, shift: Of its dots; the shift is from the method's line.
    """

    label: str
    drawn: str
    marker: str
    colour: str
    shift: float


AXES = {
    "replicas": Axis("replicas", "replicas of N0", "o", "#0072B2", -0.27),
    "seeds": Axis("method seeds", "method seeds", "s", "#E69F00", -0.09),
    "orders": Axis("orders", "orders", "D", "#009E73", 0.09),
    "networks": Axis("base networks", "base networks", "^", "#CC79A7", 0.27),
}
OTHERS = tuple(AXES)[1:]
DRAWN = "mlp"  # the network that has orders and other base networks beside replicas
FIRST = "first"  # in the place of a metric: the first sample that differs
PANELS = (
    ("reloading", "POC", "POC (%), one correction at a time"),
    (NON_RELOADING, "POC", "POC (%), one after the other"),
    (NON_RELOADING, "final_test_accuracy", "test accuracy at the end, one after the other"),
    (NON_RELOADING, FIRST, "first sample that differs, one after the other"),
)
HEADER = (
    *("method", "measure", "replicas", "mean ± sd over replicas", "least to largest"),
    *(f"sd over {AXES[axis].label}" for axis in OTHERS),
)

Key = tuple[str, str, str]  # network, setting, method


@dataclass(frozen=True)
class Rounding(Study):
    """The table and the figure.

    Attributes:
        presets: With runs from N0 and its replicas, and with runs over seeds, orders and base networks of the same
            methods.
    """

    presets: tuple[str, ...] = (*REPLICAS, "rounding_beyond", "every_method", "orders", "base_networks")
    tables = ("rounding",)
    figures = ("rounding",)

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the table and the figure."""
        frames = _comparable([run for run in runs if PROBE not in run.header.spec])
        groups = {key: Spread(part, OF_SETTING[key[1]]) for key, part in _groups(frames)}
        about = self._about(frames)
        yield self.sheet(
            [*about],
            warnings_of(frames.runs.assign(base_id=""), "network", NETWORKS),
            list(_blocks(groups))
            or [Block("", ["method", "runs"], [[MISSING, "no replica is among the records"]])],
            [record for key, each in groups.items() for record in _records(key, each)],
            same=SAME,
        )
        yield Picture("rounding", lambda figure: [*draw_spread(figure, groups), *about])

    def _about(self, frames: Frames) -> list[str]:
        """Say how large the runs from replicas are, by network."""
        texts = []
        for network, label in NETWORKS.items():
            runs = frames.select(network=network).runs
            runs = runs[runs["replica"] > 0]
            if runs.empty:
                texts.append(f"{label}: missing, no replica is among the records.")
            else:
                base = describe_base(runs, self.thesis.errors_of(network))
                texts.append(f"{label}: {base} Replicas: {describe_scale_briefly(runs)}.")
        return texts


def _comparable(runs: Sequence[Run]) -> Frames:
    """Build the frames of what can be set beside each other: replicas, and other runs of the same scale.

    The same run may be of two presets at two scales: from N0 itself, that at the scale of the replicas is taken.
    """
    sizes = {_group(run): _scale(run) for run in runs if run.header.spec.get("replica")}
    return build_frames([run for run in runs if sizes.get(_group(run)) == _scale(run)])


def _scale(run: Run) -> tuple[object, ...]:
    """Say how large a run is; another base network has other samples, and all of them are all of them."""
    header = run.header
    every = header.samples == header.base["errors"]
    return "all" if every else header.samples, header.train_images, header.test_images


def _group(run: Run) -> Key:
    spec = run.header.spec
    return spec["network"]["name"], spec["setting"]["name"], spec["method"]["name"]


def _groups(frames: Frames) -> Iterator[tuple[Key, Frames]]:
    for network in NETWORKS:
        for setting in SETTINGS:
            part = frames.select(network=network, setting=setting)
            for method in method_order(part.runs["method"]):
                yield (network, setting, method), part.select(method=method)


def _blocks(groups: Mapping[Key, Spread]) -> Iterator[Block]:
    """Yield two blocks for each network and setting."""
    for network in NETWORKS:
        for setting in SETTINGS:
            own = {key: each for key, each in groups.items() if key[:2] == (network, setting)}
            if own:
                place = f"{network_label(network)}, {setting_label(setting)} setting"
                yield Block(
                    f"{place}.", HEADER, [line for key, each in own.items() for line in _lines(key, each)]
                )
                title = f"{place}: where the runs part from the one from N0 itself."
                yield Block(
                    title, words("rounding")["partings"], [_parts(key, each) for key, each in own.items()]
                )


def _lines(key: Key, spread: Spread) -> Iterator[list[str]]:
    """Yield a line for each metric."""
    for name in OF_SETTING[key[1]]:
        values = spread.finite("replicas", name)
        ends = f"{format_number(values.min())} to {format_number(values.max())}" if values.size else MISSING
        yield [
            *(method_style(key[2]).label, METRICS[name].label, format_count(len(spread.rows["replicas"]))),
            *(format_summary(spread.summary("replicas", name)), ends),
            *(_sd(spread.summary(axis, name)) for axis in OTHERS),
        ]


def _parts(key: Key, spread: Spread) -> list[str]:
    partings = spread.partings()
    label, count = method_style(key[2]).label, format_count(len(partings))
    if not partings:
        return [label, MISSING, count, *[MISSING] * 4]
    same = 100 * sum(part.same for part in partings) / max(1, sum(part.samples for part in partings))
    places = sorted(part.first for part in partings if part.first is not None)
    first = [str(places[0]), format_number(float(np.median(places)))] if places else ["never", "never"]
    words = "never" if not places else listing([str(place) for place in places])
    return [label, words, count, format_number(round(same, 2)), *first, str(len(partings) - len(places))]


def _sd(summary: Summary) -> str:
    return "" if summary.sd is None else f"{format_number(summary.sd)} ({summary.n})"


def _records(key: Key, spread: Spread) -> Iterator[tuple[object, ...]]:
    for name in OF_SETTING[key[1]]:
        for axis in AXES:
            summary, values = spread.summary(axis, name), spread.finite(axis, name)
            ends = (float(values.min()), float(values.max())) if values.size else (None, None)
            yield (*key, name, axis, summary.told, summary.sd, *ends, summary.n)
    for number, part in enumerate(spread.partings(), 1):
        share = part.same / part.samples if part.samples else None
        for name, value in (("same_corrections", share), ("first_to_differ", part.first)):
            yield (*key, name, f"replica {number}", value, None, None, None, part.samples)


def draw_spread(figure: Figure, groups: Mapping[Key, Spread]) -> list[str]:
    """Draw a panel per metric, a line per method of the thesis, a dot per run; return notes."""
    figure.set_size_inches(DOUBLE_COLUMN, 5.2)
    methods = [name for name in METHODS if (DRAWN, NON_RELOADING, name) in groups]
    for place, (axes, (setting, metric, title)) in enumerate(
        zip(figure.subplots(2, 2).flat, PANELS, strict=True)
    ):
        axes.set_title(title)
        if not methods:
            blank(axes, "missing:\nno replica of the MLP\nis among the records")
            continue
        for line, method in enumerate(methods):
            if (DRAWN, setting, method) in groups:
                _draw_method(axes, line, groups[DRAWN, setting, method], metric)
        if metric == FIRST:
            axes.set_xlim(left=0)
        axes.set_yticks(range(len(methods)), [method_style(name).short for name in methods])
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
        axes.tick_params(axis="y", length=0, labelleft=place % 2 == 0)
    if methods:
        key = [
            Line2D([], [], color=axis.colour, marker=axis.marker, linewidth=0, markersize=4, label=axis.drawn)
            for axis in AXES.values()
        ]
        figure.legend(handles=key, loc="outside upper center", ncols=len(key), frameon=False)
    return [words("rounding")["figure"]]


def _draw_method(axes: Axes, place: int, spread: Spread, metric: str) -> None:
    for name, axis in AXES.items():
        if metric == FIRST:
            values = spread.firsts() if name == "replicas" else np.empty(0)
        else:
            values = spread.values[name, metric]
        if values.size < 2 and name != "replicas":
            continue  # the run of seed 0, order 0 and N0 itself alone
        dots: dict[str, Any] = {"color": axis.colour, "markersize": 3.2, "alpha": 0.75, "markeredgewidth": 0}
        axes.plot(values, np.full(values.size, place + axis.shift), axis.marker, linewidth=0, **dots)
