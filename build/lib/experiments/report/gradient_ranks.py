"""Each of the 100 largest gradients updated alone: tables 4.9 and 4.10, figures 4.11 and 4.12 (section 4.8.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from experiments.records.schema import Run
from experiments.report.canvas import draw
from experiments.report.frames import ReportError
from experiments.report.rank_curves import paint_curves
from experiments.report.rank_shares import Results
from experiments.report.rank_tables import Printed, blocks, caption, curves_csv, records
from experiments.report.sheet import Sheet, sheet_names
from experiments.report.surveys import bold, by_network, describe, footnotes

PROBE_NAME = "gradient_ranks"
REFERENCE_COLUMNS = ["table", "network", "criterion", "place", "gradient_rank", "percent_of_samples"]


@dataclass(frozen=True)
class GradientRanksPart:
    """The table and the figure of one network, and the figure's numbers as csv.

    Attributes:
        presets: Whose runs.
        network: Whose table.
        table, figure: Names of the files, for example `table_4_9` and `figure_4_11`.
        reference: A csv file with the values that the thesis prints, columns `REFERENCE_COLUMNS`.
        thesis_errors: How many test images the thesis' N0 gets wrong.
    """

    presets: tuple[str, ...]
    network: str
    table: str
    figure: str
    reference: Path
    thesis_errors: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The files of the part."""
        images = (f"figures/{self.figure}.{kind}" for kind in ("png", "svg"))
        return (*sheet_names(self.table), f"tables/{self.figure}.csv", *images)

    @property
    def number(self) -> str:
        """The table's number in the thesis, for example 4.9."""
        return self.table.removeprefix("table_").replace("_", ".")

    def files(self, runs: Sequence[Run]) -> dict[str, bytes]:
        """Return the content of each file; see `experiments.report.part.Part`.

        Raises:
            ReportError: Two runs of the network, or the reference lacks a column.
        """
        run = by_network(runs, PROBE_NAME).get(self.network)
        results = None if run is None else Results.of(run, self.network)
        scale = footnotes({} if run is None else {self.network: run}, (self.network,))
        base = None if run is None else run.header.figures
        images = draw(lambda figure: [*paint_curves(figure, self.network, results, base), *scale])
        return {
            **self._sheet(run, results).files(),
            f"tables/{self.figure}.csv": curves_csv(self.network, results).encode(),
            **{f"figures/{self.figure}.{kind}": image for kind, image in images.items()},
        }

    def _sheet(self, run: Run | None, results: Results | None) -> Sheet:
        printed = read_printed(self.reference, self.number, self.network)
        columns, lines = records(self.number, self.network, results, printed)
        return Sheet(
            name=self.table,
            heading=f"Table {self.number}",
            caption=caption(describe(self.network, run, self.thesis_errors), results),
            warnings=bold(self.network, run),
            blocks=blocks(results, printed),
            columns=columns,
            records=lines,
        )


def read_printed(path: Path, table: str, network: str) -> Printed:
    """Return the thesis' gradient rank and per cent of samples, by criterion and place from 1.

    Raises:
        ReportError: A column is missing.
    """
    reference = pd.read_csv(path, dtype={"table": str})
    absent = [name for name in REFERENCE_COLUMNS if name not in reference.columns]
    if absent:
        raise ReportError(f"{path.name} has no column {absent}")
    part = reference[(reference["table"] == table) & (reference["network"] == network)]
    columns = (part[name] for name in REFERENCE_COLUMNS[2:])
    return {
        (str(name), int(place)): (int(rank), float(share))
        for name, place, rank, share in zip(*columns, strict=True)
    }
