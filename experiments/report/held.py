"""How many images like a sample a corrected network gets right: counts over the samples of a contender."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from experiments.records.schema import CORRECTED, Row, Run
from experiments.report.contenders import Contender, Entrant, entrants
from experiments.report.frames import Frames
from experiments.report.knowledge import Knowledge

KINDS = {  # of `experiments.records.schema.Generality`
    "shifts": "shifts",
    "rotations": "rotations",
    "noise": "noise",
    "same_confusion": "same confusion",
}


@dataclass(frozen=True)
class Held:
    """How a contender does on images like the samples it corrected.

    Attributes:
        contender, level: What it is and what it knows.
        corrected: Pairs of seed and sample that were corrected and measured.
        measured: Whether the records have any.
        counts: By kind: images, how many of them N0 gets right, how many the corrected network does.
        seconds: Of the search: the median over all samples.
        passes: Forward and backward passes on one sample: the median over all samples.
    """

    contender: Contender
    level: str
    corrected: int
    measured: bool
    counts: dict[str, tuple[int, int, int]]
    seconds: float
    passes: float

    def share(self, kind: str, column: int) -> float | None:
        """Return the per cent of a kind's images that are right, with N0 (1) or after (2); None without images."""
        counts = self.counts.get(kind, (0, 0, 0))
        return 100 * counts[column] / counts[0] if counts[0] else None


def held(runs: Sequence[Run], frames: Frames, knowledge: Knowledge) -> list[Held]:
    """Return how each contender of a network does, those that know least first.

    Args:
        runs: Those of `frames`, at least.
        frames: Of one network, from `experiments.report.standings.same_samples`.
        knowledge: The level of each method.
    """
    rows = {run.header.run_id: run.rows for run in runs}
    last = int(frames.samples["position"].max()) if len(frames.samples) else -1
    return [
        _held(
            item, [row for run_id in item.part.runs["run_id"] for row in rows[run_id] if row.position <= last]
        )
        for item in entrants(frames, knowledge)
    ]


def _held(item: Entrant, rows: Sequence[Row]) -> Held:
    right = [row for row in rows if row.outcome == CORRECTED]
    measured = [row.generality for row in right if row.generality is not None]
    counts: dict[str, tuple[int, int, int]] = {}
    for kind in KINDS if measured else ():
        images, before, after = np.array([getattr(each, kind) for each in measured]).sum(axis=0).tolist()
        counts[kind] = (images, before, after)
    return Held(
        item.contender,
        item.level,
        corrected=len(measured) if measured else len(right),
        measured=bool(measured),
        counts=counts,
        seconds=float(np.median([row.search_seconds for row in rows])),
        passes=float(np.median([row.forward_passes + row.backward_passes for row in rows])),
    )
