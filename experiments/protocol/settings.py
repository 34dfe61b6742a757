"""The two settings of section 4.1: what happens to the network between one sample and the next."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from bgd import rng
from bgd.goals import Goal
from bgd.methods.base import Answer, Correction, Method, Problem, Sample
from bgd.outputs import logits_in
from bgd.patch import Patch
from bgd.reach import Reach
from experiments.protocol.accumulation import Accumulation, right_of
from experiments.protocol.bystanders import Bystanders
from experiments.protocol.figures import Summaries, Summary
from experiments.protocol.generality import Variations
from experiments.protocol.resume import Return, kept_in_rows
from experiments.protocol.snapshot import Snapshot, pack
from experiments.records.schema import (
    ALREADY_RIGHT,
    CORRECTED,
    PATCH_LIMIT,
    UNCORRECTED,
    Generality,
    Row,
    finite,
)

log = logging.getLogger(__name__)

PLAIN = Goal()  # the label has the largest logit
VERSION = 1  # raised whenever the same corrections may give other rows


@dataclass(frozen=True)
class Setting:
    """Where each sample's correction starts from.

    Attributes:
        accumulate: False, reloading: from N0 each time. True, non-reloading (section 4.7): from the network that
            the samples before left. A sample already right when its turn comes counts as correct and changes
            nothing; a sample that stays wrong leaves the network unchanged.
    """

    accumulate: bool


@dataclass
class Stage:
    """A run under way: the network to correct, what evaluates it, and how to correct.

    Attributes:
        setting: Whether corrections accumulate.
        method: How a sample is corrected.
        seed: Of the method's streams.
        problem: The network to correct.
        summaries: Of the same network.
        samples: The samples, in their fixed order.
        bystanders: The test images of `summaries`.
        variations: Of the samples; runs of the same N0 may share them.
        goal: Of each correction.
        survival: Names of the arithmetics in which the corrected network is run on its sample.
    """

    setting: Setting
    method: Method
    seed: int
    problem: Problem
    summaries: Summaries
    samples: Sequence[Sample]
    bystanders: Bystanders
    variations: Variations = field(default_factory=Variations)
    goal: Goal = PLAIN
    survival: Sequence[str] = ()

    def __post_init__(self) -> None:
        self._reach = Reach(self.problem, self.method, self.seed)
        self._accumulation = Accumulation(self.problem.current) if self.setting.accumulate else None
        self._beyond_rows = False  # whether a correction is not in its row

    def rows(self, done: Sequence[Row] = (), saved: Snapshot | None = None) -> Iterator[Row]:
        """Correct each sample and yield its row.

        Args:
            done: Rows of an earlier attempt; they are not made again. Where corrections accumulate, the network that
                they led to is (`experiments.protocol.resume`).
            saved: A snapshot of that attempt.

        Raises:
            ReplayError: A row of `done` does not come out again.
        """
        if self._accumulation is not None and done:
            self._beyond_rows = any(row.outcome == CORRECTED and row.patch is None for row in done)
            Return(
                self.problem,
                self.summaries,
                self._accumulation,
                self.method,
                self.samples,
                self._correct,
                done,
                saved,
            ).go()
        rest = range(len(done), len(self.samples))
        many = self._many(self.samples[rest.start :])
        for position in rest:
            yield self._row(position, self.samples[position], many)

    def snapshot(self, rows: int) -> Snapshot | None:
        """Return the state that resuming after so many rows needs; None where the rows alone are enough.

        Raises:
            StateError: The method hands on something that cannot be kept.
        """
        carried = self.problem.carry is not None and not hasattr(self.method, "carry_after")
        if self._accumulation is None or not (self._beyond_rows or carried):
            return None
        flat, changed = self.problem.original.cpu(), self._accumulation.changed.cpu()
        return Snapshot(rows, flat, changed, pack(self.problem.carry) if carried else None)

    def retained(self) -> float | None:
        """Return the share of the samples that the network as it is now gets right.

        None where corrections do not accumulate (N0 gets none right) or there are no samples.
        """
        if not self.samples or not self.setting.accumulate:
            return None
        return float(right_of(self.problem.current, self.samples).double().mean())

    def _many(self, samples: Sequence[Sample]) -> Iterator[Correction] | None:
        """Yield the correction of each sample, many at once; None where each must wait for the one before."""
        if self.setting.accumulate or self.goal != PLAIN:
            return None
        streams = [self._stream(sample) for sample in samples]
        return map(_usable, self.problem.attempt_many(self.method, samples, streams))

    def _stream(self, sample: Sample) -> np.random.Generator:
        return rng.stream(self.seed, "method", sample.index)

    def _correct(self, sample: Sample) -> Correction:
        started = time.perf_counter()
        if self.setting.accumulate:
            self._reach.elsewhere.touch(self.problem.current.space.names)  # by what led to this sample
        if self.goal == PLAIN:
            (correction,) = self.problem.attempt_many(self.method, [sample], [self._stream(sample)])
        else:
            correction = self._reach.correct(sample.index, sample.image, int(sample.label), self.goal)
        if self.setting.accumulate:
            self.problem.carry = correction.carry
        return _usable(replace(correction, seconds=time.perf_counter() - started))

    def _row(self, position: int, sample: Sample, many: Iterator[Correction] | None) -> Row:
        before = _said(self.problem, sample)
        if before.answer.right:
            if not self.setting.accumulate:
                raise RuntimeError(
                    f"sample {sample.index} is right before {type(self.method).__name__} corrects it: in the reloading "
                    "setting samples are those that N0 gets wrong"
                )
            nothing = Correction.unneeded()
            return self._describe(position, sample, before, before, nothing, self.summaries.base)
        correction = self._correct(sample) if many is None else next(many)
        survival = self._survival(sample, correction.patch)
        after, summary, started = before, self.summaries.base, time.perf_counter()
        if correction.patch is not None:
            after = self._verified(sample, correction.patch)
            if self.setting.accumulate:
                self._advance(sample, correction.patch)
                summary = self.summaries.base
            else:
                summary = self.summaries.after(correction.patch)
        return self._describe(
            position,
            sample,
            before,
            after,
            correction,
            summary,
            time.perf_counter() - started,
            self._generality(sample, before, correction.patch, summary),
            survival,
        )

    def _survival(self, sample: Sample, patch: Patch | None) -> dict[str, float | None] | None:
        """Run the network with a patch on its sample, in every arithmetic that the run looks at."""
        if patch is None or not self.survival:
            return None
        label, elsewhere = int(sample.label), self._reach.elsewhere
        with elsewhere.patched(patch):
            said = {"own": self.problem.logits(sample)}
            said |= {name: logits_in(elsewhere.outputs(name, sample.image)) for name in self.survival}
        return {name: finite(PLAIN.lead(logits, label)) for name, logits in said.items()}

    def _generality(
        self, sample: Sample, before: "_Said", patch: Patch | None, summary: Summary
    ) -> Generality | None:
        """Measure a correction on what is like the sample; where corrections accumulate there is no N0 to compare."""
        if patch is None or self.setting.accumulate:
            return None
        mistaken = before.answer.prediction if None not in before.logits else -1
        alike = self.bystanders.same_confusion(
            sample.index, int(sample.label), mistaken, summary.test_predictions
        )
        return self.variations.measure(self.problem.current, sample, patch, alike)

    def _advance(self, sample: Sample, patch: Patch) -> None:
        self._beyond_rows |= not kept_in_rows(patch)
        self.problem.advance(patch)
        self.summaries.advance(patch)
        if self._accumulation is not None:
            self._accumulation.add(sample, patch)

    def _verified(self, sample: Sample, patch: Patch) -> "_Said":
        """Look at the sample with the patch applied, whatever the method says of it."""
        with self.problem.current.patched(patch):
            said = _said(self.problem, sample)
        if not said.answer.right:
            raise RuntimeError(
                f"{type(self.method).__name__} returned a patch for sample {sample.index} that leaves it wrong"
            )
        return said

    def _describe(
        self,
        position: int,
        sample: Sample,
        before: "_Said",
        after: "_Said",
        correction: Correction,
        summary: Summary,
        evaluation_seconds: float = 0.0,
        generality: Generality | None = None,
        survival: dict[str, float | None] | None = None,
    ) -> Row:
        patch = correction.patch
        l1, l2, linf = patch.norms() if patch else (0.0, 0.0, 0.0)
        outcome = CORRECTED if patch is not None else ALREADY_RIGHT if before.answer.right else UNCORRECTED
        return Row(
            position=position,
            index=sample.index,
            label=int(sample.label),
            prediction_before=before.answer.prediction,
            prediction_after=after.answer.prediction,
            outcome=outcome,
            reason=correction.reason,
            altered=correction.altered,
            l0=len(patch) if patch else 0,
            l1=l1,
            l2=l2,
            linf=linf,
            layers=patch.layers() if patch else {},
            steps=correction.steps,
            forward_passes=correction.forward_passes,
            backward_passes=correction.backward_passes,
            search_seconds=round(correction.seconds, 6),
            evaluation_seconds=round(evaluation_seconds, 6),
            sample_loss_before=finite(before.answer.loss),
            sample_loss_after=finite(after.answer.loss),
            logits_after=after.logits,
            figures=summary.figures,
            side_effects=self.bystanders.side_effects(summary.test_predictions),
            accumulated=self._accumulation.state(sample) if self._accumulation else None,
            patch=_values(patch),
            generality=generality,
            survival=survival,
        )


def _usable(correction: Correction) -> Correction:
    """Return a correction, without its patch where a value of that is not finite."""
    if correction.patch is None or torch.isfinite(correction.patch.new).all():
        return correction
    return replace(correction, patch=None, altered=0, reason="a changed value is not finite")


def _values(patch: Patch | None) -> dict[str, list[float]] | None:
    if patch is None or len(patch) > PATCH_LIMIT:
        return None
    return {"index": patch.indices.tolist(), "old": patch.old.tolist(), "new": patch.new.tolist()}


@dataclass(frozen=True)
class _Said:
    """What a network says of a sample, and its logits as a row keeps them."""

    answer: Answer
    logits: list[float | None]


@torch.no_grad()
def _said(problem: Problem, sample: Sample) -> _Said:
    logits = problem.logits(sample)
    return _Said(Answer.of(logits, sample), [finite(float(f"{x:.6g}")) for x in logits[0].tolist()])
