"""Numbers and tables in words, for people who read a terminal."""

from collections.abc import Sequence

ROWS = 20  # of a table, shown to people; --json has all


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, as in 1 input, 2,000 inputs."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def short(value: float) -> str:
    """Return a number in four digits."""
    return f"{value:.4g}"


def place(name: str, index: Sequence[int]) -> str:
    """Return a place in a tensor, as in fc.weight[3, 17]."""
    return f"{name}[{', '.join(map(str, index))}]"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], shown: int = ROWS) -> str:
    """Return rows of text below a head, in columns; of many rows the first ones.

    A column of numbers is set to the right: one whose first cell begins with a digit or a sign.
    """
    first = rows[:shown]
    lines = [list(head), *map(list, first)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    right = [bool(first) and cell[:1] in "+-0123456789" and cell != "" for cell in (first[0] if first else head)]
    text = [
        "  ".join(
            cell.rjust(width) if to_the_right else cell.ljust(width)
            for cell, width, to_the_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    ]
    more = len(rows) - len(first)
    return "\n".join([*text, *([f"and {more:,} more, which --json lists"] if more else [])])
