"""Corrections in a row that spare each other: earlier samples count as harm, and from time to time all is settled anew.

A network that is corrected hundreds of times has two things to lose: what it could do before, and what it was taught
since. Both are in the harm here. Changes of few parameters, each the best for one sample, add up to a sum that is far
from the best one; so every so many corrections all parameters of the last layers are settled anew, together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import nn

from bgd.methods.base import Correction, Sample, Trial
from bgd.methods.least_harm.harm import Harm, divergence_of
from bgd.methods.least_harm.protect import ProtectedHarm, protection_of
from bgd.methods.least_harm.search import LeastHarm, earlier, finished, remembered, tail_of, terms_of
from bgd.methods.least_harm.settle import Consolidation, answers, outputs, settled
from bgd.methods.least_harm.tail import Tail
from bgd.methods.least_harm.variants import variants
from bgd.parameters import wide
from bgd.patch import Patch

VERSION = 1  # raised whenever the same options may give another correction


@dataclass(frozen=True)
class Spread:
    """A keep-set widened by shifted, turned and scaled copies, of which some are drawn anew for each correction.

    Attributes:
        images: How many images of the keep-set, the first ones.
        widened: Whether their copies count too (`bgd.methods.least_harm.variants`), of pictures (N, c, h, w).
        drawn: How many of all these a correction looks at.
        active: How many of those derivatives are taken over.
    """

    images: int = 6000
    widened: bool = True
    drawn: int = 4000
    active: int = 1500

    def __post_init__(self) -> None:
        for key in ("images", "drawn", "active"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}={getattr(self, key)}: must be at least 1")

    def inputs(self, trial: Trial, tail: Tail) -> torch.Tensor:
        """Return the tail's inputs for all these images (N, inputs + 1)."""

        def make() -> torch.Tensor:
            images = trial.keep_images(self.images)
            return tail.inputs(variants(images) if self.widened and images.dim() == 4 else images)

        inputs: torch.Tensor = trial.kept(f"inputs of {self}", make, of=tail.before)
        return inputs


@dataclass(frozen=True, eq=False)
class Guarded:
    """The price of a change after some corrections: a `HarmModel` made anew for each sample.

    Attributes:
        inputs: What goes into the tail for the images drawn (n, inputs + 1).
        before: N0's logits on them (C, n).
        active: How many of them derivatives are taken over.
        samples: Those made right so far.
        protect, lead: See `LeastHarmInARow`.
    """

    inputs: torch.Tensor
    before: torch.Tensor
    active: int
    samples: tuple[Sample, ...]
    protect: float
    lead: float

    def harm(self, trial: Trial, tail: Tail, weights: list[torch.Tensor]) -> Harm:
        """Return the harm of changes; see `HarmModel.harm`."""
        active = min(self.active, len(self.inputs))
        divergence = divergence_of(tail, weights, self.inputs, self.before, active)
        if not self.samples or not self.protect:
            return divergence
        weight = self.protect / len(self.inputs)
        return ProtectedHarm(divergence, protection_of(tail, weights, self.samples, weight, self.lead))


@dataclass(frozen=True)
class LeastHarmInARow:
    """Least harm for corrections that accumulate.

    Attributes:
        search: How a correction is looked for; its price is replaced by the one here. By default with fewer tries than
            a single correction has, and the whole budget: there are many corrections.
        spread: The images that expected harm is over.
        protect: Weight of an earlier sample's squared shortfall, in nats per squared logit; 0 for none.
        lead: Margin, in logits, that an earlier sample is to keep.
        consolidation: Whether and how the last layers are settled anew; None for never.
    """

    search: LeastHarm = field(
        default_factory=lambda: LeastHarm(
            price=None, budget=32, tolerance=0.0, singles=20, growth=1.0, tries=1
        )
    )
    spread: Spread = field(default_factory=Spread)
    protect: float = 10.0
    lead: float = 0.3
    consolidation: Consolidation | None = field(default_factory=Consolidation)

    def __post_init__(self) -> None:
        for key in ("protect", "lead"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key}={getattr(self, key)}: must be at least 0")

    def draws(self, network: nn.Module) -> bool:
        """Images are drawn."""
        return True

    def carry_after(self, corrected: Sequence[Sample]) -> tuple[Sample, ...]:
        """The samples made right are what is carried along; see `Method`."""
        return tuple(corrected)

    def correct(self, trial: Trial, sample: Sample, stream: np.random.Generator) -> Correction:
        """Correct with earlier samples in mind; see `Method.correct`."""
        tail = tail_of(trial, sample, self.search.scope)
        inputs = self.spread.inputs(trial, tail)
        # Made at the first sample and kept through all corrections: what the network said before any.
        before = trial.kept("outputs of N0", lambda: outputs(inputs, tail.weights(trial.original)))
        drawn = torch.from_numpy(stream.permutation(len(inputs))[: self.spread.drawn]).to(inputs.device)
        price = Guarded(
            inputs.index_select(0, drawn),
            before[:, drawn],
            self.spread.active,
            earlier(trial),
            self.protect,
            self.lead,
        )
        terms = terms_of(trial, sample, price, self.search.scope)
        found, steps = self.search.search(terms)
        done = finished(trial, sample, tail, found, steps, self.search.budget, self.search.harm_budget)
        corrected = (*earlier(trial), sample)
        plan = self.consolidation
        if plan and done.patch is not None and len(corrected) % plan.every == 0:
            wanted = trial.kept("answers of N0", lambda: answers(before))
            vector = settled(plan, tail, wide(trial.flat[tail.places]), inputs, wanted, corrected, stream)
            done = _replaced(trial, sample, tail, vector.to(trial.flat.dtype), done)
        return remembered(trial, sample, done)


def _replaced(trial: Trial, sample: Sample, tail: Tail, vector: torch.Tensor, done: Correction) -> Correction:
    """Return the correction that leads to a tail's vector (P,) instead; `done` where that leaves the sample wrong."""
    kept = trial.flat[tail.places]
    trial.flat[tail.places] = vector
    trial.altered = tail.places
    if not trial.answer(sample).right:
        trial.flat[tail.places] = kept
        return done
    patch = Patch.sparse(trial.space, tail.places, trial.original[tail.places], vector)
    return replace(done, patch=patch, altered=len(patch))
