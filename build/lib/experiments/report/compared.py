"""A number of the thesis and ours: what a cell of the comparison holds, however it came about."""

from dataclasses import dataclass

from experiments.report.statistics import Interval
from experiments.report.verdicts import Printed

RANK, SHARE = "gradient_rank", "percent_of_samples"  # the two metrics of tables 4.9 and 4.10


@dataclass(frozen=True)
class Compared:
    """A number of the thesis and ours.

    Attributes:
        table: Its number in the thesis, for example "4.1".
        network, setting, metric, method: What it is of. In tables 4.9 and 4.10 the setting is that of one
            updated parameter, and criterion and place stand for the method.
        printed: The thesis' value.
        ours: What is compared with it; None where there is none.
        verdict: By `experiments.report.verdicts.RULE`.
        interval: 95 %, of ours.
        kind: Of the interval: "wilson", "bootstrap" or "range"; empty where there is none.
        n: Pairs of seed and sample, or samples, behind ours.
        other_reading: Ours by the other reading of the printed number, where it has two: dTL by the definition of
            section 4.2, the share at a gradient rank by "best mean".
        networks: How many N0 `sd_over_networks` is over: ours, seed 0 of the method, from N0 of several seeds.
        sd_over_networks: Sample standard deviation (ddof = 1).
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
