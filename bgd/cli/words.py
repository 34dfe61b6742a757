"""Numbers and tables in words, for people who read a terminal."""

from collections.abc import Sequence

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


def table(head: Sequence[str], rows: Sequence[Sequence[str]], shown: int = ROWS) -> str:
    """Return rows of text below a head, in columns, those of numbers to the right; of many rows the first ones."""
    first = rows[:shown]
    lines = [head, *first]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    right = [all(map(_is_number, column)) for column in zip(*first, strict=True)] or [False] * len(head)
    text = [
        "  ".join(
            cell.rjust(width) if to_the_right else cell.ljust(width)
            for cell, width, to_the_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    ]
    more = len(rows) - len(first)
    return "\n".join([*text, *([f"and {more:,} more, which --json lists"] if more else [])])


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", ""))
    except ValueError:
        return False
    return True
