"""Spread over replicas of N0 beside that over seeds, orders and base networks: a table and a figure.

A replica (`mnist.replicas`) is N0 with each parameter at a neighbouring float or the same: another machine's rounding.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.records.schema import NON_RELOADING, PROBE, Run, subject
from experiments.report.canvas import Picture, blank, dots, legend_above
from experiments.report.captions import describe_base, describe_scale_briefly, warnings_of
from experiments.report.frames import DRAWS, REPLICA, SAME, Frames, build_frames
from experiments.report.metrics import METRICS, MISSING, Summary, measure, summarize
from experiments.report.numbers import format_count, format_number, format_summary, listing
from experiments.report.part import Made, Study, words
from experiments.report.sheet import Block
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
from experiments.report.variation import SEED

OF_SETTING = {"reloading": ("POC", "POPA", "dTA"), NON_RELOADING: ("POC", "final_test_accuracy")}


@dataclass(frozen=True)
class Axis:
    """Over what runs of one method spread: the name in the legend, and its dots, `shift` from the method's line."""

    label: str
    marker: str
    colour: str
    shift: float


AXES = {
    "replicas": Axis("replicas of N0", "o", "#0072B2", -0.27),
    "seeds": Axis("method seeds", "s", "#E69F00", -0.09),
    "orders": Axis("orders", "D", "#009E73", 0.09),
    "networks": Axis("base networks", "^", "#CC79A7", 0.27),
}
OTHERS = tuple(AXES)[1:]
DRAWN = "mlp"  # the network that has every axis
FIRST = "first"  # in the place of a metric: the first sample that differs
PANELS = (
    ("reloading", "POC", "POC (%), one correction at a time"),
    (NON_RELOADING, "POC", "POC (%), one after the other"),
    (NON_RELOADING, "final_test_accuracy", "test accuracy at the end, one after the other"),
    (NON_RELOADING, FIRST, "first sample that differs, one after the other"),
)

Key = tuple[str, str, str]  # network, setting, method


@dataclass(frozen=True)
class Parting:
    """Where runs of one method and seed from N0 and from a replica go different ways.

    Attributes:
        first: Place of the first sample, from 0, whose correction differs; None where none does.
        same: How many samples have the same correction.
        samples: How many samples both runs have.
    """

    first: int | None
    same: int
    samples: int


def parting(ours: pd.DataFrame, theirs: pd.DataFrame) -> Parting:
    """Compare the rows of two runs, sample by sample.

    Two corrections are the same where outcome, number of parameters and passes are equal and the L2 norms of the
    changes agree to `SAME`: another parameter has another gradient, so another subset shows in the norm.
    """
    columns = ["outcome", "altered", "steps", "forward_passes", "l2"]
    both = ours[["index", "position", *columns]].merge(
        theirs[["index", *columns]], on="index", suffixes=("", "_theirs")
    )
    same = np.isclose(both["l2"], both["l2_theirs"], rtol=SAME, atol=0)
    for name in columns[:-1]:
        same &= (both[name] == both[f"{name}_theirs"]).to_numpy()
    apart = both.loc[~same, "position"]
    return Parting(int(apart.min()) if len(apart) else None, int(same.sum()), len(both))


class Spread:
    """A method's runs along each axis in which they differ from the one of seed 0, order 0 and N0 itself.

    Attributes:
        rows: The samples of each run along an axis; `first` is that one run.
        values: By axis and metric, its mean in each run, NaN where a run has none.
    """

    def __init__(self, frames: Frames, metrics: Sequence[str]) -> None:
        runs, by_run = frames.runs, dict(iter(frames.samples.groupby("run_id")))
        at_first = pd.DataFrame(
            {
                "replicas": runs["replica"] == 0,
                "seeds": runs["seed"] % REPLICA == SEED,
                "orders": runs["order"] == 0,
                "networks": runs["network_seed"] == 0,
            }
        )
        along = {axis: at_first.drop(columns=axis).all(axis=1) for axis in at_first}
        along |= {"first": at_first.all(axis=1), "replicas": along["replicas"] & ~at_first["replicas"]}
        self.rows = {axis: [by_run[each] for each in runs.loc[own, "run_id"]] for axis, own in along.items()}
        self.values = {
            (axis, metric): np.array([_mean(rows, metric) for rows in self.rows[axis]], dtype=np.float64)
            for axis in self.rows
            for metric in metrics
        }

    def summary(self, axis: str, metric: str) -> Summary:
        """Summarize a metric over the runs along an axis."""
        return summarize(self.values[axis, metric], axis, otherwise=MISSING)

    def partings(self) -> list[Parting]:
        """Say of each replica where it parts from N0 itself; empty where no run of N0 itself is there."""
        return [parting(first, rows) for first in self.rows["first"] for rows in self.rows["replicas"]]


