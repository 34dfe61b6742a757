"""Everything that is made from records: tables, figures, and a word on which records they are from."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
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
from experiments.report.render import markdown
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


OVERVIEW = tuple(f"tables/all_methods.{kind}" for kind in ("csv", "md", "tex"))


@dataclass(frozen=True)
class Definitions:
    """What a report is made of.

    Attributes:
        main: Name of the preset whose runs the overview is of.
        tables, figures: Those of the thesis, each of the preset of its name.
        parts: What has presets of its own.
        knowledge: The level of each method, for the overview's caption.
        replicas: Presets with runs from replicas of N0: in the non-reloading setting these are more draws of the same.
    """

    main: str
    tables: tuple[TableSpec, ...]
    figures: tuple[FigureSpec, ...]
    parts: tuple[Part, ...] = ()
    knowledge: Knowledge = ()
    replicas: tuple[str, ...] = ()

    @property
    def specs(self) -> tuple[TableSpec | FigureSpec, ...]:
        """The tables and figures of the thesis."""
        return (*self.tables, *self.figures)

    @property
    def main_presets(self) -> tuple[str, ...]:
        """The presets behind the overview."""
        return (self.main, *self.replicas)

    def main_runs(self, records: Records) -> list[Run]:
        """Select the runs behind the overview."""
        return draws(records.of(*self.main_presets))

    @property
    def presets(self) -> dict[str, tuple[str, ...]]:
        """Whose runs each file is made from, by its name under the output folder."""
        found = dict.fromkeys(OVERVIEW, self.main_presets)
        for item in (*self.specs, *self.parts):
            found |= dict.fromkeys(item.names, item.presets)
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """Every file, under the output folder."""
        return tuple(self.presets)

    def sources(self, records: Records) -> dict[str, Source]:
        """Find what each file is made from."""
        main = Source(self.main_presets, [run.header for run in self.main_runs(records)])
        found = dict.fromkeys(OVERVIEW, main)
        for spec in self.specs:
            networks = spec.networks if isinstance(spec, FigureSpec) else (spec.network,)
            wanted = {(network, spec.setting, method) for network in networks for method in spec.methods}
            headers = [
                header for header in records.headers_of(*spec.presets) if subject(header.spec) in wanted
            ]
            found |= dict.fromkeys(spec.names, Source(spec.presets, headers))
        return found | sources_of(self.parts, records)


def sources_of(parts: Sequence[Part], records: Records) -> dict[str, Source]:
    """Return what each file of some parts is made from; a part of no preset has records of its own."""
    found: dict[str, Source] = {}
    for part in (part for part in parts if part.presets):
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
    files: dict[str, bytes] = {}
    shared = _SharedFrames(records, definitions)
    for table in definitions.tables:
        files |= evaluate(table, shared.of(table.presets), reference).sheet().files()
    overview = all_methods(shared.of(definitions.main_presets), definitions.knowledge)
    files |= {f"tables/all_methods.{suffix}": text.encode() for suffix, text in overview.items()}
    for figure in definitions.figures:
        images = render(figure, shared.of(figure.presets))
        files |= dict(zip(figure.names, images.values(), strict=True))
    for part in definitions.parts:
        files.update(part.files(records.of(*part.presets)))
    files[SOURCE] = _source_text(records, source).encode()  # the last: it says that all are there
    return write_all(folder, files)


class _SharedFrames:
    """The frames of the thesis' tables and figures and of the overview, built once: most runs are of several."""

    def __init__(self, records: Records, definitions: Definitions) -> None:
        self._records = records
        presets = (definitions.main_presets, *(spec.presets for spec in definitions.specs))
        self._frames = build_frames(draws(records.of(*dict.fromkeys(chain(*presets)))))

    def of(self, presets: Sequence[str]) -> Frames:
        """Select the runs of some presets."""
        ids = [header.run_id for header in self._records.headers_of(*presets)]
        samples, runs = self._frames.samples, self._frames.runs
        return Frames(samples[samples["run_id"].isin(ids)], runs[runs["run_id"].isin(ids)])


def write_all(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write files into a folder, each of them whole or not at all, and return where they are."""
    for name, content in files.items():
        write(folder / name, content)
    return [folder / name for name in files]


def run_ids_sha256(run_ids: Iterable[str]) -> str:
    """Return the SHA-256 of run ids, sorted, a line each: which records a report is from."""
    return hashlib.sha256("".join(f"{name}\n" for name in sorted(run_ids)).encode()).hexdigest()


def is_from(run_ids: Iterable[str], folder: Path, names: Iterable[str], page: str) -> bool:
    """Return whether files are all there, and the page among them that names its source from these runs.

    Figures as svg may be missing: a clone comes without these.
    """
    there = all((folder / name).exists() for name in (*names, page) if not name.endswith(".svg"))
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
