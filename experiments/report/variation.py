"""What other orders of the samples, and other N0, do to the results: a table each, and a figure of the orders."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

import numpy as np
from matplotlib.figure import Figure

from experiments.records.schema import Run
from experiments.report import captions
from experiments.report.canvas import Picture, blank, grid
from experiments.report.curves import LABELS, curve, draw_legend, draw_lines, longest
from experiments.report.frames import REPLICAS, Frames, corrections_of
from experiments.report.knowledge import describe_knowledge
from experiments.report.metrics import (
    METRICS,
    MISSING,
    NOT_FINITE,
    Summary,
    label_of,
    measure,
    summarize,
)
from experiments.report.numbers import (
    counted,
    format_count,
    format_number,
    format_printed,
    format_summary,
    listing,
)
from experiments.report.part import Made, Study, words
from experiments.report.sheet import Block, Sheet
from experiments.report.style import DOUBLE_COLUMN, method_style, network_label, setting_label
from experiments.report.tables import NOT_PRINTED, printed

SEED = 0  # of the method, where only one is looked at
ORDER_METRICS = ("POC", "early_test_accuracy", "final_test_accuracy", "final_training_loss", "retained")
BASE_METRICS = ("POC", "POPA", "dTL", "dTA")
NON_RELOADING = ("bgd_ii", "bgd_c", "bgd_i", "retrain", "fine_tune", "top_k", "l1")
EVERY_METHOD = (*NON_RELOADING, "bgd_norm", "random")

Found = dict[tuple[str, str], dict[int, Summary]]  # by metric and method, by the value that tells runs apart


def by_run(frames: Frames, methods: Sequence[str], metrics: Sequence[str], axis: str) -> Found:
    """Return metrics of methods for each value of a column that tells runs apart; absent where no run is."""
    found: Found = {(metric, method): {} for metric in metrics for method in methods}
    for metric, method in found:
        own = frames.select(method=method)
        for value in sorted(map(int, own.runs[axis])):
            found[metric, method][value] = measure(own.select(**{axis: value}).samples, METRICS[metric])
    return found


def across(found: Mapping[int, Summary], over: str) -> Summary:
    """Summarize the means of runs; one that is not finite is left out."""
    known = [item.mean for item in found.values() if item.mean is not None or item.note == NOT_FINITE]
    otherwise = next((item.note for item in found.values()), MISSING)
    return summarize(np.array(known, dtype=np.float64), over, otherwise)


def gaps(frames: Frames, methods: Sequence[str], axis: str, expected: Sequence[int], name: str) -> str:
    """Return which runs are missing, in words; empty where none is."""
    lacks = []
    for method in methods:
        own = set(frames.runs.loc[frames.runs["method"] == method, axis])
        lacking = [str(value) for value in expected if value not in own]
        if lacking:
            which = f"{name} {listing(lacking)}" if own else f"any {name}"
            lacks.append(f"{method_style(method).label} for {which}")
    return f"Missing, no run among the records: {'; '.join(lacks)}." if lacks else ""


def left_out(found: Found, of: str) -> str:
    """Return how many values were not finite, by metric and method; empty where all are."""
    counts = (
        (METRICS[metric].label, method, sum(item.left_out for item in own.values()))
        for (metric, method), own in found.items()
    )
    return captions.describe_left_out(counts, of)


@dataclass(frozen=True)
class Orders(Study):
    """Curves of the non-reloading setting over several orders of the samples, and a table of their ends.

    A run with another order than `orders` is not looked at; `table` is the one of the thesis that prints POC.
    """

    presets: tuple[str, ...] = ("orders", *REPLICAS)
    networks: tuple[str, ...] = ("mlp",)
    methods: tuple[str, ...] = NON_RELOADING
    orders: tuple[int, ...] = (0, 1, 2, 3, 4)
    table: str = "4.8"
    tables = ("orders",)
    figures = ("orders",)

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the table and the figure."""
        every = corrections_of(runs, network=self.network, setting="non_reloading", network_seed=0)
        every = every.select(method=self.methods)
        frames, nudged = every.select(order=self.orders, seed=SEED), every.select(order=0)
        nudged = Frames(*(frame[frame["replica"] > 0] for frame in (nudged.samples, nudged.runs)))
        yield self._sheet(frames, by_run(nudged, self.methods, ("POC",), "replica"))
        yield Picture("orders", lambda figure: self._paint(figure, frames))

    def _about(self, frames: Frames) -> str:
        place = f"{network_label(self.network)}, {setting_label('non_reloading')} setting"
        if frames.runs.empty:
            return f"{place}: missing, no run of the orders is among the records."
        found = sorted(set(frames.runs["order"]))
        which = f"{counted(len(found), 'order')} of the samples ({listing(list(map(str, found)))})"
        base = captions.describe_base(frames.runs, self.thesis.errors_of(self.network))
        missing = gaps(frames, self.methods, "order", self.orders, "order")
        said = (f"{place}, {which}.", base, captions.describe_scale(frames.runs), missing)
        return " ".join(filter(None, said))

    def _paint(self, figure: Figure, frames: Frames) -> list[str]:
        found = {name: part for name in self.methods if len(part := frames.select(method=name).samples)}
        notes = []
        for letter, axes, _, measured in grid(figure, (DOUBLE_COLUMN, 2.9), ("",), tuple(LABELS)):
            label = LABELS[measured]
            axes.set_title(f"{letter} {label}")
            if not found:
                blank(axes, "missing:\nno run of the orders\namong the records")
                continue
            # A curve's band is over the values of `seed`: here it is over the orders.
            curves = {name: curve(part.assign(seed=part["order"]), measured) for name, part in found.items()}
            if measured == "train_loss":
                axes.set_yscale("log")
            draw_lines(axes, curves, longest(curves))
            notes += [
                f"Not finite and not drawn: {method_style(method).short}, {label}, {item.not_finite:,} values."
                for method, item in curves.items()
                if item.not_finite
            ]
        draw_legend(figure, found, columnspacing=1.2)
        return [words("orders")["figure"], self._about(frames), *notes, *captions.warnings(frames.runs)]

    def _sheet(self, frames: Frames, nudged: Found) -> Sheet:
        found = by_run(frames, self.methods, ORDER_METRICS, "order")
        thesis = printed(self.thesis.tables, self.table)
        lines, records = [], []
        for method in self.methods:
            every = {name: across(found[name, method], "orders") for name in ORDER_METRICS}
            own, (poc, *cells) = found["POC", method], map(format_summary, every.values())
            first = format_summary(own[0]) if 0 in own else MISSING
            spread = _spread(across(nudged["POC", method], "replicas"))
            theirs = format_printed(*thesis.get(("POC", method), NOT_PRINTED))
            lines.append([method_style(method).label, str(len(own)), poc, spread, first, theirs, *cells])
            for name, one in every.items():
                at_zero = found[name, method].get(0)
                numbers: tuple[object, ...] = (one.told, one.sd, one.low, one.high, one.n, one.left_out)
                numbers += (at_zero.mean if at_zero else None, *thesis.get((name, method), NOT_PRINTED))
                records.append((method, name, *numbers))
        header = ["method", "orders", "POC (%)", "POC, sd over replicas", "order 0", f"thesis ({self.table})"]
        header += [label_of(METRICS[name], frames.samples) for name in ORDER_METRICS[1:]]
        knows = describe_knowledge(self.methods, self.thesis.knowledge)
        return self.sheet(
            [knows, left_out(found, "Orders")],
            captions.warnings(frames.runs),
            [Block("", header, lines)],
            records,
            about=self._about(frames),
        )


