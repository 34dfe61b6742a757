"""From records to the thesis' tables and figures, and to the table in the README."""

from collections.abc import Sequence
from pathlib import Path

from bgd.records import Run
from bgd.report.build import build, insert_between_markers, result_table
from bgd.report.tables import read_reference
from experiments.paper import PAPER

ROOT = Path(__file__).parents[1]
THESIS = Path(__file__).parent / "reference" / "tables.csv"


def publish(runs: Sequence[Run], output: Path, source: str) -> list[str]:
    """Write tables and figures under `output`; return lines that say what was written."""
    written = build(runs, PAPER, read_reference(THESIS), output, source)
    folders: dict[Path, int] = {}
    for path in written:
        folders[path.parent] = folders.get(path.parent, 0) + 1
    return [f"{count} files in {folder}" for folder, count in folders.items()]


def update_readme(runs: Sequence[Run], readme: Path = ROOT / "README.md") -> None:
    """Put the result table of these records between the README's markers."""
    readme.write_text(insert_between_markers(readme.read_text(), result_table(runs)))
