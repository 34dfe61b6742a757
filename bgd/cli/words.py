"""Numbers and tables in words, for people who read a terminal."""

from collections.abc import Sequence

from bgd.markdown import markdown

ROWS = 12  # of a table, shown to people; --json has all


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, as in 1 input, 2,000 inputs, 10 classes."""
    ending = "" if number == 1 else "es" if noun.endswith(("s", "x")) else "s"
    return f"{number:,} {noun}{ending}"


def short(value: float) -> str:
    """Return a number in four digits."""
    return f"{value:.4g}"


def place(name: str, index: Sequence[int]) -> str:
    """Return a place in a tensor, as in fc.weight[3, 17]."""
    return f"{name}[{', '.join(map(str, index))}]"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows below a head, in columns; of many rows the first ones."""
    more = len(rows) - ROWS
    return markdown(head, rows[:ROWS]) + (f"\nand {more:,} more, which --json lists" if more > 0 else "")