_numbers = attrgetter("told", "sd", "n", "over", "left_out")


def _spread(rounding: Summary) -> str:
    if rounding.sd is None:
        return "one replica" if rounding.n else MISSING
    return f"{format_number(rounding.sd)} ({rounding.n})"


@dataclass(frozen=True)
class BaseNetworks(Study):
    """The metrics of the reloading setting, for each N0 of `network_seeds`.

    The first of the thesis' tables in `printed` that prints a value stands beside ours.
    """

    presets: tuple[str, ...] = ("base_networks",)
    networks: tuple[str, ...] = ("mlp",)
    methods: tuple[str, ...] = EVERY_METHOD
    network_seeds: tuple[int, ...] = (0, 1, 2)
    printed: tuple[str, ...] = ("4.2", "4.4", "4.6", "4.12")
    tables = ("base_networks",)

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the table."""
        every = corrections_of(runs, network=self.network, setting="reloading", order=0)
        every = every.select(method=self.methods, network_seed=self.network_seeds)
        frames = every.select(seed=SEED)
        found = by_run(frames, self.methods, BASE_METRICS, "network_seed")
        bases = frames.runs.drop_duplicates("network_seed")
        errors = dict(zip(bases["network_seed"], bases["errors"], strict=True))
        thesis = printed(self.thesis.tables, *self.printed)
        lines, records = [], []
        for (metric, method), own in found.items():
            theirs = thesis.get((metric, method), NOT_PRINTED)
            each = {seed: own.get(seed, METRICS[metric].absent) for seed in self.network_seeds}
            pooled = across({seed: item for seed, item in each.items() if seed in own}, "networks")
            name = [METRICS[metric].label, method_style(method).label]
            cells = [format_summary(replace(item, sd=None)) for item in each.values()]
            lines.append([*name, *cells, format_summary(pooled), format_printed(*theirs)])
            for seed, item in each.items():
                records.append((metric, method, seed, errors.get(seed), *_numbers(item), *NOT_PRINTED))
            records.append((metric, method, "all", None, *_numbers(pooled), *theirs))
        heads = [
            f"N0 {seed} ({format_count(errors[seed])} errors)" if seed in errors else f"N0 {seed} ({MISSING})"
            for seed in self.network_seeds
        ]
        used = f"Of the runs' seeds only {SEED} is used here." if len(every.runs) > len(frames.runs) else ""
        yield self.sheet(
            [describe_knowledge(self.methods, self.thesis.knowledge), left_out(found, "Samples")],
            captions.warnings_of(
                frames.runs, "network_seed", {seed: f"N0 {seed}" for seed in self.network_seeds}
            ),
            [Block("", ["metric", "method", *heads, "mean ± sd over N0", "thesis"], lines)],
            records,
            about=" ".join(filter(None, (*self._about(frames), used))),
            tables=listing(list(self.printed)),
        )

    def _about(self, frames: Frames) -> list[str]:
        place = f"{network_label(self.network)}, {setting_label('reloading')} setting"
        if frames.runs.empty:
            return [f"{place}: missing, no run of other N0 is among the records."]
        return [
            f"{place}, {captions.describe_scale_briefly(frames.runs)}.",
            captions.describe_base(frames.runs, self.thesis.errors_of(self.network)),
            gaps(frames, self.methods, "network_seed", self.network_seeds, "N0"),
        ]
