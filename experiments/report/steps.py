"""The first-order step, which the thesis does not state: what comes out at each, and which fits its cells."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.records.schema import NON_RELOADING, Run
from experiments.report.canvas import Picture, blank, grid
from experiments.report.captions import describe_base, describe_scale, warnings
from experiments.report.frames import Frames, corrections_of
from experiments.report.metrics import correct, corrected, parameters_altered, test_accuracy_change
from experiments.report.numbers import format_printed, listing
from experiments.report.part import Made, Study, words
from experiments.report.sheet import Block, Sheet
from experiments.report.style import DOUBLE_COLUMN, method_style, network_label
from experiments.report.surveys import Estimate, Values, estimate
from experiments.report.tables import NOT_PRINTED, Printed, printed

STEP_KEYS = {  # where a method has its step
    "bgd_i": "method.update.step",
    "top_k": "method.step",
    "retrain": "method.learning_rate",
}
METRICS: dict[str, tuple[str, Callable[[pd.DataFrame], Values]]] = {
    "POC": ("POC (%)", lambda samples: np.asarray(100.0 * correct(samples), dtype=np.float64)),
    "POPA": ("POPA (%)", parameters_altered),
    "dTA": ("|ΔTA|", lambda samples: -test_accuracy_change(samples)),
}
LABELS = {name: label for name, (label, _) in METRICS.items()}
FACTOR = 2.0  # by which a mean may differ and still be called consistent: N0 and its samples are others
MARKS = {True: " ✓", False: " ✗", None: ""}  # whether a cell is consistent; None: not judged


def of_metric(samples: pd.DataFrame, metric: str) -> Estimate:
    """Return POC in % over all samples, POPA in % or the drop in test accuracy over the corrected ones."""
    chosen = samples if metric == "POC" else samples[corrected(samples)]
    values = METRICS[metric][1](chosen)
    return estimate(values, np.arange(values.size), "first_order_step")


def consistent(ours: Estimate, metric: str, mean: float, sd: float | None) -> bool:
    """Return whether a value of the thesis could be that of the same method at the same step.

    One rule for every step. It was not chosen blind: results at 0.01, and on AlexNet at 0.1 and 0.5, were known when
    it was written. POC: the thesis' value lies in our 95 % interval, widened at both ends by two of the thesis' own
    standard deviations (over seeds). POPA and |dTA|: it lies in our 95 % interval, widened by a factor of 2 at both
    ends. The thesis prints |dTA| without its sign, so ours goes without it too.
    """
    if not ours.n:
        return False
    low, high = ours.low, ours.high
    if metric == "POC":
        margin = 2 * (sd or 0.0)
        return low - margin <= mean <= high + margin
    if high < 0:
        low, high = -high, -low
    elif low < 0:
        low, high = 0.0, max(-low, high)
    return low / FACTOR <= mean <= high * FACTOR


@dataclass(frozen=True)
class Cell:
    """A value that the thesis prints for BGD-I."""

    table: str
    network: str
    setting: str
    metric: str
    printed: Printed

    @property
    def judged(self) -> bool:
        """Whether it is held against ours: a non-reloading one is a single run."""
        return self.setting != NON_RELOADING

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.table} {network_label(self.network)} {LABELS[self.metric]}"


# By network, setting and method; by step; by metric.
Found = dict[tuple[Any, ...], dict[Any, dict[str, Estimate]]]


@dataclass(frozen=True)
class FirstOrderStep(Study):
    """Curves over the step, a table of them, and a table of BGD-I's cells in the thesis.

    `curves`: by network, the tables of the thesis with reloading values; `cells`: those with BGD-I's cells.
    """

    presets: tuple[str, ...] = tuple(f"first_order_step_{method}" for method in STEP_KEYS)
    curves: tuple[tuple[str, tuple[str, ...]], ...] = (("alexnet", ("4.3", "4.1")), ("mlp", ("4.4", "4.2")))
    cells: tuple[tuple[str, str, str], ...] = (
        ("4.3", "alexnet", "reloading"),
        ("4.4", "mlp", "reloading"),
        ("4.7", "alexnet", "non_reloading"),
        ("4.8", "mlp", "non_reloading"),
    )
    tables = ("first_order_step", "first_order_step_bgd_i")
    figures = ("first_order_step",)

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make both tables and the figure."""
        keys = list(STEP_KEYS.values())
        frames = corrections_of(runs, keys)
        step = frames.samples[keys].bfill(axis=1)[keys[0]].astype(np.float64)  # a method has one of them
        found: Found = {}
        for (*group, at), part in frames.samples.groupby(["network", "setting", "method", step]):
            found.setdefault(tuple(group), {})[at] = {metric: of_metric(part, metric) for metric in METRICS}
        about = " ".join(self._about(frames))
        yield self._curve_sheet(frames, found, about)
        yield self._cell_sheet(found, about)
        yield Picture("first_order_step", lambda figure: self._paint(figure, found, about))

    def _thesis(self, network: str, method: str) -> dict[str, float | None]:
        """Return the means that the thesis prints of a method in the reloading setting."""
        known = printed(self.thesis.tables, *dict(self.curves)[network])
        return {metric: known.get((metric, method), NOT_PRINTED)[0] for metric in METRICS}

    def _about(self, frames: Frames) -> Iterator[str]:
        """Say how large each network's runs are, by setting."""
        for network in self.networks:
            for setting in ("reloading", "non_reloading"):
                runs = frames.select(network=network, setting=setting).runs
                about = f"{describe_base(runs)} {describe_scale(runs)}" if len(runs) else "missing."
                yield f"{network_label(network)}, {setting.replace('_', '-')}: {about}"

    def _curve_sheet(self, frames: Frames, found: Found, about: str) -> Sheet:
        lines, records = [], []
        for network, method in product(self.networks, STEP_KEYS):
            thesis, by_step = self._thesis(network, method), found.get((network, "reloading", method), {})
            label = [network_label(network), method_style(method).label]
            for step, own in by_step.items():
                lines.append([*label, f"{step:g}", str(own["POPA"].n), *(one.text for one in own.values())])
                for metric, one in own.items():
                    records.append((network, method, step, metric, *one.ends, one.n, thesis[metric]))
            prints = [format_printed(mean, None) for mean in thesis.values()]
            lines.append([*label, "thesis" if by_step else "missing; thesis", "", *prints])
        return self.sheet(
            [],
            warnings(frames.runs.drop_duplicates("network").assign(base_id="")),
            [Block("", ["network", "method", "step", "n", *LABELS.values()], lines)],
            records,
            about=about,
        )

    def _cell_sheet(self, found: Found, about: str) -> Sheet:
        cells = [
            Cell(table, network, setting, metric, theirs)
            for table, network, setting in self.cells
            for metric in METRICS
            if (theirs := printed(self.thesis.tables, table).get((metric, "bgd_i")))
        ]
        ours = {(network, setting): own for (network, setting, name), own in found.items() if name == "bgd_i"}
        lines = [["", "thesis", *(format_printed(cell.printed[0], None) for cell in cells), ""]]
        records: list[tuple[object, ...]] = []
        counts = {}
        for step in sorted({step for own in ours.values() for step in own}):
            texts, fits = [], []
            for cell in cells:
                one = ours.get((cell.network, cell.setting), {}).get(step, {}).get(cell.metric)
                fit = consistent(one, cell.metric, *cell.printed) if one and cell.judged else None
                numbers = (*one.ends, one.n) if one else (None,) * 4
                # Where there is no run of ours a judged cell is not met, and not counted.
                met = None if not cell.judged else int(bool(fit))
                fits.append(fit)
                texts.append(f"{one.text}{MARKS[fit]}" if one else "missing")
                name = (step, cell.table, cell.network, cell.setting, cell.metric)
                records.append((*name, *numbers, *cell.printed, met))
            counts[step] = fits.count(True)
            lines.append([f"{step:g}", "ours", *texts, f"{counts[step]} of {len(fits) - fits.count(None)}"])
        return self.sheet(
            [],
            (),
            [Block("", ["step", "", *(cell.name for cell in cells), "met"], lines)],
            records,
            name="first_order_step_bgd_i",
            verdict=" ".join(_verdict(cells, set(ours), counts)),
            about=about,
        )

    def _paint(self, figure: Figure, found: Found, about: str) -> list[str]:
        panels = grid(figure, (DOUBLE_COLUMN, 5.6), tuple(METRICS), self.networks, sharex=True)
        for letter, axes, metric, network in panels:
            axes.set_title(f"{letter} {network_label(network)}")
            axes.set_ylabel(LABELS[metric])
            if not any(key[0] == network for key in found):
                blank(axes, f"missing: no run of {network_label(network)}\namong the records")
            else:
                for method in STEP_KEYS:
                    own = found.get((network, "reloading", method), {})
                    values = {step: by_metric[metric] for step, by_metric in own.items()}
                    _curve(axes, method, metric, values, self._thesis(network, method)[metric])
                if network == self.networks[-1] and metric == "POC" and axes.lines:
                    axes.legend(loc="lower right", frameon=False)
            if metric == tuple(METRICS)[-1]:
                axes.set_xlabel("first-order step (learning rate of retraining)")
        return [words("first_order_step")["figure"], about]


