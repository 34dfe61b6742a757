"""The numbers of the thesis' tables of gradient ranks (4.9 and 4.10) beside ours."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.records.schema import Run
from experiments.report.captions import is_reduced
from experiments.report.gradient_ranks import PROBE_NAME, REFERENCE_COLUMNS, GradientRanksPart
from experiments.report.metrics import MISSING
from experiments.report.rank_shares import MEAN, OF_SAMPLE, Reading, Results
from experiments.report.statistics import Interval, wilson
from experiments.report.surveys import HIGH, LOW, by_network, facts, scale
from experiments.report.tables import read_texts
from experiments.report.verdicts import RANK, SHARE, Compared, Printed, rank_verdict, verdict

ONE_PARAMETER = "one_parameter"  # in the place of a setting: each is updated alone, from N0

OF_THE_RANK = (
    "ours: share of the samples in which the thesis' rank is the best of the sample; the other reading: share of the"
    " samples that this rank corrects"
)
NEVER_BEST = "no rank of ours has this place"
NOT_LOOKED_AT = "our run looks at fewer ranks"


@dataclass(frozen=True)
class RankCells:
    """A table of gradient ranks and the runs, any, that ours is made from.

    Ours is by the reading "best of the sample" (see `report.rank_shares`). A rank's interval is of the ranks
    that the resamples name at its place.
    """

    part: GradientRanksPart
    runs: Sequence[Run]

    def compared(self) -> Iterator[Compared]:
        """Give each rank and each share of the table, in the order of the reference file.

        Raises:
            ReportError: Two runs of the network, or the reference lacks a column.
        """
        run = by_network(self.runs, PROBE_NAME).get(self.part.network)
        results = None if run is None else Results.of(run, self.part.network)
        about = (scale(self.part.network, run),) if run is not None and is_reduced(facts(run)) else ()
        texts = read_texts(self.part.thesis.ranks, [*REFERENCE_COLUMNS, "printed_percent"])
        chosen = (texts["table"] == self.part.number) & (texts["network"] == self.part.network)
        columns = ["criterion", "place", "gradient_rank", "printed_percent"]
        for criterion, place, rank, share in texts.loc[chosen, columns].itertuples(index=False, name=None):
            name = (self.part.number, self.part.network, ONE_PARAMETER)
            best, corrects = (
                None if results is None else results.readings[kind][criterion] for kind in (OF_SAMPLE, MEAN)
            )
            method = f"{criterion} {place}"
            if results is None or best is None or corrects is None:
                yield Compared(*name, RANK, method, Printed(rank), None, MISSING)
                yield Compared(*name, SHARE, method, Printed(share), None, MISSING)
                continue
            n = results.draws.shape[1]
            yield _rank((*name, RANK, method), Printed(rank), best, int(place) - 1, n, about)
            yield _share((*name, SHARE, method), Printed(share), (best, corrects), int(rank), n, about)


Name = tuple[str, str, str, str, str]
Notes = tuple[str, ...]


def _rank(name: Name, printed: Printed, best: Reading, place: int, n: int, about: Notes) -> Compared:
    ours = int(best.top[place])
    if ours == 0:
        return Compared(*name, printed, None, MISSING, n=n, notes=(NEVER_BEST, *about))
    named = best.tops[:, place]
    low, high = np.percentile(named[named > 0], (LOW, HIGH), method="nearest")
    judged = rank_verdict(int(printed.value), ours, tuple(map(int, best.top)))
    interval = Interval(float(low), float(high))
    return Compared(*name, printed, float(ours), judged, interval, "bootstrap", n, notes=about)


def _share(
    name: Name, printed: Printed, readings: tuple[Reading, Reading], rank: int, n: int, about: Notes
) -> Compared:
    best, corrects = readings
    if rank > best.shares.size:
        return Compared(*name, printed, None, MISSING, n=n, notes=(NOT_LOOKED_AT, *about))
    share = float(best.shares[rank - 1])
    ours, interval = 100 * share, wilson(round(share * n), n).times(100)  # a bootstrap of 0 has no width
    return Compared(
        *(*name, printed, ours, verdict(printed, ours, interval), interval, "wilson", n),
        other_reading=100 * float(corrects.shares[rank - 1]),
        notes=(OF_THE_RANK, *about),
    )
