"""From records to the thesis' tables and figures, to the report, and to the table in docs/results.md."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from experiments.records.archive import Records
from experiments.report.assemble import Report, assemble
from experiments.report.build import SOURCE, build, is_from, names_of
from experiments.report.claims import compare_verdicts
from experiments.report.frames import ReportError
from experiments.report.overview import HEADLINE
from experiments.report.provenance import FRAGMENT
from experiments.thesis.report import LEDGER, ON_CHAPTER_4, REPORT, VERDICTS
from experiments.thesis.tables import CHAPTER_4, PAPER, TABLES_FULL

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
FIRST = "thesis"  # folder of what is of the thesis alone, while the other runs are being made
PUBLISHED = "laptop"  # the profile whose table is in docs/results.md


def publish(records: Records, output: Path, source: str) -> list[str]:
    """Write tables and figures under `output`; return lines that say what was written."""
    return _counted(build(records, PAPER, output, source))


def report(records: Records, output: Path) -> list[str]:
    """Write the report under `output`, where its tables and figures are; return lines that say what was written."""
    return _counted(assemble(records, PAPER, REPORT, output))


def first_presets() -> set[str]:
    """Find the presets whose runs the thesis' tables are made from, and what the report says of its chapter.

    Those of the tables at a larger scale come after: they take longer than all the others.
    """
    found = {preset for part in (*CHAPTER_4, *ON_CHAPTER_4) for preset in part.presets}
    return found.difference(preset for part in TABLES_FULL for preset in part.presets)


def publish_first(records: Records, output: Path, source: str) -> list[str]:
    """Write what is of the thesis' chapter alone into `output/thesis`: tables, figures and a report of their own.

    The other tables, figures and the report stay as they are until they can be made whole.
    """
    folder = output / FIRST
    parts = [part for part in PAPER if part in CHAPTER_4]
    said = tuple(part for part in REPORT.parts if part in ON_CHAPTER_4)
    names = {*names_of(parts), *names_of(said), SOURCE, FRAGMENT}
    own, *others = (document.of(names) for document in REPORT.documents)
    report = Report(said, (own, *(other for other in others if other.chapters)))
    written = build(records, parts, folder, source)
    return _counted([*written, *assemble(records, parts, report, folder)])


def is_first_published(run_ids: Iterable[str], output: Path) -> bool:
    """Return whether what is of the thesis' chapter is in `output/thesis`, from the runs with these ids."""
    parts = [part for part in PAPER if part in CHAPTER_4]
    return is_from(run_ids, output / FIRST, names_of(parts), REPORT.pages[0])


def _counted(written: Iterable[Path]) -> list[str]:
    return [
        f"{count} files in {folder}" for folder, count in Counter(path.parent for path in written).items()
    ]


def is_published(run_ids: Iterable[str], output: Path) -> bool:
    """Return whether every table and figure is there, from the runs with these ids."""
    return is_from(run_ids, output, names_of(PAPER), SOURCE)


def is_reported(run_ids: Iterable[str], output: Path) -> bool:
    """Return whether the report is there, from the runs with these ids."""
    return is_from(run_ids, output, REPORT.names, REPORT.pages[0])


def verdicts(records: Records) -> bytes:
    """Return the verdict of the records on each claim, as `reference/verdicts.json` keeps it."""
    return LEDGER.files(records.of(*LEDGER.presets))["report/verdicts.json"]


def verdicts_of(profile: str) -> Path:
    """Return where the verdicts of a profile are kept, or would be."""
    return VERDICTS if profile == PUBLISHED else VERDICTS.with_stem(f"{VERDICTS.stem}.{profile}")


def worse_verdicts(records: Records, kept: Path) -> list[str]:
    """Return a line for each claim whose verdict is worse now than the kept one."""
    return compare_verdicts(json.loads(kept.read_text()), json.loads(verdicts(records)))


def keep_verdicts(records: Records, kept: Path) -> None:
    """Make what these records say the verdicts that others are held against."""
    kept.write_bytes(verdicts(records))


def update_readme(output: Path, readme: Path = ROOT / "docs" / "results.md") -> None:
    """Put the report's result table between the markers of docs/results.md."""
    readme.write_text(insert_between_markers(readme.read_text(), (output / HEADLINE).read_text()))


def insert_between_markers(text: str, table: str) -> str:
    """Return the text with the table between its two markers, in the place of what stood there.

    Raises:
        ReportError: A marker is missing, stands twice, or the end comes first.
    """
    if (text.count(BEGIN), text.count(END)) != (1, 1) or text.index(END) < text.index(BEGIN):
        raise ReportError(f"expected {BEGIN} and then {END}, each of them once")
    return f"{text.partition(BEGIN)[0]}{BEGIN}\n{table.strip()}\n{END}{text.partition(END)[2]}"
