"""Everything that is made from records: tables, figures, and a word on which records they are from."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from experiments.records.archive import Records
from experiments.records.files import write
from experiments.records.schema import Header, Run
from experiments.report.numbers import format_count, listing
from experiments.report.part import Part
from experiments.report.render import markdown

SOURCE = "tables/SOURCE.md"


@runtime_checkable
class Choosing(Protocol):
    """A part that shows only some of the runs of its presets."""

    def shows(self, header: Header) -> bool: ...  # noqa: D102


@dataclass(frozen=True)
class Source:
    """What a part is made from: the headers of some runs of some presets."""

    presets: tuple[str, ...]
    headers: list[Header]

    @classmethod
    def of(cls, part: Part, records: Records) -> "Source":
        """Find what a part is made from."""
        headers = records.headers_of(*part.presets)
        if isinstance(part, Choosing):
            headers = [header for header in headers if part.shows(header)]
        return cls(part.presets, headers)

    @property
    def words(self) -> str:
        """The source in words, in Markdown."""
        presets = listing([f"`{preset}`" for preset in self.presets])
        return f"From {format_count(len(self.headers))} runs of {presets}"

    def runs(self, records: Records) -> list[Run]:
        """Read the runs."""
        return [records.runs[header.run_id] for header in self.headers]


def names_of(parts: Iterable[Part]) -> list[str]:
    """Name the files of some parts, under the output folder."""
    return [name for part in parts for name in part.names]


def sources_of(parts: Iterable[Part], records: Records) -> dict[str, Source]:
    """Find what each file of some parts is made from; a part of no preset has records of its own."""
    own = [(part, Source.of(part, records)) for part in parts if part.presets]
    return {name: source for part, source in own for name in part.names}


def build(records: Records, parts: Sequence[Part], folder: Path, source: str) -> list[Path]:
    """Write the files of parts under a folder, made where it does not exist, and return where they are.

    Each file is written beside its place and renamed into it. The same records give the same bytes, in
    whatever order the runs come. `SOURCE` says which records these are, and repeats the `source` in words.

    Raises:
        ReportError: Two runs of a table have the same network, setting, method and seed.
    """
    files: dict[str, bytes] = {}
    for part in parts:
        files |= part.files(Source.of(part, records).runs(records))
    files[SOURCE] = _source_text(records, source).encode()  # the last: it says that all are there
    return write_all(folder, files)


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
    counts = {preset: [header.samples for header in records.headers_of(preset)] for preset in records.presets}
    lines = [
        [preset, format_count(len(rows)), format_count(sum(rows))] for preset, rows in sorted(counts.items())
    ]
    rows = sum(header.samples for header in records.headers)
    return (
        f"# Source of these tables and figures\n\n- records: {source}\n"
        f"- {format_count(len(records.runs))} runs, {format_count(rows)} rows (one per sample)\n"
        f"- SHA-256 of the sorted run ids: `{run_ids_sha256(records.runs)}`\n\n"
        f"{markdown(['preset', 'runs', 'rows'], lines)}"
    )
