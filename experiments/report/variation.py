"""What other orders of the samples, and other N0, do to the results: a table each, and a figure of the orders."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from operator import attrgetter

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.records.schema import Run
from experiments.report import captions
from experiments.report.canvas import Picture, blank, grid
from experiments.report.curves import LABELS, curve, draw_legend, draw_lines, longest
from experiments.report.frames import ORDERS, REPLICAS, Frames, corrections_of
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
from experiments.report.style import DOUBLE_COLUMN, NETWORKS, method_style, network_label, setting_label
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


def gaps(runs: pd.DataFrame, methods: Sequence[str], axis: str, expected: Sequence[int], name: str) -> str:
    """Return which runs are missing, in words; empty where none is."""
    lacks = []
    for method in methods:
        own = set(runs.loc[runs["method"] == method, axis])
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

    `prints` names, for each network, the table of the thesis that prints POC; `not_run` what no preset has.
    """

    presets: tuple[str, ...] = (*ORDERS, *REPLICAS)
    networks: tuple[str, ...] = ("mlp", "alexnet")
    methods: tuple[str, ...] = NON_RELOADING
    prints: tuple[tuple[str, str], ...] = (("mlp", "4.8"), ("alexnet", "4.7"))
    not_run: tuple[tuple[str, str], ...] = (("alexnet", "retrain"), ("alexnet", "l1"))
    tables = ("orders",)
    figures = ("orders",)

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the table and the figure."""
        every = corrections_of(runs, setting="non_reloading", network_seed=0, network=self.networks)
        every = every.select(method=self.methods)
        first, frames = every.select(order=0), every.select(seed=SEED)
        nudged = Frames(*(frame[frame["replica"] > 0] for frame in (first.samples, first.runs)))
        yield self._sheet(frames, nudged)
        yield Picture("orders", lambda figure: self._paint(figure, frames))

    def _methods(self, network: str) -> list[str]:
        return [name for name in self.methods if (network, name) not in self.not_run]

    def _about(self, frames: Frames) -> list[str]:
        """Say of each network which orders its runs are of."""
        return [self._about_network(name, frames.select(network=name).runs) for name in self.networks]

    def _about_network(self, network: str, runs: pd.DataFrame) -> str:
        place = f"{network_label(network)}, {setting_label('non_reloading')} setting"
        if runs.empty:
            return f"{place}: missing, no run of the orders is among the records."
        found = sorted(set(map(int, runs["order"])))
        which = f"{counted(len(found), 'order')} of the samples ({listing(list(map(str, found)))})"
        base = captions.describe_base(runs, self.thesis.errors_of(network))
        missing = gaps(runs, self._methods(network), "order", range(found[-1] + 1), "order")
        others = [method_style(name).label for name in self.methods if name not in self._methods(network)]
        lacks = f"Not run in other orders: {listing(others)}." if others else ""
        said = (f"{place}, {which}.", base, captions.describe_scale(runs), missing, lacks)
        return " ".join(filter(None, said))

    def _paint(self, figure: Figure, frames: Frames) -> list[str]:
        networks = [name for name in self.networks if len(frames.select(network=name).runs)]
        rows, notes = networks or list(self.networks[:1]), []
        drawn = dict.fromkeys(name for name in self.methods if len(frames.select(method=name).runs))
        size = DOUBLE_COLUMN, 0.7 + 2.2 * len(rows)
        for letter, axes, network, measured in grid(figure, size, rows, tuple(LABELS)):
            own, label = frames.select(network=network), LABELS[measured]
            axes.set_title(f"{letter} {label}, {network_label(network)}")
            found = {name: part for name in drawn if len(part := own.select(method=name).samples)}
            if not found:
                blank(axes, "missing:\nno run of the orders\namong the records")
                continue
            # A curve's band is over the values of `seed`: here it is over the orders.
            curves = {name: curve(part.assign(seed=part["order"]), measured) for name, part in found.items()}
            if measured == "train_loss":
                axes.set_yscale("log")
            draw_lines(axes, curves, longest(curves))
            notes += [
                f"Not finite and not drawn: {method_style(method).short}, {label}, {network_label(network)}, "
                f"{item.not_finite:,} values."
                for method, item in curves.items()
                if item.not_finite
            ]
        draw_legend(figure, drawn, columnspacing=1.2)
        return [
            words("orders")["figure"],
            *self._about(frames),
            *notes,
            *captions.warnings_of(frames.runs, "network", NETWORKS),
        ]

    def _sheet(self, frames: Frames, nudged: Frames) -> Sheet:
        made = [
            self._block(name, frames.select(network=name), nudged.select(network=name))
            for name in self.networks
        ]
        blocks, records, lost = zip(*made, strict=True)
        knows = describe_knowledge(self.methods, self.thesis.knowledge)
        about = " ".join(self._about(frames))
        warnings = captions.warnings_of(frames.runs, "network", NETWORKS)
        return self.sheet([knows, *lost], warnings, blocks, [*chain(*records)], about=about)

    def _block(
        self, network: str, frames: Frames, nudged: Frames
    ) -> tuple[Block, list[tuple[object, ...]], str]:
        """Make a network's lines, its records, and what is said of orders that are left out."""
        methods = self._methods(network)
        found = by_run(frames, methods, ORDER_METRICS, "order")
        spreads = by_run(nudged, methods, ("POC",), "replica")
        table = dict(self.prints)[network]
        thesis = printed(self.thesis.tables, table)
        lines, records = [], []
        for method in methods:
            every = {name: across(found[name, method], "orders") for name in ORDER_METRICS}
            own, (poc, *cells) = found["POC", method], map(format_summary, every.values())
            first = format_summary(own[0]) if 0 in own else MISSING
            spread = _spread(across(spreads["POC", method], "replicas"))
            theirs = format_printed(*thesis.get(("POC", method), NOT_PRINTED))
            lines.append([method_style(method).label, str(len(own)), poc, spread, first, theirs, *cells])
            for name, one in every.items():
                at_zero = found[name, method].get(0)
                numbers: tuple[object, ...] = (one.told, one.sd, one.low, one.high, one.n, one.left_out)
                numbers += (at_zero.mean if at_zero else None, *thesis.get((name, method), NOT_PRINTED))
                records.append((network, method, name, *numbers))
        header = ["method", "orders", "POC (%)", "POC, sd over replicas", "order 0", f"thesis ({table})"]
        header += [label_of(METRICS[name], frames.samples) for name in ORDER_METRICS[1:]]
        label = network_label(network)
        return Block(f"{label}.", header, lines), records, left_out(found, f"{label}: orders")


_numbers = attrgetter("told", "sd", "n", "over", "left_out")


def _spread(rounding: Summary) -> str:
    if rounding.n < 2:
        return "one replica" if rounding.n else MISSING
    return f"{format_number(rounding.sd or 0)} ({rounding.n})"  # none where replicas are the same


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
            gaps(frames.runs, self.methods, "network_seed", self.network_seeds, "N0"),
        ]
