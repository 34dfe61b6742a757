"""The first-order step, which the thesis does not state: what comes out at each, and which fits its cells."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.records.schema import NON_RELOADING, PROBE, Run
from experiments.report.canvas import blank, draw
from experiments.report.captions import describe_base, describe_scale, warnings
from experiments.report.frames import Frames, build_frames
from experiments.report.metrics import correct, corrected, parameters_altered, test_accuracy_change
from experiments.report.numbers import format_number, listing
from experiments.report.sheet import Block, Sheet, bracketed, sheet_names
from experiments.report.style import DOUBLE_COLUMN, method_style, network_label
from experiments.report.surveys import HIGH, LOW, Values, resamples
from experiments.report.tables import read_reference

STEP_KEYS = {  # where a method has its step
    "bgd_i": "method.update.step",
    "top_k": "method.step",
    "retrain": "method.learning_rate",
}
METRICS = {"POC": "POC (%)", "POPA": "POPA (%)", "dTA": "|ΔTA|"}
FACTOR = 2.0  # by which a mean may differ and still be called consistent: N0 and its samples are others


@dataclass(frozen=True)
class Estimate:
    """A mean over samples.

    Attributes:
        mean: NaN where there is no value.
        low, high: Ends of its 95 % percentile bootstrap interval over samples.
        n: Number of values.
    """

    mean: float
    low: float
    high: float
    n: int


@cache
def _draws(count: int) -> Values:
    return resamples(count, "first_order_step")


def estimate(per_sample: npt.ArrayLike) -> Estimate:
    """Return mean and interval of a value per sample."""
    values = np.asarray(per_sample, dtype=np.float64)
    if not values.size:
        return Estimate(np.nan, np.nan, np.nan, 0)
    low, high = np.percentile(_draws(values.size) @ values / values.size, (LOW, HIGH))
    return Estimate(float(values.mean()), float(low), float(high), values.size)


def of_metric(samples: pd.DataFrame, metric: str) -> Estimate:
    """Return POC in % over all samples, POPA in % or the drop in test accuracy over the corrected ones."""
    if metric == "POC":
        return estimate(100.0 * correct(samples))
    chosen = samples[corrected(samples)]
    if metric == "POPA":
        return estimate(parameters_altered(chosen))
    return estimate(-test_accuracy_change(chosen))


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
class FirstOrderStep:
    """Curves over the step, a table of them, and a table of BGD-I's cells in the thesis.

    Attributes:
        reference: The values of the thesis, for `experiments.report.tables.read_reference`.
        presets: Whose runs.
        networks: A column of panels each.
        curves: By network, the tables of the thesis that have a method's reloading values.
        cells: By network and setting, the table of the thesis that BGD-I's cells are in.
    """

    reference: Path
    presets: tuple[str, ...] = tuple(f"first_order_step_{method}" for method in STEP_KEYS)
    networks: tuple[str, ...] = ("alexnet", "mlp")
    curves: tuple[tuple[str, tuple[str, ...]], ...] = (("alexnet", ("4.3", "4.1")), ("mlp", ("4.4", "4.2")))
    cells: tuple[tuple[str, str, str], ...] = (
        ("4.3", "alexnet", "reloading"),
        ("4.4", "mlp", "reloading"),
        ("4.7", "alexnet", "non_reloading"),
        ("4.8", "mlp", "non_reloading"),
    )

    @property
    def names(self) -> tuple[str, ...]:
        """The files of the part."""
        sheets = (*sheet_names("first_order_step"), *sheet_names("first_order_step_bgd_i"))
        return (*sheets, "figures/first_order_step.png", "figures/first_order_step.svg")

    def files(self, runs: Sequence[Run]) -> dict[str, bytes]:
        """Return the content of each file; see `experiments.report.part.Part`."""
        runs = [run for run in runs if PROBE not in run.header.spec]
        frames = _with_step(build_frames(runs, tuple(STEP_KEYS.values())))
        values: Found = {}
        for key, part in frames.samples.groupby(["network", "setting", "method", "step"]):
            network, setting, method, step = map(str, key)
            for metric in METRICS:
                values[network, setting, method, float(step), metric] = of_metric(part, metric)
        images = draw(lambda figure: self._paint(figure, frames, values))
        return {
            **self._curve_sheet(frames, values).files(),
            **self._cell_sheet(frames, values).files(),
            **{f"figures/first_order_step.{kind}": image for kind, image in images.items()},
        }

    def _printed(self, table: str, method: str, metric: str) -> tuple[float, float | None] | None:
        found = read_reference(self.reference)
        for name, value in (("table", table), ("method", method), ("metric", metric)):
            found = found[found[name] == value]
        if found.empty:
            return None
        sd = found["sd"].iloc[0]
        return float(found["mean"].iloc[0]), None if pd.isna(sd) else float(sd)

    def _thesis(self, network: str, method: str, metric: str) -> tuple[float, float | None] | None:
        """Return the thesis' values of a method in the reloading setting, from the first table that has them."""
        for table in dict(self.curves)[network]:
            printed = self._printed(table, method, metric)
            if printed is not None:
                return printed
        return None

    def _about(self, frames: Frames) -> str:
        """Return the scale of each network's runs, by setting."""
        parts = []
        for network in self.networks:
            for setting in ("reloading", "non_reloading"):
                runs = frames.select(network=network, setting=setting).runs
                name = f"{network_label(network)}, {setting.replace('_', '-')}"
                about = f"{describe_base(runs)} {describe_scale(runs)}" if len(runs) else "missing."
                parts.append(f"{name}: {about}")
        return " ".join(parts)

    def _curve_sheet(self, frames: Frames, values: "Found") -> Sheet:
        lines, records = [], []
        for network in self.networks:
            for method in STEP_KEYS:
                thesis = {metric: self._thesis(network, method, metric) for metric in METRICS}
                steps = sorted({key[3] for key in values if key[:3] == (network, "reloading", method)})
                label = [network_label(network), method_style(method).label]
                for step in steps:
                    found = [values[network, "reloading", method, step, metric] for metric in METRICS]
                    lines.append([*label, f"{step:g}", str(found[1].n), *map(_text, found)])
                    for metric, one in zip(METRICS, found, strict=True):
                        printed = thesis[metric]
                        record = (network, method, step, metric, one.mean, one.low, one.high, one.n)
                        records.append((*record, printed[0] if printed else None))
                prints = [f"{printed[0]:g}" if printed else "" for printed in thesis.values()]
                lines.append([*label, "thesis" if steps else "missing; thesis", "", *prints])
        caption = (
            "What the first-order step does, which the thesis does not state: BGD-I's and top-k's step, and the"
            f" learning rate of retraining; reloading setting. {self._about(frames)} Brackets: 95 % percentile"
            " bootstrap interval over samples, 2,000 resamples. POC over all samples; POPA and the drop in test"
            " accuracy over the n corrected ones. |ΔTA| is the mean drop, below 0 where the accuracy rose; the"
            " thesis prints it without its sign."
        )
        return Sheet(
            name="first_order_step",
            heading="First-order step",
            caption=caption,
            warnings=warnings(frames.runs.drop_duplicates("network").assign(base_id="")),
            blocks=[Block("", ["network", "method", "step", "n", *METRICS.values()], lines)],
            columns=("network", "method", "step", "metric", "mean", "low", "high", "n", "thesis_mean"),
            records=records,
        )

    def _bgd_i_cells(self) -> list[tuple[str, str, str, str, float, float | None]]:
        """Return table, network, setting, metric, mean and sd of each of BGD-I's cells that can be compared."""
        cells = []
        for table, network, setting in self.cells:
            for metric in METRICS:
                printed = self._printed(table, "bgd_i", metric)
                if printed is not None:
                    cells.append((table, network, setting, metric, *printed))
        return cells

    def _cell_sheet(self, frames: Frames, values: "Found") -> Sheet:
        cells = self._bgd_i_cells()
        steps = sorted({key[3] for key in values if key[2] == "bgd_i"})
        names = [f"{table} {network_label(net)} {METRICS[m]}" for table, net, _, m, _, _ in cells]
        lines = [["", "thesis", *(f"{mean:g}" for *_, mean, _ in cells), ""]]
        records: list[tuple[object, ...]] = []
        counts = {}
        run = {(net, setting, m) for net, setting, method, _, m in values if method == "bgd_i"}
        judged = [cell for cell in cells if cell[2] != NON_RELOADING]
        there = sum((net, setting, m) in run for _, net, setting, m, _, _ in judged)
        for step in steps:
            texts, met, known = [], 0, 0
            for table, network, setting, metric, mean, sd in cells:
                ours = values.get((network, setting, "bgd_i", step, metric))
                found = (None,) * 4 if ours is None else (ours.mean, ours.low, ours.high, ours.n)
                fits = (
                    None
                    if setting == NON_RELOADING
                    else ours is not None and consistent(ours, metric, mean, sd)
                )
                if fits is not None:
                    known, met = known + (ours is not None), met + fits
                texts.append("missing" if ours is None else f"{_text(ours)}{_MARKS[fits]}")
                records.append(
                    (
                        step,
                        table,
                        network,
                        setting,
                        metric,
                        *found,
                        mean,
                        sd,
                        None if fits is None else int(fits),
                    )
                )
            lines.append([f"{step:g}", "ours", *texts, f"{met} of {known}"])
            counts[step] = met
        best = max(counts.values(), default=0)
        most = ", ".join(f"{step:g}" for step, met in counts.items() if met == best)
        every = most if counts and best == there else "none"
        verdict = (
            f"Steps consistent with every one of the {there} reloading cells that have runs among the records:"
            f" {every}."
        )
        if counts and best < there:
            verdict += f" The most, {best}, are met at {most}."
        absent = [name for name, cell in zip(names, cells, strict=True) if (*cell[1:3], cell[3]) not in run]
        if absent:
            verdict += f" Missing, no run among the records, and in no count: {listing(absent)}."
        caption = (
            f"Which first-order step fits every cell that the thesis prints for BGD-I. {verdict} Consistent (✓), one"
            " rule for every step: for POC, the thesis' value lies in our 95 % bootstrap interval over samples,"
            " widened at both ends by two of the thesis' standard deviations; for POPA and |ΔTA|, in our interval"
            " widened by a factor of 2 at both ends, since N0 and its errors are others. The non-reloading cells are"
            " shown and not judged: each is one run, and rounding alone moves the end of a run (table `rounding`). The"
            " rule was not chosen blind:"
            " results at 0.01, and on AlexNet at 0.1 and 0.5, were known when it was written. Ours under |ΔTA| is the"
            " mean drop, below 0 where the accuracy rose. Tables 4.3 and 4.4 print POPA and ΔTA over the samples that"
            " all their methods corrected; ours are over those that BGD-I corrects. ΔTL is left out: its printed"
            f" values are those of another quantity (docs/deviations.md, D8). {self._about(frames)}"
        )
        columns = ("step", "table", "network", "setting", "metric", "mean", "low", "high", "n")
        return Sheet(
            name="first_order_step_bgd_i",
            heading="BGD-I's step and the thesis' cells",
            caption=caption,
            warnings=(),
            blocks=[Block("", ["step", "", *names, "met"], lines)],
            columns=(*columns, "thesis_mean", "thesis_sd", "consistent"),
            records=records,
        )

    def _paint(self, figure: Figure, frames: Frames, values: "Found") -> list[str]:
        figure.set_size_inches(DOUBLE_COLUMN, 5.6)
        panels = figure.subplots(len(METRICS), len(self.networks), squeeze=False, sharex=True)
        letters = iter("abcdefgh")
        for row, metric in zip(panels, METRICS, strict=True):
            for axes, network in zip(row, self.networks, strict=True):
                axes.set_title(f"({next(letters)}) {network_label(network)}")
                axes.set_ylabel(METRICS[metric])
                if not any(key[0] == network for key in values):
                    blank(axes, f"missing: no run of {network_label(network)}\namong the records")
                    continue
                for method in STEP_KEYS:
                    thesis = self._thesis(network, method, metric)
                    _curve(axes, values, (network, "reloading", method), metric, thesis)
        for axes in panels[-1]:
            axes.set_xlabel("first-order step (learning rate of retraining)")
        if panels[0][-1].lines:
            panels[0][-1].legend(loc="lower right", frameon=False)
        meaning = (
            "Line: mean; band: 95 % bootstrap interval over samples; dashed: the value that the thesis prints for the"
            " method, whatever its step was. POC over all samples, the rest over corrected ones."
        )
        return [meaning, self._about(frames)]


