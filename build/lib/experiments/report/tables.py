"""Tables as definitions, and their values from records beside those of the thesis."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.records.schema import NON_RELOADING
from experiments.report.captions import describe_base, describe_scale, over_seeds, warnings
from experiments.report.frames import Frames, ReportError
from experiments.report.knowledge import Knowledge, describe_knowledge
from experiments.report.metrics import METRICS, MISSING, Summary, corrected, measure
from experiments.report.numbers import format_count, listing
from experiments.report.style import method_order, method_style, network_label, setting_label

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
        thesis_errors: How many test images the thesis' N0 gets wrong.
        knowledge: The level of each method, for the caption.
        replicas: Presets with runs from replicas of N0, in the non-reloading setting more draws of the same.
    """

    name: str
    title: str
    network: str
    setting: str
    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    common_samples: bool = False
    thesis_errors: int | None = None
    knowledge: Knowledge = ()
    replicas: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = [name for name in self.metrics if name not in METRICS]
        if unknown:
            raise ReportError(f"{self.name}: no metric {unknown}; there are {sorted(METRICS)}")

    @property
    def number(self) -> str:
        """The number in the thesis, for example 4.1."""
        return self.name.removeprefix("table_").replace("_", ".")

    @property
    def presets(self) -> tuple[str, ...]:
        """Whose runs: the preset of its name, and those of its replicas."""
        return (self.name, *self.replicas)

    @property
    def names(self) -> tuple[str, ...]:
        """Its files, under the output folder."""
        return tuple(f"tables/{self.name}.{kind}" for kind in ("csv", "md", "tex"))


@dataclass(frozen=True)
class Cell:
    """One value, and the one that the thesis prints (None where it prints none)."""

    metric: str
    method: str
    ours: Summary
    thesis_mean: float | None = None
    thesis_sd: float | None = None


@dataclass(frozen=True)
class Table:
    """A table with its values.

    Attributes:
        spec: Its definition.
        cells: By metric and method.
        caption: Plain text.
        warnings: What must not be overlooked.
    """

    spec: TableSpec
    cells: dict[tuple[str, str], Cell]
    caption: str
    warnings: list[str]


@cache
def read_reference(path: Path) -> pd.DataFrame:
    """Read the values of the thesis: `table` ("4.1"), `network`, `setting`, `metric`, `method`, `mean`, `sd`.

    Raises:
        ReportError: A column is missing.
    """
    reference = pd.read_csv(path, dtype={"table": str})
    absent = [name for name in REFERENCE_COLUMNS if name not in reference.columns]
    if absent:
        raise ReportError(f"{path} has no column {absent}")
    return reference


def common_samples(samples: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Return the rows of the (seed, sample) pairs that every one of the methods corrected."""
    rows = samples[corrected(samples)]
    count = rows.groupby(["seed", "index"])["method"].transform("nunique")
    return rows[np.asarray(count == len(set(methods)), dtype=np.bool_)]


def evaluate(spec: TableSpec, frames: Frames, reference: pd.DataFrame) -> Table:
    """Return the table's values.

    Args:
        spec: The table.
        frames: Of any runs; those of other networks, settings and methods are not looked at.
        reference: As `read_reference` gives it.
    """
    chosen = frames.select(network=spec.network, setting=spec.setting)
    chosen = Frames(*(frame[frame["method"].isin(spec.methods)] for frame in (chosen.samples, chosen.runs)))
    shared = common_samples(chosen.samples, spec.methods) if spec.common_samples else chosen.samples
    printed = _printed(reference[reference["table"] == spec.number])
    cells = {}
    for method in spec.methods:
        own, part = chosen.select(method=method), shared[shared["method"] == method]
        for name in spec.metrics:
            metric = METRICS[name]
            ours = measure(own.samples if metric.over == "seeds" else part, metric)
            if own.runs.empty:
                ours = Summary(None, None, 0, metric.over, note=MISSING)
            elif ours.mean is None and spec.common_samples and part.empty:
                ours = Summary(None, None, 0, metric.over, note="no common sample")
            cells[name, method] = Cell(name, method, ours, *printed.get((name, method), (None, None)))
    return Table(spec, cells, _caption(spec, chosen, cells), warnings(chosen.runs))


def _printed(values: pd.DataFrame) -> dict[tuple[str, str], tuple[float, float | None]]:
    columns = (values[name] for name in ("metric", "method", "mean", "sd"))
    return {
        (str(metric), str(method)): (float(mean), None if pd.isna(sd) else float(sd))
        for metric, method, mean, sd in zip(*columns, strict=True)
    }


def _caption(spec: TableSpec, chosen: Frames, cells: dict[tuple[str, str], Cell]) -> str:
    """Return the caption without its warnings."""
    parts = [
        f"{spec.title} {network_label(spec.network)}, {setting_label(spec.setting)} setting.",
        describe_base(chosen.runs, spec.thesis_errors),
        describe_scale(chosen.runs),
        describe_knowledge(spec.methods, spec.knowledge),
        _meaning(spec, over_seeds(chosen.runs)),
        _about_common(spec, cells) if spec.common_samples else "",
        _about_sign(spec),
        _about_left_out(cells),
        _about_missing(spec, cells),
    ]
    return " ".join(part for part in parts if part)


def _meaning(spec: TableSpec, seeds: str) -> str:
    """Return the sentence that defines the means and every ±."""
    labels = [
        METRICS[name].label.removesuffix(" (%)") for name in spec.metrics if METRICS[name].over == "seeds"
    ]
    text = f"Ours: mean ± sample standard deviation (ddof = 1), over {seeds} for {listing(labels)}"
    if len(labels) < len(spec.metrics):
        text += (
            ", and for every other row over the pooled pairs of seed and sample that the method corrected"
            " (their number n is in the last row)"
        )
    rounding = ""
    if spec.setting == NON_RELOADING:
        rounding = (
            " In this setting a decision that rounding turns changes all that follow: runs from replicas of N0, each"
            " parameter a neighbouring float or the same, are draws like other seeds, and a method without any has no ±"
            " (table `rounding`)."
        )
    return (
        f"{text}; no ± stands where there is one value.{rounding} The thesis does not say what its ± is over."
    )


def _about_common(spec: TableSpec, cells: dict[tuple[str, str], Cell]) -> str:
    per_sample = [name for name in spec.metrics if METRICS[name].over == "samples"]
    count = max(cells[name, method].ours.n for name in per_sample for method in spec.methods)
    methods = listing([method_style(name).label for name in spec.methods])
    pairs = f"the {format_count(count)} pairs of seed and sample"
    return f"Rows other than POC use only {pairs} that {methods} all corrected."


def _about_sign(spec: TableSpec) -> str:
    if "dTA" not in spec.metrics:
        return ""
    return "ΔTA is signed here, negative for a loss of accuracy; the thesis prints |ΔTA|."


def _about_left_out(cells: dict[tuple[str, str], Cell]) -> str:
    """Return how many values were not finite, by metric and method."""
    counts = [
        f"{METRICS[cell.metric].label} of {method_style(cell.method).label}: {cell.ours.left_out:,}"
        for cell in cells.values()
        if cell.ours.left_out
    ]
    return f"Rows left out because a loss is not finite: {'; '.join(counts)}." if counts else ""


def _about_missing(spec: TableSpec, cells: dict[tuple[str, str], Cell]) -> str:
    absent = {cell.method for cell in cells.values() if cell.ours.note == MISSING}
    if not absent:
        return ""
    names = listing([method_style(name).label for name in method_order(absent)])
    return f"† missing: no run of {names} in this setting is among the records."
