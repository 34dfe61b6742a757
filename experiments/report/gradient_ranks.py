"""Each of the 100 largest gradients updated alone: tables 4.9 and 4.10, figures 4.11 and 4.12 (section 4.8.1)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.records.schema import Figures, Run
from experiments.report import surveys
from experiments.report.canvas import Picture, blank
from experiments.report.metrics import MISSING
from experiments.report.numbers import format_count, format_number, format_printed, listing
from experiments.report.part import Made, Study, Text, file_names, words
from experiments.report.rank_shares import (
    CRITERIA,
    MEAN,
    OF_SAMPLE,
    PLACES,
    Curve,
    Reading,
    Results,
    means,
    same_first,
    shares_ties_split,
    ties,
)
from experiments.report.render import csv_text
from experiments.report.sheet import Block, Sheet, bracketed, per_cent, percent, plain
from experiments.report.style import DOUBLE_COLUMN, METHODS, network_label
from experiments.report.tables import with_columns

Printed = Mapping[
    tuple[str, int], tuple[int, float]
]  # by criterion and place from 1, the rank and its per cent

ORDINALS = ("1st", "2nd", "3rd")
HEADERS = {OF_SAMPLE: ("rank", "best in samples (%)"), MEAN: ("rank", "mean", "corrects samples (%)")}
COLOUR, MEDIAN_COLOUR = METHODS["bgd_ii"].colour, METHODS["retrain"].colour
BAR_COLOUR = "#999999"
SKEWED = 5  # times its median: a mean further off squeezes the rest of a linear axis together


def paint_curves(
    figure: Figure, network: str, results: Results | None, base: Figures | None
) -> Sequence[str]:
    """Draw a panel per criterion with the number of samples below it; `base` are N0's figures. Return notes."""
    figure.set_size_inches(DOUBLE_COLUMN, 3.6)
    panels = figure.subplots(2, len(CRITERIA), height_ratios=(3, 1), squeeze=False)
    logarithmic = []
    for (name, criterion), letter, (above, below) in zip(CRITERIA.items(), "abc", panels.T, strict=True):
        above.set_title(f"({letter}) {network_label(network)}: {criterion.name}{criterion.unit}")
        if results is None:
            blank(above, surveys.absent_text(network, "gradient_ranks"))
            blank(below, "missing")
            continue
        curve = results.curve(name)
        if criterion.sign > 0 and _is_skewed(curve):
            above.set_yscale("log")
            logarithmic.append(criterion.name)
        _draw(above, below, curve, None if base is None else getattr(base, criterion.column))
    panels[1, 0].set_ylabel("samples")
    notes = [words("gradient_ranks")["figure"]] if results is not None else []
    return notes + [f"Logarithmic axis: {name}." for name in logarithmic]


def _is_skewed(curve: Curve) -> bool:
    """Return whether some rank's mean is far above its median, which few samples bring about."""
    known = curve.n > 0
    return bool((curve.mean[known] > SKEWED * curve.median[known]).any())


def _draw(above: Axes, below: Axes, curve: Curve, base: float | None) -> None:
    ranks = np.arange(1, curve.mean.size + 1)
    above.fill_between(ranks, curve.low, curve.high, color=COLOUR, alpha=0.2, linewidth=0)
    above.plot(ranks, curve.median, color=MEDIAN_COLOUR, linewidth=0.8)
    above.plot(ranks, curve.mean, color=COLOUR, linewidth=0.8, marker=".", markersize=3)
    if base is not None:
        above.axhline(base, color="black", linestyle=":", linewidth=0.9)
    below.bar(ranks, curve.n, width=1.0, color=BAR_COLOUR, linewidth=0)
    below.set_xlabel("gradient rank")
    for axes in (above, below):
        axes.set_xlim(0.5, ranks.size + 0.5)
        # 1 has its tick: the largest gradient is what the thesis speaks of.
        axes.set_xticks([1, *range(20, ranks.size + 1, 20)] if ranks.size >= 20 else list(ranks))
    above.tick_params(labelbottom=False)
    if above.get_yscale() == "linear":
        above.locator_params(axis="y", nbins=5)


