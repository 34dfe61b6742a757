"""Whether a number of ours is the one that the thesis prints: one rule for every cell."""

from dataclasses import dataclass
from decimal import Decimal

from experiments.report.metrics import MISSING
from experiments.report.statistics import Interval

AGREES, SIMILAR, DIFFERS, NOT_COMPARABLE = "agrees", "similar", "differs", "not comparable"
VERDICTS = (AGREES, SIMILAR, DIFFERS, NOT_COMPARABLE, MISSING)

FACTOR = 2.0  # of similar values
POINTS = 10.0  # percentage points between similar POC: a factor says nothing of a share near 100 %

RULE = (
    f'"{AGREES}": the printed value, give or take half of its last printed digit, meets our 95 % interval (our value'
    " where there is no interval); a printed 100 stands for 99.5 to 100.5."
    f' "{SIMILAR}": it does not, but both have the same sign and a ratio from {1 / FACTOR:g} to {FACTOR:g}; for POC, a'
    f" bounded share, a difference of at most {POINTS:g} percentage points instead."
    f' "{DIFFERS}": neither. "{NOT_COMPARABLE}": the printed value is known to be another quantity than ours.'
    f' A gradient rank is a label, not a quantity: "{AGREES}" where ours at that place is the same, "{SIMILAR}" where'
    " the printed one is among our first three."
)


@dataclass(frozen=True)
class Printed:
    """A number as the thesis prints it.

    Attributes:
        text: For example "1.9e-05" or "66.10".
        sd: The text behind its ±; empty where it prints none.
    """

    text: str
    sd: str = ""

    @property
    def value(self) -> float:
        """The number."""
        return float(self.text)

    @property
    def half_digit(self) -> float:
        """Half of the last printed digit: 0.005 for "66.10", 5e-07 for "1.9e-05"."""
        exponent = Decimal(self.text).as_tuple().exponent
        if not isinstance(exponent, int):
            raise ValueError(f"not a finite number: {self.text!r}")
        return 0.5 * 10.0**exponent


def verdict(printed: Printed, ours: float | None, interval: Interval | None, points: bool = False) -> str:
    """Return the verdict on a quantity, by `RULE`.

    Args:
        printed: The thesis' value.
        ours: None where there is none.
        interval: Of ours; None where there is none.
        points: Whether similar is a matter of percentage points, not of a factor.
    """
    if ours is None:
        return MISSING
    low, high = (ours, ours) if interval is None else (interval.low, interval.high)
    slack = printed.half_digit * (1 + 1e-9)  # an end that is on the mark is within it in floating point
    if low - slack <= printed.value <= high + slack:
        return AGREES
    if points:
        return SIMILAR if abs(ours - printed.value) <= POINTS else DIFFERS
    alike = ours * printed.value > 0 and 1 / FACTOR <= ours / printed.value <= FACTOR
    return SIMILAR if alike else DIFFERS


def rank_verdict(printed: int, ours: int | None, first_three: tuple[int, ...]) -> str:
    """Return the verdict on a gradient rank, by `RULE`."""
    if ours is None:
        return MISSING
    if ours == printed:
        return AGREES
    return SIMILAR if printed in first_three else DIFFERS
