"""Tables as definitions, and their values from records beside those of the thesis."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.records.schema import Header, Run, subject
from experiments.report.captions import describe_base, describe_left_out, describe_scale, warnings
from experiments.report.frames import Frames, ReportError, drawn, method_of
from experiments.report.metrics import METRICS, MISSING, Summary, absent, corrected, measure
from experiments.report.numbers import format_count, format_printed, format_summary, listing
from experiments.report.part import UNTOLD, Thesis, words
from experiments.report.render import SUMMARY, summary_values
from experiments.report.sheet import Block, Sheet
from experiments.report.style import method_order, method_style, network_label, setting_label

CARRIED = 0.3  # of a mean, by one sample: said in the caption
REFERENCE_COLUMNS = ["table", "network", "setting", "metric", "method", "mean", "sd"]


@dataclass(frozen=True)
class TableSpec:
    """What a table shows.

    Attributes:
        name: Of its files, for example `table_4_1`.
        title: What it compares.
        network, setting: Whose runs.
        methods: The columns, in the order of the thesis.
        metrics: The rows: names in `experiments.report.metrics.METRICS`.
        common_samples: Whether every row but those per seed uses only the samples that all methods corrected
            (section 4.5 of the thesis), seed by seed.
        thesis: For the caption.
        replicas: Presets with more draws of the non-reloading setting: replicas of N0, other orders, other N0.
        preset: Whose runs, where that is not the preset of its name but one of a larger scale.
    """

    name: str
    title: str
    network: str
    setting: str
    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    common_samples: bool = False
    thesis: Thesis = UNTOLD
    replicas: tuple[str, ...] = ()
    preset: str = ""

    def __post_init__(self) -> None:
        unknown = [name for name in self.metrics if name not in METRICS]
        if unknown:
            raise ReportError(f"{self.name}: no metric {unknown}; there are {sorted(METRICS)}")

    @property
    def number(self) -> str:
        """The number in the thesis, for example 4.1, also of `table_4_1_full`."""
        chapter, place = self.name.split("_")[1:3]
        return f"{chapter}.{place}"

    @property
    def heading(self) -> str:
        """Its number in words."""
        return f"Table {self.number}" + (", larger scale" if self.preset else "")

    @property
    def presets(self) -> tuple[str, ...]:
        """Whose runs: those of its preset, and of its replicas."""
        return (self.preset or self.name, *self.replicas)

    @property
    def names(self) -> tuple[str, ...]:
        """Its files, under the output folder."""
        return tuple(f"tables/{self.name}.{kind}" for kind in ("csv", "md", "tex"))

    def shows(self, header: Header) -> bool:
        """Whether it is a run of the table: of replicas there are other methods too."""
        about = (*subject(header.spec)[:2], method_of(header.spec))
        return about in {(self.network, self.setting, method) for method in self.methods}

    def files(self, runs: Sequence[Run]) -> dict[str, bytes]:
        """Make the files; see `experiments.report.part.Part`."""
        return evaluate(self, drawn(runs), read_reference(self.thesis.tables)).sheet().files()

    @property
    def per_sample(self) -> list[str]:
        """The metrics with a value per sample."""
        return [name for name in self.metrics if METRICS[name].over == "samples"]


@dataclass(frozen=True)
class Cell:
    """One value, and the one that the thesis prints (None where it prints none)."""

    metric: str
    method: str
    ours: Summary
    thesis_mean: float | None = None
    thesis_sd: float | None = None

    @property
    def values(self) -> tuple[object, ...]:
        """For the csv file."""
        ours = self.ours
        return (*summary_values(ours), self.thesis_mean, self.thesis_sd)

    def text(self, shown: Callable[[Summary], str]) -> str:
        """Return what is shown of ours; a dagger points at the caption."""
        return f"{MISSING} †" if self.ours.note == MISSING else shown(self.ours)


@dataclass(frozen=True)
class Table:
    """A table with its values by metric and method, the caption as plain text, and what must not be overlooked."""

    spec: TableSpec
    cells: dict[tuple[str, str], Cell]
    caption: str
    warnings: list[str]

    def sheet(self) -> Sheet:
        """Lay it out: ours above the thesis' values, the numbers of the csv file in full precision."""
        return Sheet(
            self.spec.name,
            self.spec.heading,
            [self.caption],
            self.warnings,
            [Block("", ["", "", *(method_style(name).label for name in self.spec.methods)], self._lines())],
            ("metric", "method", *SUMMARY, "thesis_mean", "thesis_sd"),
            [
                [*key, *("" if value is None else str(value) for value in self.cells[key].values)]
                for key in product(self.spec.metrics, self.spec.methods)
            ],
        )

    def _lines(self) -> list[list[str]]:
        """Return the lines: metric, whose value, one column per method.

        A metric that the thesis prints has a second line with the thesis' values; the last line counts samples.
        """
        lines = []
        for metric in self.spec.metrics:
            cells = [self.cells[metric, method] for method in self.spec.methods]
            lines.append([METRICS[metric].label, "ours", *(cell.text(format_summary) for cell in cells)])
            if any(cell.thesis_mean is not None for cell in cells):
                theirs = (format_printed(cell.thesis_mean, cell.thesis_sd) for cell in cells)
                lines.append(["", "thesis", *theirs])
        for metric in self.spec.per_sample[:1]:  # without those left out: the caption counts them
            cells = [self.cells[metric, method] for method in self.spec.methods]
            lines.append(["n", "ours", *(cell.text(lambda ours: format_count(ours.n)) for cell in cells)])
        return lines


