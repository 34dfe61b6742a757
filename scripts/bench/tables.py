"""Console tables and json files."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LEFT = 1  # columns at the left that hold words


def milliseconds(seconds: float | None) -> str:
    """Return a time in milliseconds with three digits."""
    if seconds is None:
        return "-"
    value = seconds * 1e3
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if 0 < value < 100 else f"{value:,.0f}"


def times(ratio: float | None) -> str:
    """Return a ratio, as in 1.7x or 530x."""
    if ratio is None:
        return "-"
    return f"{ratio:,.0f}x" if ratio >= 100 else f"{ratio:.1f}x" if ratio >= 10 else f"{ratio:.2f}x"


def percent(share: float | None) -> str:
    """Return a share in percent; beyond 100 %, as a multiple."""
    return "-" if share is None else f"{100 * share:.3g} %" if share <= 1 else times(share)


def text(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int = LEFT) -> str:
    """Return a table for the console.

    Args:
        headings: Of the columns.
        rows: A cell for each column.
        left: Columns at the left that are words, aligned left; the others are numbers.
    """
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    lines = []
    for row in (headings, *rows):
        cells = [
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)


def write(path: Path, content: dict[str, Any]) -> None:
    """Write what a part found, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.replace(path)
