"""The report: parts that only it has, the tables and figures that are built already, one document of them all."""

import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from experiments.records.archive import Records
from experiments.records.schema import Run
from experiments.report.build import Source, names_of, run_ids_sha256, sources_of, write_all
from experiments.report.frames import ReportError
from experiments.report.numbers import format_count
from experiments.report.page import Document, compose
from experiments.report.part import Part
from experiments.report.provenance import FRAGMENT, RUNS, caveats, provenance_files, refuse_mixtures

PAGES = ("report/report.md", "report/index.html")


@dataclass(frozen=True)
class Report:
    """Parts that are made with the report, and a document that names their files and others, in reading order."""

    parts: tuple[Part, ...]
    document: Document

    @property
    def names(self) -> tuple[str, ...]:
        """The files that it makes, under the output folder."""
        return (*names_of(self.parts), FRAGMENT, RUNS, *PAGES)


def assemble(records: Records, built: Sequence[Part], report: Report, folder: Path) -> list[Path]:
    """Write the files of a report into the output folder, where the built tables and figures are, and return them.

    Raises:
        ReportError: Different versions of a component made the records, or a table or figure is not there.
    """
    refuse_mixtures(records.headers)
    known = sources_of((*built, *report.parts), records)
    named = [item.name for item in report.document.items]
    sources = {name: known[name] for name in named if name in known}
    files = _made(report.parts, records)
    files |= provenance_files(records.headers, {name: source.headers for name, source in sources.items()})
    others = {name: _read(folder / name) for name in named if name not in files}
    lead = [report.document.lead, _about(records), *(f"**{line}**" for line in caveats(records.headers))]
    notes = {name: f"{source.words} ([which](../report/provenance.md))." for name, source in sources.items()}
    files |= compose(replace(report.document, lead="\n\n".join(lead)), files | others, notes)
    # The pages come last: they say that all is there.
    return write_all(folder, {name: files[name] for name in report.names})


def _made(parts: Sequence[Part], records: Records) -> dict[str, bytes]:
    """Return the files of parts, made in as many processes as there are cores: drawing takes most of the time."""
    # Read once, before there are processes.
    given = {part: Source.of(part, records).runs(records) for part in parts}
    processes = min(os.cpu_count() or 1, len(parts)) if sys.platform == "linux" else 1
    if processes < 2:  # elsewhere a fork is not safe, and anything else would have to read the records again
        made = [part.files(runs) for part, runs in given.items()]
    else:
        fork = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(processes, fork, initializer=_given.update, initargs=(given,)) as pool:
            made = list(pool.map(_files_of, parts))
    return {name: content for files in made for name, content in files.items()}


_given: dict[Part, list[Run]] = {}  # in a process of `_made`: the runs of each part


def _files_of(part: Part) -> dict[str, bytes]:
    return part.files(_given[part])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ReportError(f"{path} is missing: the tables and figures are built before the report") from None


def _about(records: Records) -> str:
    rows = sum(header.samples for header in records.headers)
    return (
        f"It is from {format_count(len(records.runs))} runs with {format_count(rows)} rows; SHA-256 of the sorted run"
        f" ids: `{run_ids_sha256(records.runs)}`."
    )