@cache
def read_reference(path: Path) -> pd.DataFrame:
    """Read the values of the thesis: `table` ("4.1"), `network`, `setting`, `metric`, `method`, `mean`, `sd`.

    Raises:
        ReportError: A column is missing.
    """
    return with_columns(pd.read_csv(path, dtype={"table": str}), path, REFERENCE_COLUMNS)


def with_columns(reference: pd.DataFrame, path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Return what was read from a file, if it has some columns.

    Raises:
        ReportError: A column is missing.
    """
    lacking = [name for name in columns if name not in reference.columns]
    if lacking:
        raise ReportError(f"{path.name} has no column {lacking}")
    return reference


def read_texts(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a reference file as texts: what is printed keeps its digits.

    Raises:
        ReportError: A column is missing.
    """
    return with_columns(pd.read_csv(path, dtype=str, keep_default_na=False), path, columns)


Printed = tuple[float, float | None]
NotPrinted = tuple[None, None]
NOT_PRINTED: NotPrinted = (None, None)


def printed(reference: pd.DataFrame | Path, *tables: str) -> dict[tuple[str, str], Printed]:
    """Return mean and sd that the thesis prints, by metric and method, from the first of some tables that has them.

    Args:
        reference: As `read_reference` gives it, or its file; the empty path prints nothing.
        *tables: Their numbers, for example "4.1".
    """
    if isinstance(reference, Path):
        if reference == Path():
            return {}
        reference = read_reference(reference)
    found: dict[tuple[str, str], Printed] = {}
    for table in tables:
        part = reference[reference["table"] == table]
        for metric, method, mean, sd in part[REFERENCE_COLUMNS[3:]].itertuples(index=False, name=None):
            found.setdefault((metric, method), (mean, None if pd.isna(sd) else sd))
    return found


def common_samples(samples: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Return the rows of the (seed, sample) pairs that every one of the methods corrected."""
    rows = samples[corrected(samples)]
    count = rows.groupby(["seed", "index"])["method"].transform("nunique")
    return rows[np.asarray(count == len(set(methods)), dtype=np.bool_)]


def evaluate(spec: TableSpec, frames: Frames, reference: pd.DataFrame) -> Table:
    """Return the table's values from the frames of any runs, beside those of `read_reference`."""
    chosen = frames.select(network=spec.network, setting=spec.setting, method=spec.methods)
    shared = common_samples(chosen.samples, spec.methods) if spec.common_samples else chosen.samples
    theirs = printed(reference, spec.number)
    cells = {}
    for method in spec.methods:
        own, part = chosen.select(method=method), shared[shared["method"] == method]
        for name in spec.metrics:
            metric = METRICS[name]
            ours = measure(own.samples if metric.over == "seeds" else part, metric)
            if own.runs.empty:
                ours = metric.absent
            elif ours.mean is None and spec.common_samples and part.empty:
                ours = absent(metric.over, "no common sample")
            cells[name, method] = Cell(name, method, ours, *theirs.get((name, method), NOT_PRINTED))
    return Table(spec, cells, _caption(spec, chosen, cells), warnings(chosen.runs))


def _caption(spec: TableSpec, chosen: Frames, cells: dict[tuple[str, str], Cell]) -> str:
    """Return what is particular to the table, without its warnings: the terms are in the report's legend."""
    told = words("tables")
    lacking = {cell.method for cell in cells.values() if cell.ours.note == MISSING}
    left_out = ((METRICS[cell.metric].label, cell.method, cell.ours.left_out) for cell in cells.values())
    sentences = [
        f"{spec.title} {network_label(spec.network)}, {setting_label(spec.setting)} setting.",
        describe_base(chosen.runs, spec.thesis.errors_of(spec.network)),
        describe_scale(chosen.runs),
        _about_common(spec, cells) if spec.common_samples else "",
        *(_carried(cell.method, cell.ours) for cell in cells.values()),
        describe_left_out(left_out),
        told["missing"].format(methods=_labels(method_order(lacking))) if lacking else "",
    ]
    return " ".join(filter(None, sentences))


def _carried(method: str, ours: Summary) -> str:
    """Say of a mean that a single sample carries it."""
    if not ours.tailed or not CARRIED <= ours.carried < np.inf:
        return ""
    share = f"{100 * min(ours.carried, 1):.0f} %"
    return f"One correction makes {share} of {method_style(method).label}'s mean ΔTL."


def _labels(methods: Sequence[str]) -> str:
    return listing([method_style(name).label for name in methods])


def _about_common(spec: TableSpec, cells: dict[tuple[str, str], Cell]) -> str:
    count = max(cells[name, method].ours.n for name in spec.per_sample for method in spec.methods)
    pairs = f"the {format_count(count)} pairs of seed and sample"
    return f"Rows other than POC use only {pairs} that {_labels(spec.methods)} all corrected."
