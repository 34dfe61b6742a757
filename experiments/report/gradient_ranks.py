"""Each of the 100 largest gradients updated alone: tables 4.9 and 4.10, figures 4.11 and 4.12 (section 4.8.1)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from experiments.records.schema import Run
from experiments.report.canvas import Picture
from experiments.report.part import Made, Study, Text, words
from experiments.report.rank_curves import paint_curves
from experiments.report.rank_shares import Results
from experiments.report.rank_tables import Printed, blocks, caption, curves_csv, records
from experiments.report.sheet import Sheet
from experiments.report.surveys import by_network, describe, footnotes, loud
from experiments.report.tables import with_columns

PROBE_NAME = "gradient_ranks"
REFERENCE_COLUMNS = ["table", "network", "criterion", "place", "gradient_rank", "percent_of_samples"]


@dataclass(frozen=True)
class GradientRanksPart(Study):
    """The table and the figure of one network, and the figure's numbers as csv: named as the presets are."""

    @property
    def tables(self) -> tuple[str, ...]:  # type: ignore[override]
        """The table's name, for example `table_4_9`."""
        return self.presets[:1]

    @property
    def figures(self) -> tuple[str, ...]:  # type: ignore[override]
        """The figure's name, for example `figure_4_11`."""
        return self.presets[1:]

    @property
    def texts(self) -> tuple[str, ...]:  # type: ignore[override]
        """The figure's numbers."""
        return tuple(f"tables/{name}.csv" for name in self.figures)

    @property
    def number(self) -> str:
        """The table's number in the thesis, for example 4.9."""
        return self.tables[0].removeprefix("table_").replace("_", ".")

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the table, the figure and its numbers.

        Raises:
            ReportError: Two runs of the network, or the reference lacks a column.
        """
        run = by_network(runs, PROBE_NAME).get(self.network)
        results = None if run is None else Results.of(run, self.network)
        printed = read_printed(self.thesis.ranks, self.number, self.network)
        yield Sheet(
            *self.tables,
            f"Table {self.number}",
            caption(describe(self.network, run, self.thesis.errors_of(self.network)), results),
            loud(self.network, run),
            blocks(results, printed),
            words("gradient_ranks")["columns"],
            list(records(self.number, self.network, results, printed)),
        )
        yield Text(*self.texts, curves_csv(self.network, results))
        scale = footnotes({} if run is None else {self.network: run}, (self.network,))
        base = None if run is None else run.header.figures
        yield Picture(
            *self.figures, lambda figure: [*paint_curves(figure, self.network, results, base), *scale]
        )


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
