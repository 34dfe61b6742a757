"""From records to the thesis' tables and figures, and to the table in the README."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from bgd.records import Run
from bgd.report.build import build, insert_between_markers, is_built_from, result_table
from bgd.report.tables import read_reference
from experiments.paper import PAPER, REFERENCE

ROOT = Path(__file__).parents[1]


def publish(runs: Sequence[Run], output: Path, source: str) -> list[str]:
    """Write tables and figures under `output`; return lines that say what was written."""
    written = build(runs, PAPER, read_reference(REFERENCE), output, source)
    folders: dict[Path, int] = {}
    for path in written:
        folders[path.parent] = folders.get(path.parent, 0) + 1
    return [f"{count} files in {folder}" for folder, count in folders.items()]


def is_published(run_ids: Iterable[str], output: Path) -> bool:
    """Return whether every table and figure is there, from the runs with these ids."""
    tables = (
        output / "tables" / f"{table.name}.{kind}" for table in PAPER.tables for kind in ("csv", "md", "tex")
    )
    figures = (
        output / "figures" / f"{figure.name}.{kind}" for figure in PAPER.figures for kind in ("png", "svg")
    )
    return is_built_from(output, run_ids) and all(path.exists() for path in (*tables, *figures))


def update_readme(runs: Sequence[Run], readme: Path = ROOT / "README.md") -> None:
    """Put the result table of these records between the README's markers."""
    readme.write_text(insert_between_markers(readme.read_text(), result_table(runs)))
