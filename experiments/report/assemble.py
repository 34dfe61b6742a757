"""The report: parts that only it has, the tables and figures that are built already, one document of them all."""

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from experiments.records.archive import Records
from experiments.records.schema import Header, Run
from experiments.report.build import Definitions, run_ids_sha256, write
from experiments.report.frames import ReportError
from experiments.report.numbers import format_count, listing
from experiments.report.page import Document, Figure, Fragment, compose
from experiments.report.part import Part
from experiments.report.provenance import FRAGMENT, RUNS, caveats, provenance_files, refuse_mixtures
from experiments.report.readme import result_table

HEADLINE = "report/headline.md"  # the README's result table
PAGES = ("report/report.md", "report/index.html")


@dataclass(frozen=True)
class Report:
    """What a report is made of, beside the tables and figures of `Definitions`.

    Attributes:
        parts: Made with the report.
        document: Names their files and those of `Definitions`, in reading order.
    """

    parts: tuple[Part, ...]
    document: Document

    @property
    def names(self) -> tuple[str, ...]:
        """The files that it makes, under the output folder."""
        own = [name for part in self.parts for name in part.names]
        return (*own, HEADLINE, FRAGMENT, RUNS, *PAGES)


def assemble(records: Records, definitions: Definitions, report: Report, folder: Path) -> list[Path]:
    """Write the files of a report and return them.

    Args:
        records: The runs, the same that the tables and figures in `folder` were built from.
        definitions: Of those.
        report: What to make.
        folder: The output folder.

    Raises:
        ReportError: Different versions of a component made the records, or a table or figure is not there.
    """
    every = records.headers
    refuse_mixtures(every)
    sources = _sources(records, definitions, report)
    files = _made(report.parts, records)
    files[HEADLINE] = result_table(definitions.main_runs(records)).encode()
    files |= provenance_files(every, sources)
    built = {name: _read(folder / name) for name in report.document.names if name not in files}
    document, annotated = _annotated(
        report.document, files | built, _notes(records, definitions, report, sources)
    )
    lead = "\n\n".join([document.lead, _about(records), *(f"**{line}**" for line in caveats(every))])
    files |= compose(replace(document, lead=lead), annotated)
    # The pages come last: they say that all is there.
    return [write(folder / name, files[name]) for name in report.names]


def is_assembled_from(folder: Path, run_ids: Sequence[str], report: Report) -> bool:
    """Return whether every file of the report is there, from the runs with these ids."""
    page = folder / PAGES[0]
    there = all((folder / name).exists() for name in report.names)
    return there and run_ids_sha256(run_ids) in page.read_text()


def _made(parts: Sequence[Part], records: Records) -> dict[str, bytes]:
    """Return the files of parts, made in as many processes as there are cores: drawing takes most of the time."""
    given = {part: records.of(*part.presets) for part in parts}  # read once, before there are processes
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
    """Return how much the report is from."""
    rows = sum(header.samples for header in records.headers)
    return (
        f"It is from {format_count(len(records.runs))} runs with {format_count(rows)} rows; SHA-256 of the sorted run"
        f" ids: `{run_ids_sha256(records.runs)}`."
    )


def _sources(records: Records, definitions: Definitions, report: Report) -> dict[str, list[Header]]:
    """Return the headers of the runs behind each file of the document."""
    sources = definitions.sources(records)
    for part in report.parts:
        sources |= dict.fromkeys(part.names, records.headers_of(*part.presets))
    sources[HEADLINE] = [run.header for run in definitions.main_runs(records)]
    return {name: sources[name] for name in report.document.names if name in sources}


def _notes(
    records: Records, definitions: Definitions, report: Report, sources: Mapping[str, Sequence[Header]]
) -> dict[str, str]:
    """Return, by file, how many runs of which presets it is from."""
    presets = definitions.presets | {HEADLINE: definitions.main_presets}
    for part in report.parts:
        presets |= dict.fromkeys(part.names, part.presets)
    return {
        name: f"From {format_count(len(headers))} runs of {listing([f'`{preset}`' for preset in presets[name]])}"
        for name, headers in sources.items()
    }


def _annotated(
    document: Document, files: Mapping[str, bytes], notes: Mapping[str, str]
) -> tuple[Document, dict[str, bytes]]:
    """Return a document and its files with a line below each item on the runs that it is from."""
    contents = dict(files)
    chapters = []
    for chapter in document.chapters:
        items: list[Fragment | Figure] = []
        for item in chapter.items:
            note = notes.get(item.name)
            if note and isinstance(item, Figure):
                item = replace(item, caption=f"{item.caption} {note} ([which](provenance.md)).".strip())
            elif note:
                text = files[item.name].decode().rstrip()
                contents[item.name] = f"{text}\n\n{note} ([which](../report/provenance.md)).\n".encode()
            items.append(item)
        chapters.append(replace(chapter, items=tuple(items)))
    return replace(document, chapters=tuple(chapters)), contents
