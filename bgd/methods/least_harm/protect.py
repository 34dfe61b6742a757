"""Harm that counts earlier corrections: any harm, and a hinge on every sample made right before."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from bgd.methods.base import Sample
from bgd.methods.least_harm.harm import INFINITE, Cost, Harm, LogitModel, Model, is_compiled
from bgd.methods.least_harm.local import Local, RankOneMetric
from bgd.methods.least_harm.tail import Activations, Edited, Support, Tail

SOFT = 0.3  # logits; temperature of the softened margin of an earlier sample


class Protection:
    """weight / 2 * sum over earlier samples i of max(0, lead - m_i)^2, m_i the softened margin of sample i."""

    def __init__(
        self,
        tail: Tail,
        weights: list[torch.Tensor],
        earlier: Sequence[Sample],
        weight: float,
        lead: float,
    ) -> None:
        """Take the samples, and what they are weighed by."""
        self._tail, self._weights, self._lead = tail, weights, lead
        self._labels = torch.cat([sample.label for sample in earlier])[None]
        self._base = Activations(tail.inputs(torch.cat([sample.image for sample in earlier])), weights)
        self._weight = weight

    def _margins(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the softened margins (n,) of logits (C, n) and their gradients (C, n)."""
        rivals = logits.scatter(0, self._labels, -torch.inf) / SOFT
        slopes = (-rivals.softmax(0)).scatter(0, self._labels, 1.0)
        return logits.gather(0, self._labels)[0] - SOFT * rivals.logsumexp(0), slopes

    def squares(self) -> torch.Tensor:
        """Return the sum over the samples of the squared gradient of m_i (P,), before any change."""
        none, nothing = self._tail.nothing()
        edited = Edited(self._base, self._weights, none, nothing)
        _, slopes = self._margins(edited.logits)
        return Local(self._tail, self._weights, edited, none, nothing).squares(RankOneMetric(slopes))

    def value(self, support: Support, change: torch.Tensor) -> float:
        """Return the harm of a change (k,) of a support's parameters."""
        margins, _ = self._margins(Edited(self._base, self._weights, support, change).logits)
        short = (self._lead - margins).clamp_min(0)
        return 0.5 * self._weight * float(short.square().sum(dtype=torch.float64))

    def model(self, support: Support, change: torch.Tensor) -> Model:
        """Return the cost near a change, over the samples that are short of their lead."""
        edited = Edited(self._base, self._weights, support, change)
        margins, slopes = self._margins(edited.logits)
        short = (self._lead - margins).clamp_min(0)
        active = (short > 0).to(slopes.dtype)
        local = Local(self._tail, self._weights, edited, support, change)
        return LogitModel(local, RankOneMetric(slopes * active), -short * slopes, self._weight, floor=0.0)


class Guard(Protocol):
    """What earlier corrections add to the harm of changes."""

    def value(self, support: Support, change: torch.Tensor) -> float:
        """Return the harm of a change (k,) of a support's parameters."""
        ...

    def model(self, support: Support, change: torch.Tensor) -> Model:
        """Return the harm near a change."""
        ...


def protection_of(
    tail: Tail, weights: list[torch.Tensor], earlier: Sequence[Sample], weight: float, lead: float
) -> Guard:
    """Return `Protection` with these arguments, or the same in compiled code."""
    if not is_compiled(weights):
        return Protection(tail, weights, earlier, weight, lead)
    from bgd.methods.least_harm.compiled_protect import CompiledProtection

    return CompiledProtection(tail, weights, earlier, weight, lead)


@dataclass(frozen=True, eq=False)
class ProtectedHarm:
    """The sum of a harm and what protects earlier corrections."""

    plain: Harm
    protection: Guard

    def cost(self, support: Support, change: torch.Tensor, most: float = INFINITE) -> Cost:
        """Return the harm of a change (k,) of a support's parameters; of one above `most`, anything above it."""
        cost = self.plain.cost(support, change, most)
        if cost.value > most:
            return cost
        return Cost(cost.value + self.protection.value(support, change), cost.flips)

    def model(self, support: Support, change: torch.Tensor) -> Model:
        """Return harm near a change."""
        return SumModel((self.plain.model(support, change), self.protection.model(support, change)))


@dataclass(frozen=True, eq=False)
class SumModel:
    """The sum of models of harm near the same change."""

    parts: tuple[Model, ...]

    def gradient(self) -> torch.Tensor:
        """Return g (P,)."""
        return torch.stack([part.gradient() for part in self.parts]).sum(0)

    def diagonal(self) -> torch.Tensor:
        """Return the diagonal of H, above 0 (P,)."""
        return torch.stack([part.diagonal() for part in self.parts]).sum(0)

    def columns(self, support: Support) -> torch.Tensor:
        """Return the rows of H of a support's parameters (k, P)."""
        return torch.stack([part.columns(support) for part in self.parts]).sum(0)

    def multiply(self, vector: torch.Tensor) -> torch.Tensor:
        """Return H v (P,) for a vector (P,)."""
        return torch.stack([part.multiply(vector) for part in self.parts]).sum(0)

    def on(self, support: Support) -> tuple[torch.Tensor, torch.Tensor]:
        """Return g (k,) and H (k, k) of a support's parameters alone, float64."""
        gradients, matrices = zip(*(part.on(support) for part in self.parts), strict=True)
        return torch.stack(gradients).sum(0), torch.stack(matrices).sum(0)
