"""From records to the thesis' tables and figures, and to the table in the README."""

from collections.abc import Iterable
from pathlib import Path

from bgd.archive import Records
from bgd.report.build import build, insert_between_markers, is_built_from, result_table
from bgd.report.tables import read_reference
from experiments.paper import MAIN, PAPER, REFERENCE

ROOT = Path(__file__).parents[1]


def publish(records: Records, output: Path, source: str) -> list[str]:
    """Write tables and figures under `output`; return lines that say what was written."""
    written = build(records, PAPER, read_reference(REFERENCE), output, source)
    folders: dict[Path, int] = {}
    for path in written:
        folders[path.parent] = folders.get(path.parent, 0) + 1
    return [f"{count} files in {folder}" for folder, count in folders.items()]


def is_published(run_ids: Iterable[str], output: Path) -> bool:
    """Return whether every table and figure is there, from the runs with these ids."""
    return is_built_from(output, run_ids) and all((output / name).exists() for name in PAPER.names)


def update_readme(records: Records, readme: Path = ROOT / "README.md") -> None:
    """Put the result table of these records between the README's markers."""
    readme.write_text(insert_between_markers(readme.read_text(), result_table(records.of(MAIN))))
