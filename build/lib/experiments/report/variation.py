"""What other orders of the samples do to the results: a figure and a table; and what it shares with other N0."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.records.schema import PROBE, Run
from experiments.report.canvas import blank, draw
from experiments.report.captions import describe_base, describe_scale, warnings
from experiments.report.curves import LABELS, Curve, curve
from experiments.report.frames import REPLICAS, Frames, build_frames, draws
from experiments.report.knowledge import Knowledge, describe_knowledge
from experiments.report.metrics import (
    METRICS,
    MISSING,
    NOT_FINITE,
    Summary,
    Values,
    label_of,
    measure,
    summarize,
)
from experiments.report.numbers import format_count, format_number, format_printed, format_summary, listing
from experiments.report.sheet import Block, Sheet, sheet_names
from experiments.report.style import DOUBLE_COLUMN, method_style, network_label, setting_label
from experiments.report.tables import read_reference

SEED = 0  # of the method, where only one is looked at
ORDER_METRICS = (
    "POC",
    "early_test_accuracy",
    "final_test_accuracy",
    "final_training_loss",
    "retained",
)
NON_RELOADING = ("bgd_ii", "bgd_c", "bgd_i", "retrain", "fine_tune", "top_k", "l1")

Printed = tuple[float, float | None]


def pick(frames: Frames, **values: Sequence[object]) -> Frames:
    """Return the part whose columns have one of these values, for example `order=(0, 1)`."""
    for name, wanted in values.items():
        frames = Frames(
            *(
                frame[frame[name].isin(list(wanted))].reset_index(drop=True)
                for frame in (frames.samples, frames.runs)
            )
        )
    return frames


def corrections_of(runs: Sequence[Run], **values: Sequence[object]) -> Frames:
    """Return the frames of those runs that correct something and have one of these values in each column."""
    return pick(build_frames([run for run in runs if PROBE not in run.header.spec]), **values)


def by_run(frames: Frames, method: str, metric: str, axis: str) -> dict[int, Summary]:
    """Return a metric for each value of a column that tells a method's runs apart; absent where no run is."""
    own = pick(frames, method=(method,))
    return {
        int(value): measure(own.samples[own.samples[axis] == value], METRICS[metric])
        for value in sorted(own.runs[axis])
    }


def means(found: dict[int, Summary]) -> Values:
    """Return the means that there are; NaN where one is not finite."""
    known = [item for item in found.values() if item.mean is not None or item.note == NOT_FINITE]
    return np.array([np.nan if item.mean is None else item.mean for item in known], dtype=np.float64)


def across(found: dict[int, Summary], over: str) -> Summary:
    """Return mean and sample standard deviation of the means of runs."""
    if not found:
        return Summary(None, None, 0, over, note=MISSING)
    return summarize(means(found), over, otherwise=next(iter(found.values())).note)


def printed(
    reference: pd.DataFrame | Path, tables: Sequence[str], network: str
) -> dict[tuple[str, str], Printed]:
    """Return the thesis' values by metric and method, from the first of the tables that has them."""
    values = read_reference(reference) if isinstance(reference, Path) else reference
    found: dict[tuple[str, str], Printed] = {}
    for table in tables:
        part = values[(values["table"] == table) & (values["network"] == network)]
        columns = (part[name] for name in ("metric", "method", "mean", "sd"))
        for metric, method, mean, sd in zip(*columns, strict=True):
            found.setdefault((metric, method), (float(mean), None if pd.isna(sd) else float(sd)))
    return found


def gaps(frames: Frames, methods: Sequence[str], axis: str, expected: Sequence[int], name: str) -> str:
    """Return which runs are missing, in words; empty where none is."""
    absent = []
    for method in methods:
        own = set(frames.runs.loc[frames.runs["method"] == method, axis])
        lacking = [str(value) for value in expected if value not in own]
        if lacking:
            which = f"{name} {listing(lacking)}" if own else f"any {name}"
            absent.append(f"{method_style(method).label} for {which}")
    return f"Missing, no run among the records: {'; '.join(absent)}." if absent else ""


