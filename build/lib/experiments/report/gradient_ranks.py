"""Each of the 100 largest gradients updated alone: tables 4.9 and 4.10, figures 4.11 and 4.12 (section 4.8.1)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.records.schema import Figures, Run
from experiments.report.canvas import Picture, blank
from experiments.report.part import Made, Study, Text, file_names, words
from experiments.report.rank_shares import CRITERIA, Curve, Results
from experiments.report.rank_tables import Printed, blocks, caption, curves_csv, records
from experiments.report.sheet import Sheet
from experiments.report.style import DOUBLE_COLUMN, METHODS, network_label
from experiments.report.surveys import absent_text, bold, by_network, describe, footnotes
from experiments.report.tables import with_columns

COLOUR, MEDIAN_COLOUR = METHODS["bgd_ii"].colour, METHODS["retrain"].colour
BAR_COLOUR = "#999999"
SKEWED = 5  # times its median: a mean further off squeezes the rest of a linear axis together


def paint_curves(
    figure: Figure, network: str, results: Results | None, base: Figures | None
) -> Sequence[str]:
    """Draw a panel per criterion with the number of samples below it; return the lines of the footnote.

    Args:
        figure: Empty.
        network: Whose run it is.
        results: None where there is no run.
        base: The figures of N0.
    """
    figure.set_size_inches(DOUBLE_COLUMN, 3.6)
    panels = figure.subplots(2, len(CRITERIA), height_ratios=(3, 1), squeeze=False)
    logarithmic = []
    for (name, criterion), letter, (above, below) in zip(CRITERIA.items(), "abc", panels.T, strict=True):
        above.set_title(f"({letter}) {network_label(network)}: {criterion.name}{criterion.unit}")
        if results is None:
            blank(above, absent_text(network, "gradient_ranks"))
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
        run = by_network(runs, PROBE_NAME).get(self.network)
        results = None if run is None else Results.of(run, self.network)
        printed = read_printed(self.thesis.ranks, self.number, self.network)
        yield Sheet(
            table,
            f"Table {self.number}",
            caption(describe(self.network, run, self.thesis.errors_of(self.network)), results),
            bold(self.network, run),
            blocks(results, printed),
            words("gradient_ranks")["columns"],
            list(records(self.number, self.network, results, printed)),
        )
        yield Text(f"tables/{figure}.csv", curves_csv(self.network, results))
        scale = footnotes({} if run is None else {self.network: run}, (self.network,))
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
