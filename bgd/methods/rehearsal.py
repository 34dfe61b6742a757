"""Rehearsal: all that was said of a keep-set and every correction so far are trained for again with each new sample.

Robins, "Catastrophic forgetting, rehearsal and pseudorehearsal", Connection Science 1995; the keep-set by a divergence
from N0's answers, as in Li and Hoiem, "Learning without forgetting", ECCV 2016, earlier samples by a hinge.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from bgd.methods.base import Correction, Sample, Trial
from bgd.methods.least_harm.row import Spread
from bgd.methods.least_harm.search import earlier, remembered, tail_of
from bgd.methods.least_harm.settle import Objective, answers, descended, outputs
from bgd.methods.least_harm.tail import Tail
from bgd.methods.least_harm.variants import likenesses
from bgd.parameters import wide
from bgd.patch import Patch

VERSION = 1  # raised whenever the same options may give another correction

HEAVIER = 4.0  # factor on the weight of a sample that is still wrong
SLOPES = 10  # batches that the slope at the start is over


@dataclass(frozen=True)
class Rehearsal:
    """Trains the last layers with each sample, all of their parameters or a few.

    Adam on the mean divergence from N0 over a batch of the keep-set plus a hinge on every sample so far. Where the new
    sample stays wrong, its hinge gets heavier and the steps go on.

    With a budget of k parameters the descent of all of them shows which k to move: those whose move times the slope
    that it starts at lowers the objective most. It is repeated with these alone.

    Attributes:
        spread: The images of the keep-set.
        budget: k, how many parameters a correction may change; None for all.
        steps: Of Adam, for a sample.
        rate: Of Adam, falling to 0 over the second half.
        batch: Images a step.
        weight: Of an earlier sample's hinge, in nats per logit, against the mean divergence.
        emphasis: How many times that the new sample weighs, at the first try.
        lead: Margin, in logits, that a sample is to have.
        likenesses: How many images like the new sample are to be right with it, of pictures (1, c, h, w): turned by up
            to `degrees` either way and with Gaussian noise of standard deviation `noise`, in turn. They weigh as it
            does; after its turn they are forgotten.
        degrees, noise: See `likenesses`.
        tries: How often the steps are made, the new sample heavier each time.
        scope: Most parameters of the last layers; the last layer is always trained.
    """

    knows: ClassVar[str] = "keep_set"

    spread: Spread = field(default_factory=Spread)
    budget: int | None = None
    steps: int = 60
    rate: float = 0.002
    batch: int = 1000
    weight: float = 0.0005
    emphasis: float = 10.0
    lead: float = 0.1
    likenesses: int = 0
    degrees: float = 10.0
    noise: float = 0.3
    tries: int = 6
    scope: int = 20000

    def __post_init__(self) -> None:
        for key in ("budget", "steps", "batch", "tries", "scope"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ValueError(f"{key}={value}: must be at least 1")
        for key in ("rate", "weight", "emphasis", "lead"):
            if getattr(self, key) <= 0:
                raise ValueError(f"{key}={getattr(self, key)}: must be above 0")
        for key in ("likenesses", "degrees", "noise"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key}={getattr(self, key)}: must be at least 0")

    def draws(self, network: nn.Module) -> bool:
        """Images are drawn."""
        return True

    def carry_after(self, corrected: Sequence[Sample]) -> tuple[Sample, ...]:
        """The samples made right are what is carried along; see `Method`."""
        return tuple(corrected)

    def correct(self, trial: Trial, sample: Sample, stream: np.random.Generator) -> Correction:
        """Train until the sample is right; see `Method.correct`."""
        tail = tail_of(trial, sample, self.scope)
        inputs = self.spread.inputs(trial, tail)
        # Made at the first sample and kept through all corrections: what the network said before any.
        wanted = trial.kept("answers of N0", lambda: answers(outputs(inputs, tail.weights(trial.original))))
        known = earlier(trial)
        samples = (*known, sample, *self._alike(sample, stream))
        weights = torch.full((len(samples),), self.weight, dtype=inputs.dtype, device=inputs.device)
        weights[len(known) :] *= self.emphasis
        objective = Objective(tail, inputs, wanted, samples, weights, self.lead)
        start = wide(trial.original[tail.places])
        now = start
        for count in range(1, self.tries + 1):
            batches = objective.drawn(self.steps, self.batch, stream)
            now = self._descended(trial, objective, start, now, batches)
            if (patch := _written(trial, sample, tail, now)) is not None:
                done = Correction(patch, altered=len(patch), steps=count * self.steps)
                return remembered(trial, sample, done)
            weights[len(known) :] *= HEAVIER
        failed = Correction.failed(f"wrong after {self.tries * self.steps} steps", self.tries * self.steps)
        return remembered(trial, sample, failed)

    def _alike(self, sample: Sample, stream: np.random.Generator) -> list[Sample]:
        """Return images like a sample, with its label."""
        if not self.likenesses or sample.image.dim() != 4:
            return []
        images = likenesses(sample.image, self.likenesses, self.degrees, self.noise, stream)
        return [replace(sample, image=image[None]) for image in images]

    def _descended(
        self,
        trial: Trial,
        objective: Objective,
        start: torch.Tensor,
        now: torch.Tensor,
        batches: torch.Tensor,
    ) -> torch.Tensor:
        """Return the vector (P,) after the descent from `now`, within the budget from `start`."""
        budget = self.budget or len(start)
        passes = len(batches) if budget >= len(start) else 2 * len(batches) + len(batches[:SLOPES])
        trial.forward_passes += passes
        trial.backward_passes += passes
        if budget >= len(start):
            return descended(objective, now, batches, self.rate)
        everywhere = descended(objective, start, batches, self.rate)
        slope = torch.stack([objective.slope(start, drawn) for drawn in batches[:SLOPES]]).mean(0)
        free = torch.zeros_like(start)
        free[(slope * (start - everywhere)).topk(budget).indices] = 1.0
        return descended(objective, start, batches, self.rate, free)


def _written(trial: Trial, sample: Sample, tail: Tail, vector: torch.Tensor) -> Patch | None:
    """Write a tail's vector (P,) into the copy. Return the patch, None where the sample stays wrong."""
    if not torch.isfinite(vector).all():
        return None
    trial.flat[tail.places] = vector.to(trial.flat.dtype)
    trial.altered = tail.places
    if not trial.answer(sample).right:
        return None
    changed = tail.places[trial.flat[tail.places] != trial.original[tail.places]]
    return Patch.sparse(trial.space, changed, trial.original[changed], trial.flat[changed])
