"""One job: a method on every mistake of a report, each from the package's own weights."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import nn

from bgd import Correction, Corrector, Evaluator, Knowledge, Patch
from experiments.public_bugs.subject import BATCH, Mistake, NotCarriedError, Right, Subject, run
from experiments.records.public_bugs import BugRow, Job

LAYERS = (
    "bgd_",
    "retrain",
    "idealized",
)  # beginnings of methods that go through the whole network by its gradient
NO_CLASS = "the network has no class for it"
NO_GRADIENT = "no gradient: of the network's file only the last layer is in torch"


class Bench:
    """A subject with what jobs share: mistakes, inputs, features."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._mistakes = lru_cache(maxsize=None)(subject.mistakes)
        self._inputs = lru_cache(maxsize=None)(subject.inputs)
        self._features = lru_cache(maxsize=None)(lambda *of: subject.features(self._inputs(*of).x))
        self._counted = lru_cache(maxsize=1)(self._count)

    def row(self, job: Job, provenance: dict[str, str]) -> BugRow:
        """Make the row of a job."""
        mistakes = self._mistakes(job.report, job.split, job.mistakes)
        with self._subject.saying() as say:
            said = tuple(say(mistake.raw) for mistake in mistakes)
        inputs = self._inputs(job.split, job.inputs)
        whole = job.method.startswith(LAYERS)
        impossible = NO_CLASS if any(mistake.label is None for mistake in mistakes) else ""
        row = BugRow(
            job,
            said,
            keep=len(self._inputs("keep", job.keep)),
            inputs=len(inputs),
            kinds=inputs.kinds,
            impossible=impossible or (NO_GRADIENT if whole and self._subject.whole is None else ""),
            provenance=provenance,
        )
        if not job.method or row.impossible:
            return row
        return self._corrected(row, mistakes, whole)

    def _corrected(self, row: BugRow, mistakes: Sequence[Mistake], whole: bool) -> BugRow:
        job = row.job
        network: Any = self._subject.whole if whole else self._subject.head
        knowledge = self._knowledge(network, whole, job.keep)
        corrector = Corrector(
            network, job.method, knowledge=knowledge, seed=job.seed, **json.loads(job.options)
        )
        counted = self._counted(whole, job.split, job.inputs)
        fixes = []
        for mistake in mistakes:
            x = mistake.x if whole else self._subject.features(mistake.x)
            found = corrector.correct(x, mistake.label or 0, mistake.goal)
            fixes.append(self._fix(found, network, mistake, counted))
        columns: dict[str, Any] = {name: tuple(getattr(fix, name) for fix in fixes) for name in Fix._fields}
        return replace(row, right=counted.right, **columns)

    def _fix(self, found: Correction, network: nn.Module, mistake: Mistake, counted: "Counted") -> "Fix":
        if found.patch is None:
            return Fix(found.already, None, None, None, None, found.reason, found.seconds)
        flips, broken = counted.of(found.patch)
        try:
            with self._subject.saying(found.patch, network) as say:
                library, reason = mistake.wanted(say(mistake.raw)), ""
        except NotCarriedError as error:
            library, reason = None, str(error)
        return Fix(False, len(found.patch), flips, broken, library, reason, round(found.seconds, 4))

    def _knowledge(self, network: nn.Module, whole: bool, keep: int) -> Knowledge:
        """Give the keep-set, and as data for statistics the keep-set with the network's own classes."""
        images = self._inputs("keep", keep).x if whole else self._features("keep", keep)
        own = run(self._subject.head, self._features("keep", keep)).argmax(1)
        return Knowledge.of(network, keep=images, training=(images, own))

    def _count(self, whole: bool, split: str, count: int) -> "Counted":
        network = self._subject.whole if whole else self._subject.head
        assert network is not None, "of a subject with a whole network"
        inputs = self._inputs(split, count)
        return Counted(network, inputs.x if whole else self._features(split, count), inputs.right)


class Fix(NamedTuple):
    """What became of one mistake; see `BugRow`."""

    already: bool
    parameters: int | None
    flips: int | None
    broken: int | None
    library: bool | None
    reasons: str
    seconds: float


class Counted:
    """Counts the inputs that a patch flips and breaks.

    Attributes:
        right: How many are right without a patch; None where no truth is known.
    """

    def __init__(self, network: nn.Module, x: torch.Tensor, right: Right | None) -> None:
        self._evaluator = Evaluator(network, x, batch_size=BATCH)
        self._before, self._right = self._evaluator.base.predictions, right
        self.right = None if right is None else int(right(self._before).sum())

    def of(self, patch: Patch) -> tuple[int, int | None]:
        """Count those whose class changes, and of them those that were right and are not any more."""
        after = self._evaluator.after(patch).predictions
        flips = int((after != self._before).sum())
        if self._right is None:
            return flips, None
        return flips, int((self._right(self._before) & ~self._right(after)).sum())
