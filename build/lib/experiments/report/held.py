"""How many images like a sample a corrected network gets right: counts over the samples of a contender."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from experiments.records.schema import CORRECTED, Row, Run
from experiments.report.contenders import Contender
from experiments.report.frames import Frames
from experiments.report.knowledge import Knowledge, level_of, level_rank
from experiments.report.style import method_order

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
    """Return the standings of each contender of a network, those that know least first.

    Args:
        runs: Those of `frames`, at least.
        frames: Of one network, from `experiments.report.standings.same_samples`.
        knowledge: The level of each method.
    """
    rows = {run.header.run_id: run.rows for run in runs}
    last = int(frames.samples["position"].max()) if len(frames.samples) else -1
    found: list[Held] = []
    for contender in dict.fromkeys(frames.runs["contender"]):
        ids = frames.runs.loc[frames.runs["contender"] == contender, "run_id"]
        own = [row for run_id in ids for row in rows[run_id] if row.position <= last]
        found.append(_held(contender, level_of(contender.method, knowledge), own))
    order = method_order(item.contender.method for item in found)
    return sorted(
        found,
        key=lambda item: (
            level_rank(item.level),
            order.index(item.contender.method),
            _budget_rank(item.contender.budget),
            item.contender.options,
        ),
    )


def _budget_rank(budget: str) -> tuple[float, str]:
    return (float(budget) if budget.isdigit() else np.inf if budget else -1.0, budget)


def _held(contender: Contender, level: str, rows: Sequence[Row]) -> Held:
    right = [row for row in rows if row.outcome == CORRECTED]
    measured = [row.generality for row in right if row.generality is not None]
    counts: dict[str, tuple[int, int, int]] = {}
    for kind in KINDS if measured else ():
        images, before, after = np.array([getattr(item, kind) for item in measured]).sum(axis=0).tolist()
        counts[kind] = (images, before, after)
    return Held(
        contender,
        level,
        corrected=len(measured) if measured else len(right),
        measured=bool(measured),
        counts=counts,
        seconds=float(np.median([row.search_seconds for row in rows])),
        passes=float(np.median([row.forward_passes + row.backward_passes for row in rows])),
    )