def _mean(rows: pd.DataFrame, metric: str) -> float:
    """Return a metric's mean in a run, without the last digits that the order of a sum leaves behind."""
    mean = measure(rows, METRICS[metric]).mean
    return np.nan if mean is None else round(mean, 12)


@dataclass(frozen=True)
class Rounding(Study):
    """The table and the figure: runs from N0 and its replicas, and over seeds, orders and base networks."""

    presets: tuple[str, ...] = (*DRAWS, "rounding_beyond", "every_method", "base_networks")
    tables = ("rounding",)
    figures = ("rounding",)

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the table and the figure."""
        frames = _comparable([run for run in runs if PROBE not in run.header.spec])
        groups = {key: Spread(part, OF_SETTING[key[1]]) for key, part in _groups(frames)}
        about = self._about(frames)
        yield self.sheet(
            about,
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
    of_runs = [(run, subject(run.header.spec)) for run in runs]
    sizes = {of: _scale(run) for run, of in of_runs if run.header.spec.get("replica")}
    return build_frames([run for run, of in of_runs if sizes.get(of) == _scale(run)])


def _scale(run: Run) -> tuple[object, ...]:
    """Say how large a run is; another base network has other samples, and all of them are all of them."""
    header = run.header
    every = header.samples == header.base["errors"]
    return "all" if every else header.samples, header.train_images, header.train_part, header.test_images


def _groups(frames: Frames) -> Iterator[tuple[Key, Frames]]:
    for network, setting in product(NETWORKS, SETTINGS):
        part = frames.select(network=network, setting=setting)
        for method in method_order(part.runs["method"]):
            yield (network, setting, method), part.select(method=method)


def _blocks(groups: Mapping[Key, Spread]) -> Iterator[Block]:
    """Yield two blocks for each network and setting."""
    for (network, setting), keys in groupby(groups, key=lambda key: key[:2]):
        own = {key: groups[key] for key in keys}
        place = f"{network_label(network)}, {setting_label(setting)} setting"
        lines = [line for key, each in own.items() for line in _lines(key, each)]
        yield Block(f"{place}.", words("rounding")["header"], lines)
        title = f"{place}: where the runs part from the one from N0 itself."
        yield Block(title, words("rounding")["partings"], [_parts(key, each) for key, each in own.items()])


def _lines(key: Key, spread: Spread) -> Iterator[list[str]]:
    """Yield a line for each metric."""
    for name in OF_SETTING[key[1]]:
        own = spread.summary("replicas", name)
        ends = " to ".join(format_number(end) for end in (own.low, own.high) if end is not None) or MISSING
        yield [
            *(method_style(key[2]).label, METRICS[name].label, format_count(len(spread.rows["replicas"]))),
            *(format_summary(own), ends),
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
    each = listing([str(place) for place in places]) if places else "never"
    return [label, each, count, format_number(round(same, 2)), *first, str(len(partings) - len(places))]


def _sd(summary: Summary) -> str:
    return "" if summary.sd is None else f"{format_number(summary.sd)} ({summary.n})"


def _records(key: Key, spread: Spread) -> Iterator[tuple[object, ...]]:
    for name, axis in product(OF_SETTING[key[1]], AXES):
        one = spread.summary(axis, name)
        yield (*key, name, axis, one.told, one.sd, one.low, one.high, one.n)
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
        legend_above(figure, [dots(axis.marker, axis.label, axis.colour) for axis in AXES.values()])
    return [words("rounding")["figure"]]


def _draw_method(axes: Axes, place: int, spread: Spread, metric: str) -> None:
    for name, axis in AXES.items():
        if metric == FIRST:
            firsts = [part.first for part in spread.partings() if part.first is not None]
            values = np.array(firsts if name == "replicas" else [], dtype=np.float64)
        else:
            values = spread.values[name, metric]
        if values.size < 2 and name != "replicas":
            continue  # the run of seed 0, order 0 and N0 itself alone
        look: dict[str, Any] = {"color": axis.colour, "markersize": 3.2, "alpha": 0.75, "markeredgewidth": 0}
        axes.plot(values, np.full(values.size, place + axis.shift), axis.marker, linewidth=0, **look)
