"""Corrections in a row that go on after an interruption, without looking for the recorded ones again.

The network comes back by the patches that the rows hold, bit for bit, or where a row holds none (a patch of more than
`PATCH_LIMIT` values) from a snapshot that was kept beside the rows. What remains to be looked for again:

- the first correction, which has to come out as recorded: that the code still does what it did, and what a method
  keeps of N0 is made on the way;
- the one after which a method kept something else, if it says so (`keeps_since`);
- those after the snapshot that have no patch, or all of them where a method hands something on from one sample to the
  next that cannot be told from the samples it corrected (`carry_after`).

Patches of rows go through the evaluator one by one, so that figures are those of a run without an interruption to the
last bit. A snapshot goes through it at once: figures after it are the same to rounding, everything else is the same.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bgd.methods.base import Correction, Method, Problem, Sample
from bgd.patch import Patch, PatchError
from experiments.protocol.accumulation import Accumulation
from experiments.protocol.figures import Summaries
from experiments.protocol.snapshot import Snapshot, unpack
from experiments.records.schema import ALREADY_RIGHT, CORRECTED, PATCH_LIMIT, UNCORRECTED, Row

log = logging.getLogger(__name__)

DIGITS_FOR = 4  # bytes of the largest type whose values a row holds to the last bit


class ReplayError(RuntimeError):
    """The corrections of an interrupted run do not come out again as they were recorded."""


def kept_in_rows(patch: Patch) -> bool:
    """Return whether a row holds a patch to the last bit: it has 10 digits, float32 has 9, float64 has 17."""
    return len(patch) <= PATCH_LIMIT and patch.new.element_size() <= DIGITS_FOR


@dataclass
class Return:
    """The way back to where corrections in a row were interrupted.

    Attributes:
        problem: Holds N0 at the start, and the corrected network at the end.
        summaries: Of the same network.
        accumulation: Of it too.
        method: That found the corrections.
        samples: Of the run.
        search: Looks for the correction of a sample, and hands on what the method does.
        rows: Recorded so far.
        saved: The last snapshot; None where there is none.
    """

    problem: Problem
    summaries: Summaries
    accumulation: Accumulation
    method: Method
    samples: Sequence[Sample]
    search: Callable[[Sample], Correction]
    rows: Sequence[Row]
    saved: Snapshot | None

    def go(self) -> None:
        """Go there.

        Raises:
            ReplayError: A correction does not come out as recorded.
        """
        met = [row for row in self.rows if row.outcome != ALREADY_RIGHT]
        if not met:
            return
        first, device = met[0], self.problem.original.device
        rebuild: Callable[[Sequence[Sample]], Any] | None = getattr(self.method, "carry_after", None)
        correction = self._again(first)
        unknown = self.problem.carry is not None and rebuild is None
        dense = [row.position for row in met if row.outcome == CORRECTED and self._patch(row) is None]
        renewed = self._renewed(met)
        saved = self.saved
        if renewed > first.position and (unknown or renewed <= max(dense, default=-1)):
            saved = None  # what the method kept then is of a network that is recorded nowhere
        after = saved.rows if saved else 0
        jump = max((place for place in dense if place < after), default=-1)
        again = {row.position for row in met if row.position >= after and (unknown or row.position in dense)}
        again |= {renewed}
        rest = [row for row in met if row.position > max(jump, first.position)]
        self._say(rest, again)
        if saved and jump >= 0:
            self._jump(saved, jump)
        elif correction.patch is not None:
            self._advance(first, correction.patch)
        for row in rest:
            if rebuild is not None:
                self.problem.carry = rebuild(self._corrected(row.position))
            elif saved and row.position >= after:
                self.problem.carry, saved = unpack(saved.carry, self.samples, device), None
            patch = self._again(row).patch if row.position in again else self._patch(row)
            if patch is not None:
                self._advance(row, patch)
        if rebuild is not None:
            self.problem.carry = rebuild(self._corrected(len(self.rows)))
        elif saved:
            self.problem.carry = unpack(saved.carry, self.samples, device)
        self._check()

    def _renewed(self, met: Sequence[Row]) -> int:
        """Return the position of the last search at which the method made what it keeps now."""
        since: Callable[[int], int] | None = getattr(self.method, "keeps_since", None)
        wanted = since(len(self._corrected(len(self.rows)))) if since else 0
        places = (row.position for row in met if len(self._corrected(row.position)) == wanted)
        return next(places, met[0].position)

    def _corrected(self, before: int) -> tuple[Sample, ...]:
        """Return the samples that were corrected in the first `before` rows."""
        return tuple(self.samples[row.position] for row in self.rows[:before] if row.outcome == CORRECTED)

    def _patch(self, row: Row) -> Patch | None:
        """Return the patch of a row; None where the row does not hold it to the last bit."""
        flat = self.problem.original
        if row.patch is None or flat.element_size() > DIGITS_FOR:
            return None
        old, new = (
            torch.tensor(row.patch[key], dtype=flat.dtype, device=flat.device) for key in ("old", "new")
        )
        indices = torch.tensor(row.patch["index"], dtype=torch.int64, device=flat.device)
        return Patch(self.problem.current.space, indices, old, new)

    def _again(self, row: Row) -> Correction:
        """Look for a row's correction again."""
        sample, recorded = self.samples[row.position], self._patch(row)
        correction = self.search(sample)
        outcome = UNCORRECTED if correction.patch is None else CORRECTED
        found = (sample.index, outcome, correction.altered, correction.steps, correction.forward_passes)
        wanted = (row.index, row.outcome, row.altered, row.steps, row.forward_passes)
        if found != wanted:
            raise ReplayError(f"sample {row.index} came out as {found}, recorded as {wanted}")
        if recorded and correction.patch and not _same(recorded, correction.patch):
            raise ReplayError(f"sample {row.index} was corrected by another patch")
        return correction

    def _advance(self, row: Row, patch: Patch) -> None:
        try:
            self.problem.advance(patch)
        except PatchError as error:
            raise ReplayError(f"the recorded patch of sample {row.index} does not fit: {error}") from error
        self.summaries.advance(patch)
        self.accumulation.add(self.samples[row.position], patch)

    def _jump(self, saved: Snapshot, place: int) -> None:
        """Go to where the network was after a row, from a snapshot after later ones."""
        flat = saved.flat.to(self.problem.original.device)
        later = [self._patch(row) for row in self.rows[place + 1 : saved.rows]]
        try:
            for patch in filter(None, reversed(later)):
                patch.revert(flat)
        except PatchError as error:
            raise ReplayError(f"the snapshot after {saved.rows} rows is not of these: {error}") from error
        patch = Patch.between(self.problem.current.space, self.problem.original, flat)
        self.problem.advance(patch)
        self.summaries.advance(patch)
        self.accumulation.restore(self._corrected(place + 1), saved.changed)

    def _say(self, rest: Sequence[Row], again: set[int]) -> None:
        """Say how long it takes, by the times in the rows."""
        searched = [row for row in rest if row.position in again]
        seconds = sum(row.search_seconds for row in searched) + sum(
            row.evaluation_seconds or 0 for row in rest
        )
        log.info(
            "going on: %d recorded corrections, of which %d are looked for again, about %.0f s",
            len(rest) + 1, len(searched) + 1, self.rows[0].search_seconds + seconds,
        )  # fmt: skip

    def _check(self) -> None:
        """Hold the network to what the last row says of it."""
        last = self.rows[-1]
        state = self.accumulation.state(self.samples[last.position])
        wanted = last.accumulated
        if wanted is None or state.union != wanted.union:
            raise ReplayError(f"{state.union} parameters have changed, recorded are {wanted}")
        if wanted.drift is not None and not math.isclose(wanted.drift, state.drift or 0.0, rel_tol=1e-6):
            raise ReplayError(f"the network is {state.drift} from N0, recorded are {wanted.drift}")


def _same(one: Patch, two: Patch) -> bool:
    return torch.equal(one.indices, two.indices) and torch.equal(one.new, two.new)