def left_out(summaries: dict[tuple[str, str], dict[int, Summary]], of: str) -> str:
    """Return how many values were not finite, by metric and method; empty where all are."""
    counts = []
    for (metric, method), found in summaries.items():
        count = sum(item.left_out for item in found.values())
        if count:
            counts.append(f"{METRICS[metric].label} of {method_style(method).label}: {format_count(count)}")
    return f"{of} left out because a loss is not finite: {'; '.join(counts)}." if counts else ""


@dataclass(frozen=True)
class Orders:
    """Curves of the non-reloading setting over several orders of the samples, and a table of their ends.

    Attributes:
        reference: The values of the thesis: a file for `experiments.report.tables.read_reference`, or what it returns.
        presets: Whose runs.
        network, methods: Which of them.
        orders: Those that the preset asks for; a run with another one is not looked at.
        table: Of the thesis, that prints POC.
        thesis_errors: How many test images the thesis' N0 gets wrong.
        knowledge: The level of each method, for the caption.
    """

    reference: pd.DataFrame | Path
    presets: tuple[str, ...] = ("orders", *REPLICAS)
    network: str = "mlp"
    methods: tuple[str, ...] = NON_RELOADING
    orders: tuple[int, ...] = (0, 1, 2, 3, 4)
    table: str = "4.8"
    thesis_errors: int | None = None
    knowledge: Knowledge = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The files of the part."""
        return (*sheet_names("orders"), "figures/orders.png", "figures/orders.svg")

    def files(self, runs: Sequence[Run]) -> dict[str, bytes]:
        """Return the content of each file; see `experiments.report.part.Part`."""
        about: dict[str, Sequence[object]] = {"network": (self.network,), "setting": ("non_reloading",)}
        frames = corrections_of(
            runs, **about, method=self.methods, order=self.orders, seed=(SEED,), network_seed=(0,)
        )
        nudged = corrections_of(draws(runs), **about, method=self.methods, order=(0,), network_seed=(0,))
        nudged = Frames(*(frame[frame["replica"] > 0] for frame in (nudged.samples, nudged.runs)))
        images = draw(lambda figure: self._paint(figure, frames))
        return {
            **self._sheet(frames, nudged).files(),
            **{f"figures/orders.{kind}": image for kind, image in images.items()},
        }

    def _about(self, frames: Frames) -> str:
        place = f"{network_label(self.network)}, {setting_label('non_reloading')} setting"
        if frames.runs.empty:
            return f"{place}: missing, no run of the orders is among the records."
        found = sorted(set(frames.runs["order"]))
        which = f"{len(found)} order{'s' if len(found) > 1 else ''} of the samples ({listing(list(map(str, found)))})"
        base = describe_base(frames.runs, self.thesis_errors)
        missing = gaps(frames, self.methods, "order", self.orders, "order")
        return " ".join(
            text for text in (f"{place}, {which}.", base, describe_scale(frames.runs), missing) if text
        )

    def _paint(self, figure: Figure, frames: Frames) -> list[str]:
        figure.set_size_inches(DOUBLE_COLUMN, 2.9)
        found = {name: part for name in self.methods if len(part := pick(frames, method=(name,)).samples)}
        notes = []
        for axes, measured, letter in zip(figure.subplots(1, len(LABELS)), LABELS, "abc", strict=True):
            axes.set_title(f"({letter}) {LABELS[measured]}")
            if not found:
                blank(axes, "missing:\nno run of the orders\namong the records")
                continue
            # A curve's band is over the values of `seed`: here it is over the orders.
            curves = {name: curve(part.assign(seed=part["order"]), measured) for name, part in found.items()}
            _draw_curves(axes, curves, log=measured == "train_loss")
            notes += [
                f"Not finite and not drawn: {method_style(name).short}, {LABELS[measured]}, {item.not_finite:,} values."
                for name, item in curves.items()
                if item.not_finite
            ]
        if found:
            look: dict[str, Any] = {"loc": "outside upper center", "ncols": len(found), "frameon": False}
            figure.legend(handles=[_handle(name) for name in found], columnspacing=1.2, **look)
        meaning = (
            "Line: mean over the orders; band: smallest to largest. At 0: N0. Order 0: that of the test set."
        )
        return [meaning, self._about(frames), *notes, *warnings(frames.runs)]

    def _sheet(self, frames: Frames, nudged: Frames) -> Sheet:
        rounding = {
            method: across(by_run(nudged, method, "POC", "replica"), "replicas") for method in self.methods
        }
        found = {
            (metric, method): by_run(frames, method, metric, "order")
            for metric in ORDER_METRICS
            for method in self.methods
        }
        thesis = printed(self.reference, (self.table,), self.network)
        header = ["method", "orders", "POC (%)", "POC, sd over replicas", "order 0", f"thesis ({self.table})"]
        header += [label_of(METRICS[name], frames.samples) for name in ORDER_METRICS[1:]]
        caption = (
            f"How the order of the samples changes what accumulates. {self._about(frames)} Order 0 is that of the test"
            " set, the thesis' kind; the others are permutations of N0's misclassified samples, and where a run does"
            " not meet all of them another choice too. Mean ± sample standard deviation"
            ' (ddof = 1) over orders, one seed; no ± stands where there is one value. "order 0": the POC of that order'
            " alone. Retained: share of the samples that the last network gets right. The csv has the smallest and the"
            " largest value. Beside the ± of POC stands its standard deviation over replicas of N0, which is rounding's"
            f" alone (table `rounding`). The thesis does not say what its ± is over."
        )
        more = (describe_knowledge(self.methods, self.knowledge), left_out(found, "Orders"))
        return Sheet(
            name="orders",
            heading="Orders of the samples",
            caption=" ".join(filter(None, (caption, *more))),
            warnings=warnings(frames.runs),
            blocks=[
                Block(
                    "",
                    header,
                    [
                        _order_line(found, name, thesis.get(("POC", name)), rounding[name])
                        for name in self.methods
                    ],
                )
            ],
            columns=(*("method", "metric", "mean", "sd", "min", "max", "n", "left_out"), "order_0", *THESIS),
            records=[
                _order_record(metric, method, found[metric, method], thesis.get((metric, method)))
                for method in self.methods
                for metric in ORDER_METRICS
            ],
        )


THESIS = ("thesis_mean", "thesis_sd")


def _order_line(
    found: dict[tuple[str, str], dict[int, Summary]], method: str, thesis: Printed | None, rounding: Summary
) -> list[str]:
    cells = [format_summary(across(found[metric, method], "orders")) for metric in ORDER_METRICS]
    own = found["POC", method]
    first = format_summary(own[0]) if 0 in own else MISSING
    label, theirs = method_style(method).label, "" if thesis is None else format_printed(*thesis)
    spread = "one replica" if rounding.n else MISSING
    if rounding.sd is not None:
        spread = f"{format_number(rounding.sd)} ({rounding.n})"
    return [label, str(len(own)), cells[0], spread, first, theirs, *cells[1:]]


def _order_record(
    metric: str, method: str, found: dict[int, Summary], thesis: Printed | None
) -> tuple[object, ...]:
    summary, values = across(found, "orders"), means(found)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (None, None)
    first = found[0].mean if 0 in found else None
    mean = summary.note if summary.mean is None else summary.mean
    counts = (summary.n, summary.left_out)
    return (method, metric, mean, summary.sd, low, high, *counts, first, *(thesis or (None, None)))


def _handle(method: str) -> Line2D:
    style = method_style(method)
    return Line2D([], [], color=style.colour, linestyle=style.line, linewidth=1.4, label=style.short)


def _draw_curves(axes: Axes, curves: dict[str, Curve], log: bool) -> None:
    """Draw a panel: a mean line and a band per method; bands rasterized, for a small svg."""
    if log:
        axes.set_yscale("log")
    for method, item in curves.items():
        style, places = method_style(method), np.arange(item.mean.size)
        if item.seeds > 1:
            band: dict[str, Any] = {"color": style.colour, "alpha": 0.15, "linewidth": 0, "rasterized": True}
            axes.fill_between(places, item.low, item.high, **band)
        axes.plot(places, item.mean, color=style.colour, linestyle=style.line)
    axes.set_xlabel("misclassified samples met so far")
    axes.set_xlim(0, max(1, *(item.mean.size - 1 for item in curves.values())))
