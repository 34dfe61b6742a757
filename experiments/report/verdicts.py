"""A number of the thesis beside ours, and whether the two agree: one rule for every cell (`words.yaml`, `cells`)."""

from dataclasses import dataclass
from decimal import Decimal

from experiments.report.metrics import MISSING
from experiments.report.part import words
from experiments.report.statistics import Interval

AGREES, SIMILAR, DIFFERS, NOT_COMPARABLE = "agrees", "similar", "differs", "not comparable"
VERDICTS = (AGREES, SIMILAR, DIFFERS, NOT_COMPARABLE, MISSING)
RANK, SHARE = "gradient_rank", "percent_of_samples"  # the two metrics of tables 4.9 and 4.10

FACTOR = 2.0  # of similar values
POINTS = 10.0  # percentage points between similar POC: a factor says nothing of a share near 100 %


def rule() -> str:
    """Return the rule in words."""
    text: str = words("cells")["rule"]
    return text.format(smallest=1 / FACTOR, factor=FACTOR, points=POINTS)


@dataclass(frozen=True)
class Printed:
    """A number as the thesis prints it, for example "1.9e-05" or "66.10", and the text behind its ±, if any."""

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


@dataclass(frozen=True)
class Compared:
    """A number of the thesis and ours.

    Attributes:
        table: Its number in the thesis, for example "4.1".
        network, setting, metric, method: What it is of. In tables 4.9 and 4.10 the setting is that of one
            updated parameter, and criterion and place stand for the method.
        printed: The thesis' value.
        ours: What is compared with it; None where there is none.
        verdict: By `rule`.
        interval, kind: 95 %, of ours, and which: "wilson", "bootstrap" or "range".
        n: Pairs of seed and sample, or samples, behind ours.
        other_reading: Ours by the other reading of the printed number, where it has two: dTL by the definition of
            section 4.2, the share at a gradient rank by "best mean".
        networks, sd_over_networks: Sample standard deviation (ddof = 1) over how many N0, of seed 0 of the method.
        notes: What a reader must know of it.
    """

    table: str
    network: str
    setting: str
    metric: str
    method: str
    printed: Printed
    ours: float | None
    verdict: str
    interval: Interval | None = None
    kind: str = ""
    n: int = 0
    other_reading: float | None = None
    networks: int = 0
    sd_over_networks: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def difference(self) -> float | None:
        """Ours minus the thesis'."""
        return None if self.ours is None else self.ours - self.printed.value

    @property
    def ratio(self) -> float | None:
        """Ours over the thesis'; None for a rank, and where the thesis prints 0."""
        if self.ours is None or self.metric == RANK or self.printed.value == 0:
            return None
        return self.ours / self.printed.value


def verdict(printed: Printed, ours: float | None, interval: Interval | None, points: bool = False) -> str:
    """Judge a quantity by `rule`; with `points` similar is a matter of percentage points, not of a factor."""
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
    """Judge a gradient rank by `rule`."""
    if ours is None:
        return MISSING
    if ours == printed:
        return AGREES
    return SIMILAR if printed in first_three else DIFFERS
