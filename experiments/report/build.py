"""Everything that is made from records: tables, figures, and a word on which records they are from."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from experiments.records.archive import Records
from experiments.records.files import write
from experiments.records.schema import Header, Run, subject
from experiments.report.figures import FigureSpec, render
from experiments.report.frames import Frames, build_frames, draws
from experiments.report.knowledge import Knowledge
from experiments.report.numbers import format_count, listing
from experiments.report.overview import all_methods
from experiments.report.part import Part
from experiments.report.render import markdown, table_csv, table_markdown, table_tex
from experiments.report.tables import TableSpec, evaluate

SOURCE = "tables/SOURCE.md"


@dataclass(frozen=True)
class Source:
    """What a file is made from: the headers of some runs of some presets."""

    presets: tuple[str, ...]
    headers: list[Header]

    @property
    def words(self) -> str:
        """The source in words, in Markdown."""
        presets = listing([f"`{preset}`" for preset in self.presets])
        return f"From {format_count(len(self.headers))} runs of {presets}"


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

    def sources(self, records: Records) -> dict[str, Source]:
        """Return what each file is made from."""
        main = [run.header for run in self.main_runs(records)]
        found = dict.fromkeys(self.main_names, Source(self.main_presets, main))
        for spec in (*self.tables, *self.figures):
            networks = spec.networks if isinstance(spec, FigureSpec) else (spec.network,)
            wanted = {(network, spec.setting, method) for network in networks for method in spec.methods}
            own = Source(self.main_presets, [header for header in main if subject(header.spec) in wanted])
            found |= {name: own for name in self.main_names if Path(name).stem == spec.name}
        return found | sources_of(self.parts, records)


def sources_of(parts: Sequence[Part], records: Records) -> dict[str, Source]:
    """Return what each file of some parts is made from."""
    found: dict[str, Source] = {}
    for part in parts:
        source = Source(part.presets, records.headers_of(*part.presets))
        found |= dict.fromkeys(part.names, source)
    return found


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
        source: Which records these are, in words, for `SOURCE`.

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
    files[SOURCE] = _source_text(records, source).encode()  # the last: it says that all are there
    return write_all(folder, files)


def _table_files(
    frames: Frames, definitions: Definitions, reference: pd.DataFrame
) -> Iterator[tuple[str, bytes]]:
    for spec in definitions.tables:
        table = evaluate(spec, frames, reference)
        for suffix, writer in (("csv", table_csv), ("md", table_markdown), ("tex", table_tex)):
            yield f"tables/{spec.name}.{suffix}", writer(table).encode()
    for suffix, text in all_methods(frames, definitions.knowledge).items():
        yield f"tables/all_methods.{suffix}", text.encode()


def write_all(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write files into a folder, each of them whole or not at all, and return where they are."""
    for name, content in files.items():
        write(folder / name, content)
    return [folder / name for name in files]


def run_ids_sha256(run_ids: Iterable[str]) -> str:
    """Return the SHA-256 of run ids, sorted, a line each: which records a report is from."""
    return hashlib.sha256("".join(f"{name}\n" for name in sorted(run_ids)).encode()).hexdigest()


def is_from(run_ids: Iterable[str], folder: Path, names: Iterable[str], page: str) -> bool:
    """Return whether files are all there, and the page among them that names its source from these runs."""
    there = all((folder / name).exists() for name in (*names, page))
    return there and run_ids_sha256(run_ids) in (folder / page).read_text()


def _source_text(records: Records, source: str) -> str:
    rows = sum(header.samples for header in records.headers)
    lines = []
    for preset in sorted(records.presets):
        own = records.headers_of(preset)
        counts = (len(own), sum(header.samples for header in own))
        lines.append([preset, *map(format_count, counts)])
    return (
        f"# Source of these tables and figures\n\n- records: {source}\n"
        f"- {format_count(len(records.runs))} runs, {format_count(rows)} rows (one per sample)\n"
        f"- SHA-256 of the sorted run ids: `{run_ids_sha256(records.runs)}`\n\n"
        f"{markdown(['preset', 'runs', 'rows'], lines)}"
    )
