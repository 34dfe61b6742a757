"""A table in Markdown whose columns line up: read as it stands in a terminal, or rendered."""

from collections.abc import Sequence
from itertools import zip_longest


def markdown(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Write a table.

    Args:
        columns: Their headings.
        rows: A cell for each column. A column of numbers alone, or of nothing, is aligned to the right.
    """
    cells = [list(columns), *([_cell(each) for each in row] for row in rows)]
    widths = [max(3, *map(len, column)) for column in zip_longest(*cells, fillvalue="")]
    right = [all(_is_number(row[at]) for row in rows) for at in range(len(columns))]
    rule = ["-" * (width - 1) + (":" if end else "-") for width, end in zip(widths, right, strict=True)]
    lines = [cells[0], rule, *cells[1:]]
    return "\n".join(
        "| "
        + " | ".join(
            cell.rjust(width) if end else cell.ljust(width)
            for cell, width, end in zip(line, widths, right, strict=True)
        )
        + " |"
        for line in lines
    )


def _cell(value: object) -> str:
    """Write a value on one line, without a bar of the table's own; a number with commas or four digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else " ".join(str(value).split()).replace("|", "\\|")


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
