"""Everything that is made from records: tables, figures, and a word on which records they are from."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from experiments.records.archive import Records
from experiments.records.schema import Header, Run, subject
from experiments.report.figures import FigureSpec, render
from experiments.report.frames import Frames, build_frames, draws
from experiments.report.knowledge import Knowledge
from experiments.report.numbers import format_count
from experiments.report.overview import all_methods_csv, all_methods_markdown, all_methods_tex
from experiments.report.part import Part
from experiments.report.readme import insert_between_markers, result_table
from experiments.report.tables import TableSpec, evaluate

__all__ = ["Definitions", "build", "insert_between_markers", "result_table"]


@dataclass(frozen=True)
class Definitions:
    """What a report is made of.

    Attributes:
        main: Name of the preset whose runs `tables`, `figures` and the overview are of.
        replicas: Presets with runs from replicas of N0: in the non-reloading setting these are more draws of the same.
        tables, figures: Those of the thesis.
        parts: What has presets of its own.
        knowledge: The level of each method, for the overview's caption.
    """

    main: str
    tables: tuple[TableSpec, ...]
    figures: tuple[FigureSpec, ...]
    parts: tuple[Part, ...] = ()
    knowledge: Knowledge = ()
    replicas: tuple[str, ...] = ()

    @property
    def main_presets(self) -> tuple[str, ...]:
        """The presets behind `main_names`."""
        return (self.main, *self.replicas)

    def main_runs(self, records: Records) -> list[Run]:
        """Select the runs behind `main_names`."""
        return draws(records.of(*self.main_presets))

    @property
    def main_names(self) -> tuple[str, ...]:
        """The files that are made from the main preset, under the output folder."""
        tables = [f"tables/{table.name}.{kind}" for table in self.tables for kind in ("csv", "md", "tex")]
        overview = [f"tables/all_methods.{kind}" for kind in ("csv", "md", "tex")]
        figures = [f"figures/{figure.name}.{kind}" for figure in self.figures for kind in ("png", "svg")]
        return (*tables, *overview, *figures)

    @property
    def names(self) -> tuple[str, ...]:
        """Every file, under the output folder."""
        return (*self.main_names, *(name for part in self.parts for name in part.names))

    def sources(self, records: Records) -> dict[str, list[Header]]:
        """Return the headers of the runs that each file is made from."""
        main = [run.header for run in self.main_runs(records)]
        found = dict.fromkeys(self.main_names, main)
        specs: tuple[TableSpec | FigureSpec, ...] = (*self.tables, *self.figures)
        for spec in specs:
            networks = (spec.network,) if isinstance(spec, TableSpec) else spec.networks
            own = [header for header in main if _is_of(header, networks, spec.setting, spec.methods)]
            found |= {name: own for name in self.main_names if Path(name).stem == spec.name}
        for part in self.parts:
            found |= dict.fromkeys(part.names, records.headers_of(*part.presets))
        return found


def _is_of(header: Header, networks: Sequence[str], setting: str, methods: Sequence[str]) -> bool:
    network, own, method = subject(header.spec)
    return network in networks and own == setting and method in methods


def build(
    records: Records, definitions: Definitions, reference: pd.DataFrame, folder: Path, source: str
) -> list[Path]:
    """Write every table to `folder/tables` and every figure to `folder/figures`.

    Each file is written beside its place and renamed into it. The same records give the same bytes, in
    whatever order the runs come.

    Args:
        records: The runs, and which preset they are of.
        definitions: What to make of them.
        reference: The values of the thesis, from `experiments.report.tables.read_reference`.
        folder: Made where it does not exist.
        source: Which records these are, in words, for `tables/SOURCE.md`.

    Returns:
        The files written.

    Raises:
        ReportError: Two runs of a table have the same network, setting, method and seed.
    """
    frames = build_frames(definitions.main_runs(records))
    files = dict(_table_files(frames, definitions, reference))
    for spec in definitions.figures:
        for kind, image in render(spec, frames).items():
            files[f"figures/{spec.name}.{kind}"] = image
    for part in definitions.parts:
        files.update(part.files(records.of(*part.presets)))
    files["tables/SOURCE.md"] = _source_text(records, source).encode()  # the last: it says that all are there
    return [write(folder / name, content) for name, content in files.items()]


def _table_files(
    frames: Frames, definitions: Definitions, reference: pd.DataFrame
) -> Iterator[tuple[str, bytes]]:
    for spec in definitions.tables:
        yield from evaluate(spec, frames, reference).sheet().files().items()
    yield "tables/all_methods.csv", all_methods_csv(frames).encode()
    for suffix, write in (("md", all_methods_markdown), ("tex", all_methods_tex)):
        yield f"tables/all_methods.{suffix}", write(frames, definitions.knowledge).encode()


def write(path: Path, content: bytes) -> Path:
    """Write a whole file or none of it, beside its place first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    os.replace(partial, path)
    return path


def run_ids_sha256(run_ids: Iterable[str]) -> str:
    """Return the SHA-256 of run ids, sorted, a line each: which records a report is from."""
    return hashlib.sha256("".join(f"{name}\n" for name in sorted(run_ids)).encode()).hexdigest()


def is_built_from(folder: Path, run_ids: Iterable[str]) -> bool:
    """Return whether the report in `folder` is from the runs with these ids."""
    source = folder / "tables" / "SOURCE.md"
    return source.exists() and run_ids_sha256(run_ids) in source.read_text()


def _source_text(records: Records, source: str) -> str:
    rows = sum(header.samples for header in records.headers)
    lines = [
        "# Source of these tables and figures",
        "",
        f"- records: {source}",
        f"- {format_count(len(records.runs))} runs, {format_count(rows)} rows (one per sample)",
        f"- SHA-256 of the sorted run ids: `{run_ids_sha256(records.runs)}`",
        "",
        "| preset | runs | rows |",
        "| --- | ---: | ---: |",
    ]
    for preset in sorted(records.presets):
        own = records.headers_of(preset)
        count = sum(header.samples for header in own)
        lines.append(f"| {preset} | {format_count(len(own))} | {format_count(count)} |")
    return "\n".join(lines) + "\n"