Found = dict[tuple[str, str, str, float, str], Estimate]
_MARKS = {True: " ✓", False: " ✗", None: ""}  # whether a cell is consistent; None: not judged


def _with_step(frames: Frames) -> Frames:
    """Add the column `step`, from wherever a method has it."""
    parts = []
    for frame in (frames.samples, frames.runs):
        step = pd.Series(np.nan, index=frame.index)
        for method, key in STEP_KEYS.items():
            chosen = frame["method"] == method
            step[chosen] = pd.to_numeric(frame.loc[chosen, key])
        parts.append(frame.assign(step=step))
    return Frames(*parts)


def _text(value: Estimate) -> str:
    if not value.n:
        return "none corrected"
    return bracketed(*(format_number(number) for number in (value.mean, value.low, value.high)))


def _curve(
    axes: Axes,
    values: Found,
    name: tuple[str, str, str],
    metric: str,
    thesis: tuple[float, float | None] | None,
) -> None:
    """Draw a method's metric over the step, and the thesis' value across."""
    style = method_style(name[2])
    steps = sorted({key[3] for key in values if key[:3] == name})
    found = [values[*name, step, metric] for step in steps]
    axes.set_xscale("log")
    if metric == "POPA":
        axes.set_yscale("log")
    means, lows, highs = (np.array([getattr(one, part) for one in found]) for part in ("mean", "low", "high"))
    axes.plot(
        steps, means, color=style.colour, linestyle=style.line, marker="o", markersize=2.5, label=style.short
    )
    axes.fill_between(steps, lows, highs, color=style.colour, alpha=0.2, linewidth=0)
    if thesis is not None:
        axes.axhline(thesis[0], color=style.colour, linewidth=0.8, linestyle=(0, (2, 2)))
