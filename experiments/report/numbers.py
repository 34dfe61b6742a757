"""Numbers for people."""

import math
from collections.abc import Sequence

from experiments.report.metrics import Summary


def format_number(value: float) -> str:
    """Return a number as a person would write it in a table.

    0 and whole numbers below 100,000 as they are; below 0.001 and from 100,000 on two significant digits with
    an exponent (1.9e-05); below 1 two significant digits (0.022); below 1,000 two decimals (99.86); else
    none.

    Raises:
        ValueError: The value is not finite: a table says such a thing in words.
    """
    if not math.isfinite(value):
        raise ValueError(f"not a finite number: {value}")
    size = abs(value)
    if size < 1e5 and value == round(value):
        return str(round(value))
    if size < 1e-3 or size >= 1e5:
        return f"{value:.1e}"
    if size < 1:
        rounded = float(f"{value:.1e}")  # first, so that 0.0996 is 0.10 and not 0.100
        decimals = 1 - math.floor(math.log10(abs(rounded)))
        return f"{rounded:.{decimals}f}"
    return f"{value:.2f}" if size < 1000 else f"{value:.0f}"


def format_spread(mean: float, sd: float | None) -> str:
    """Return "mean ± sd", or the mean alone where there is no sd."""
    return format_number(mean) if sd is None else f"{format_number(mean)} ± {format_number(sd)}"


def format_summary(summary: Summary) -> str:
    """Return "mean ± sd", or in words why there is none.

    Of runs "median [least, largest]"; where single samples carry the mean "median (mean ± sd)".
    """
    if summary.mean is None or summary.median is None:
        return summary.note
    if summary.sd is None:
        return format_number(summary.mean)
    if summary.over == "runs" and summary.low is not None and summary.high is not None:
        return (
            f"{format_number(summary.median)} [{format_number(summary.low)}, {format_number(summary.high)}]"
        )
    spread = format_spread(summary.mean, summary.sd)
    return f"{format_number(summary.median)} ({spread})" if summary.tailed else spread


def format_printed(mean: float | None, sd: float | None) -> str:
    """Return values of the thesis with the digits that it prints, up to closing zeros: 0.09, 6.19e-05; or nothing."""
    if mean is None:
        return ""
    return f"{mean:g}" if sd is None else f"{mean:g} ± {sd:g}"


def format_count(value: int) -> str:
    """Return a count with thousands marked: 54,000."""
    return f"{value:,}"


def span(values: Sequence[int]) -> str:
    """Return the least and the largest of some counts, one number where they are the same."""
    low, high = min(values), max(values)
    return format_count(low) if low == high else f"{format_count(low)} to {format_count(high)}"


def counted(count: int, noun: str) -> str:
    """Return "1 seed", "2 seeds"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listing(items: list[str]) -> str:
    """Return "a", "a and b", "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
