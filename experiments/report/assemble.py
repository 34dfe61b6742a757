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
from experiments.report.page import FOLDER, THUMBNAILS, Chapter, Document, compose
from experiments.report.part import Part
from experiments.report.provenance import FRAGMENT, RUNS, provenance_files, refuse_mixtures


@dataclass(frozen=True)
class Report:
    """Parts that are made with the report, and documents that name their files and others, in reading order.

    A document without a Markdown text is the appendix: it alone says of each file which runs it is from.
    """

    parts: tuple[Part, ...]
    documents: tuple[Document, ...]

    @property
    def pages(self) -> tuple[str, ...]:
        """The files of the documents."""
        names = (name for document in self.documents for name in (document.text, document.page) if name)
        return tuple(f"{FOLDER}/{name}" for name in names)

    @property
    def names(self) -> tuple[str, ...]:
        """The files that it makes, under the output folder."""
        return (*names_of(self.parts), FRAGMENT, RUNS, *self.pages)


def assemble(records: Records, built: Sequence[Part], report: Report, folder: Path) -> list[Path]:
    """Write the files of a report into the output folder, where the built tables and figures are, and return them.

    Raises:
        ReportError: Different versions of a component made the records, or a table or figure is not there.
    """
    refuse_mixtures(records.headers)
    known = sources_of((*built, *report.parts), records)
    named = [item.name for document in report.documents for item in document.items if item.name != THUMBNAILS]
    sources = {name: known[name] for name in named if name in known}
    files = _made(report.parts, records)
    files |= provenance_files(records.headers, {name: source.headers for name, source in sources.items()})
    there = files | {name: _read(folder / name) for name in named if name not in files}
    notes = {name: f"{source.words} ([which](../report/provenance.md))." for name, source in sources.items()}
    foot = _about(records)
    for document in report.documents:
        others = [other for other in report.documents if other is not document]
        own = replace(document, chapters=(*document.chapters, Chapter("Records", foot)))
        files |= compose(own, there, {} if document.text else notes, others)
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
        f"From {format_count(len(records.runs))} runs with {format_count(rows)} rows; SHA-256 of the sorted run"
        f" ids: `{run_ids_sha256(records.runs)}` ([which, and how they were made](provenance.md))."
    )