def _verdict(cells: Sequence[Cell], run: set[tuple[str, str]], counts: Mapping[float, int]) -> Iterator[str]:
    """Say which steps meet every cell, given network and setting of our runs, and how many cells each step meets."""
    there = sum((cell.network, cell.setting) in run for cell in cells if cell.judged)
    best = max(counts.values(), default=0)
    most = ", ".join(f"{step:g}" for step, met in counts.items() if met == best)
    every = most if counts and best == there else "none"
    start = f"Steps consistent with every one of the {there} reloading cells that have runs among the records"
    yield f"{start}: {every}."
    if counts and best < there:
        yield f"The most, {best}, are met at {most}."
    lacking = [cell.name for cell in cells if (cell.network, cell.setting) not in run]
    if lacking:
        yield f"Missing, no run among the records, and in no count: {listing(lacking)}."


def _curve(
    axes: Axes, method: str, metric: str, values: Mapping[float, Estimate], thesis: float | None
) -> None:
    """Draw a method's metric over the step, and the thesis' value across."""
    style, steps = method_style(method), list(values)
    axes.set_xscale("log")
    if metric == "POPA":
        axes.set_yscale("log")
    means, lows, highs = np.array([one.ends for one in values.values()]).reshape(-1, 3).T
    axes.plot(
        steps, means, label=style.short, color=style.colour, linestyle=style.line, marker="o", markersize=2.5
    )
    axes.fill_between(steps, lows, highs, color=style.colour, alpha=0.2, linewidth=0)
    if thesis is not None:
        axes.axhline(thesis, color=style.colour, linewidth=0.8, linestyle=(0, (2, 2)))