PROBE_NAME = "gradient_ranks"
REFERENCE_COLUMNS = ["table", "network", "criterion", "place", "gradient_rank", "percent_of_samples"]


@dataclass(frozen=True)
class GradientRanksPart(Study):
    """The table and the figure of one network, and the figure's numbers as csv: named as the presets are."""

    @property
    def names(self) -> tuple[str, ...]:
        """The files of the part."""
        table, figure = self.presets
        return file_names([table], [figure], [f"tables/{figure}.csv"])

    @property
    def number(self) -> str:
        """The table's number in the thesis, for example 4.9."""
        return self.presets[0].removeprefix("table_").replace("_", ".")

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the table, the figure and its numbers.

        Raises:
            ReportError: Two runs of the network, or the reference lacks a column.
        """
        table, figure = self.presets
        run = surveys.by_network(runs, PROBE_NAME).get(self.network)
        results = None if run is None else Results.of(run, self.network)
        printed = read_printed(self.thesis.ranks, self.number, self.network)
        told, lines = words("gradient_ranks"), records(self.number, self.network, results, printed)
        about = surveys.describe(self.network, run, self.thesis.errors_of(self.network))
        found = findings(results) if results else []
        yield Sheet(
            table,
            f"Table {self.number}",
            [told["caption"].format(resamples=surveys.RESAMPLES), about, *found],
            surveys.bold(self.network, run),
            blocks(lines),
            told["columns"],
            lines,
        )
        yield Text(f"tables/{figure}.csv", curves_csv(self.network, results))
        scale = surveys.footnotes({} if run is None else {self.network: run}, (self.network,))
        base = None if run is None else run.header.figures
        yield Picture(figure, lambda canvas: [*paint_curves(canvas, self.network, results, base), *scale])


def read_printed(path: Path, table: str, network: str) -> Printed:
    """Return the thesis' gradient rank and per cent of samples, by criterion and place from 1.

    Raises:
        ReportError: A column is missing.
    """
    reference = with_columns(pd.read_csv(path, dtype={"table": str}), path, REFERENCE_COLUMNS)
    part = reference[(reference["table"] == table) & (reference["network"] == network)]
    return {
        (name, place): (rank, share)
        for name, place, rank, share in part[REFERENCE_COLUMNS[2:]].itertuples(index=False, name=None)
    }


def findings(results: Results) -> list[str]:
    """Return the finding on claim 9: that no rank is best by all three criteria at once."""
    data = results.data
    some = np.asarray(data.corrected.any(axis=1), dtype=np.bool_)
    low, high = (percent(end) for end in surveys.share_interval(some, results.draws))
    pairs = percent(float(data.corrected.sum()) / max(1, data.pairs))
    lines = [
        f"Corrected: {pairs} % of the {format_count(data.pairs)} pairs of sample and rank;"
        f" {bracketed(percent(float(some.mean())), low, high)} % of the {format_count(some.size)} samples by at least"
        " one of the ranks.",
        f"Two or more ranks tie for the best in {_by_criterion({n: ties(data, n) for n in CRITERIA})} of the samples.",
    ]
    lines += [_about_first(results.readings[kind], number) for number, kind in enumerate(HEADERS, 1)]
    gaps = int((data.corrected & np.isnan(data.values["training_loss"])).sum())
    if gaps:
        lines.append(f"Pairs left out because the training loss is not finite: {format_count(gaps)}.")
    return lines


def _by_criterion(shares: Mapping[str, float]) -> str:
    return listing([f"{percent(share)} % ({CRITERIA[name].name})" for name, share in shares.items()])


def _about_first(readings: Mapping[str, Reading], number: int) -> str:
    firsts = {name: int(reading.top[0]) for name, reading in readings.items()}
    named = listing([f"{rank or 'none'} by {CRITERIA[name].name}" for name, rank in firsts.items()])
    one = len(set(firsts.values())) == 1 and 0 not in firsts.values()
    verdict = f"{'one' if one else 'no'} rank is best by all three"
    again = f"one rank is first by all three in {percent(same_first(readings))} % of the resamples"
    return f"By reading {number} the first rank is {named}: {verdict}; {again}."


def records(table: str, network: str, results: Results | None, printed: Printed) -> list[list[object]]:
    """Return the lines of the csv file: one per reading, criterion and place."""
    found = []
    for kind, name, place in product(HEADERS, CRITERIA, range(PLACES)):
        rank, share = printed.get((name, place + 1), (None, None))
        ours: list[object] = [MISSING, *[None] * 6]
        at_rank, count = None, 0
        if results is not None:
            ours, count = _numbers(results, kind, name, place), results.draws.shape[1]
            shares = results.readings[kind][name].shares
            # None where the run looked at fewer ranks.
            at_rank = 100 * float(shares[rank - 1]) if rank is not None and rank <= shares.size else None
        found.append([table, network, kind, name, place + 1, *ours, rank, share, at_rank, count])
    return found


def _numbers(results: Results, kind: str, name: str, place: int) -> list[object]:
    """Return our seven cells of a line of the csv file, shares in %."""
    reading, values = results.readings[kind][name], results.data.values[name]
    rank = int(reading.top[place])
    if rank == 0:
        return ["none", *[None] * 6]
    split = shares_ties_split(results.data, name)[rank - 1] if kind == OF_SAMPLE else np.nan
    shares = [reading.shares[rank - 1], reading.low[rank - 1], reading.high[rank - 1]]
    shares.append(split)
    behind = int((~np.isnan(values[:, rank - 1])).sum())
    return [rank, *(100 * float(share) for share in shares), float(means(values)[rank - 1]), behind]


def blocks(lines: Sequence[Sequence[object]]) -> list[Block]:
    """Return the two readings, from the lines of the csv file, for people."""
    told = words("gradient_ranks")
    named = [dict(zip(told["columns"], line, strict=True)) for line in lines]
    return [
        Block(
            told[kind],
            ("criterion", "place", *own, *told["header"]),
            [_line(of, len(own)) for of in named if of["reading"] == kind],
        )
        for kind, own in HEADERS.items()
    ]


def _line(of: Mapping[str, Any], width: int) -> list[str]:
    """Return a line for people: criterion and place, `width` cells of ours, and the thesis' three."""
    criterion, by_mean = CRITERIA[of["criterion"]], of["reading"] == MEAN
    label = criterion.name + (criterion.unit if by_mean else "")
    rank, thesis_rank, at_rank = of["gradient_rank"], of["thesis_gradient_rank"], of["percent_at_thesis_rank"]
    if rank == MISSING:
        ours = [MISSING] * width
    elif rank == "none":
        ours = ["none", *[""] * (width - 1)]
    else:
        # One of 54,000 images is 0.00002: fewer digits would make most ranks look alike.
        mean = format_number(of["mean"]) if criterion.unit else f"{of['mean']:.5f}"
        ends = (per_cent(of[name]) for name in ("percent_of_samples", "low", "high"))
        ours = [str(rank), *([mean] if by_mean else []), bracketed(*ends)]
    theirs = ["", "", ""]
    if thesis_rank is not None:
        without = MISSING if rank == MISSING else "not looked at"
        ours_there = without if at_rank is None else per_cent(at_rank)
        theirs = [str(thesis_rank), format_printed(of["thesis_percent_of_samples"], None), ours_there]
    return [label, ORDINALS[of["place"] - 1], *ours, *theirs]


def curves_csv(network: str, results: Results | None) -> str:
    """Return the figure's data and every rank's share of reading 1: a line per criterion and rank."""
    columns = words("gradient_ranks")["curves"]
    if results is None:
        return csv_text(columns, [[network, MISSING, *[None] * (len(columns) - 2)]])
    corrected = results.data.corrected
    lines = []
    for name in CRITERIA:
        curve = results.curve(name)
        best, split = results.readings[OF_SAMPLE][name].shares, shares_ties_split(results.data, name)
        for place in range(corrected.shape[1]):
            about = [network, place + 1, corrected.shape[0], int(corrected[:, place].sum()), name]
            numbers = [part[place] for part in (curve.mean, curve.low, curve.high, curve.median)]
            shares = (100 * best[place], 100 * split[place])
            cells = [int(curve.n[place]), *map(float, (*numbers, *shares))]
            lines.append([plain(value) for value in (*about, *cells)])
    return csv_text(columns, lines)
