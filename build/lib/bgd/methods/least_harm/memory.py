"""Prices of a change that remember the corrections before: what protects them, and curvature that is made anew.

Each takes another price and, as long as nothing was corrected before, is that price.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from bgd import rng
from bgd.curvature.base import Curvature, Estimator
from bgd.methods.base import Trial
from bgd.methods.least_harm.harm import Divergence, Harm, HarmModel, QuadraticHarm, Statistic
from bgd.methods.least_harm.kronecker import Kronecker
from bgd.methods.least_harm.protect import ProtectedHarm, Protection
from bgd.methods.least_harm.search import earlier, kept_since
from bgd.methods.least_harm.tail import Tail


@dataclass(frozen=True)
class Protected:
    """A price, and a penalty for every sample made right before whose margin falls short: a soft constraint.

    Attributes:
        price: Of a change.
        weight: Of a squared shortfall, in nats per squared logit. The default is what `LeastHarmInARow` has: 10 over
            4,000 images.
        lead: Margin, in logits, that an earlier sample is to keep.
    """

    price: HarmModel = field(default_factory=Divergence)
    weight: float = 0.0025
    lead: float = 0.3

    def __post_init__(self) -> None:
        for key in ("weight", "lead"):
            if getattr(self, key) <= 0:
                raise ValueError(f"{key}={getattr(self, key)}: must be above 0")

    def keeps_since(self, corrected: int) -> int:
        """As the price; see `Method`."""
        return kept_since(self.price, corrected)

    def harm(self, trial: Trial, tail: Tail, weights: list[torch.Tensor]) -> Harm:
        """Return the harm of changes; see `HarmModel.harm`."""
        plain, samples = self.price.harm(trial, tail, weights), earlier(trial)
        if not samples:
            return plain
        return ProtectedHarm(plain, Protection(tail, weights, samples, self.weight, self.lead))


@dataclass(frozen=True)
class Hardened:
    """A diagonal F with the squared gradients of the margins of the samples made right before added to it.

    What moves an earlier sample becomes expensive, whichever way it moves it. So that nothing pulls earlier
    corrections back, a change costs what it adds to the network as it is, not what all changes add up to.

    Attributes:
        price: Whose F.
        weight: Of a squared gradient, in nats per squared logit.
    """

    price: Statistic = field(default_factory=Statistic)
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.weight <= 0:
            raise ValueError(f"weight={self.weight}: must be above 0")

    def harm(self, trial: Trial, tail: Tail, weights: list[torch.Tensor]) -> Harm:
        """Return the harm of changes; see `HarmModel.harm`."""
        samples = earlier(trial)
        if not samples:
            return self.price.harm(trial, tail, weights)
        squares = Protection(tail, weights, samples, self.weight, lead=0.0).squares()
        return QuadraticHarm(tail, self.price.diagonal(trial, tail) + self.weight * squares)


class ByCurvature(HarmModel, Protocol):
    """A price that is made from a curvature: `Statistic`, `Kronecker`."""

    @property
    def estimator(self) -> Estimator:
        """Of the curvature."""
        ...

    def of(self, curvature: Curvature, tail: Tail) -> Any:
        """Return the part of a curvature that is kept."""
        ...

    def harm_of(self, kept: Any, trial: Trial, tail: Tail) -> Harm:
        """Return the harm by what is kept of a curvature."""
        ...


@dataclass(frozen=True)
class Refreshed:
    """A price by curvature that is estimated anew on the network as it is, every so many corrections.

    It has to have the training data at hand.

    Attributes:
        price: By the curvature of N0.
        every: Corrections from one estimate to the next.
    """

    price: ByCurvature = field(default_factory=Kronecker)
    every: int = 50

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every={self.every}: must be at least 1")

    def keeps_since(self, corrected: int) -> int:
        """The last estimate was made after so many corrections; see `Method`."""
        return corrected // self.every * self.every

    def harm(self, trial: Trial, tail: Tail, weights: list[torch.Tensor]) -> Harm:
        """Return the harm of changes; see `HarmModel.harm`."""
        count = self.keeps_since(len(earlier(trial)))
        if not count:
            return self.price.harm(trial, tail, weights)
        kept: dict[int, Any] = trial.kept(f"{self} at {tail.size}", dict)
        if count not in kept:
            kept.clear()  # one at a time: a factor can be large
            kept[count] = self.price.of(self._curvature(trial, count), tail)
        return self.price.harm_of(kept[count], trial, tail)

    def _curvature(self, trial: Trial, count: int) -> Curvature:
        estimator = self.price.estimator
        images, labels = trial.training_images(estimator.images)
        stream = rng.stream(0, "curvature", count)
        return estimator.estimate(trial.network, trial.space, images, labels, stream)
