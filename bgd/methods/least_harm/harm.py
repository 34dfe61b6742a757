"""What a change of the network's last layers costs everything else: expected harm, with its derivatives.

Four levels of knowledge, two kinds of harm. Without images it is a quadratic form with a diagonal, F of a statistic or
the identity where nothing is known. With images it is the divergence that the network would show on them.
"""

from dataclasses import dataclass, field
from typing import Protocol

import torch

from bgd.curvature.base import Curvature, Estimator
from bgd.curvature.diagonal import TrueFisher
from bgd.methods.base import Trial
from bgd.methods.least_harm.local import Local, Metric, SoftmaxMetric
from bgd.methods.least_harm.tail import Activations, Edited, Support, Tail

INFINITE = float("inf")
FLOOR = 1e-4  # of a diagonal, relative to its mean: a parameter that moved nothing so far is not free


@dataclass(frozen=True)
class Cost:
    """What a change costs.

    Attributes:
        value: Expected harm: nats per image of a keep-set, or the quadratic form.
        flips: Share of the keep-set's images whose prediction differs; 0 without images.
    """

    value: float
    flips: float = 0.0


class Model(Protocol):
    """Harm near one change: v(d + s) = v(d) + g's + s'Hs / 2, with H positive semi-definite."""

    def gradient(self) -> torch.Tensor:
        """Return g (P,)."""
        ...

    def diagonal(self) -> torch.Tensor:
        """Return the diagonal of H, above 0 (P,)."""
        ...

    def columns(self, support: Support) -> torch.Tensor:
        """Return the rows of H of a support's parameters (k, P)."""
        ...

    def multiply(self, vector: torch.Tensor) -> torch.Tensor:
        """Return H v (P,) for a vector (P,)."""
        ...

    def on(self, support: Support) -> tuple[torch.Tensor, torch.Tensor]:
        """Return g (k,) and H (k, k) of a support's parameters alone, float64."""
        ...


class Harm(Protocol):
    """Harm of changes of one network."""

    def cost(self, support: Support, change: torch.Tensor, most: float = INFINITE) -> Cost:
        """Return the harm of a change (k,) of a support's parameters; of one above `most`, anything above it."""
        ...

    def model(self, support: Support, change: torch.Tensor) -> Model:
        """Return harm near a change."""
        ...


class HarmModel(Protocol):
    """What harm is made of: the component of a method's yaml that says what it needs to know."""

    def harm(self, trial: Trial, tail: Tail, weights: list[torch.Tensor]) -> Harm:
        """Return the harm of changes of the trial's network.

        Args:
            trial: The network, and what may be known.
            tail: Its last layers.
            weights: Their weights now.
        """
        ...


def first(trial: Trial, tail: Tail) -> torch.Tensor:
    """Return a tail's parameters (P,) in N0, the network that the first sample was corrected on."""
    vector: torch.Tensor = trial.kept(f"N0 at {tail.size}", lambda: trial.original[tail.places])
    return vector


def drift(trial: Trial, tail: Tail) -> torch.Tensor | None:
    """Return the sum of earlier corrections of a tail's parameters (P,); None before any."""
    moved = trial.original[tail.places] - first(trial, tail)
    return moved if moved.any() else None


@dataclass(frozen=True)
class Distance:
    """Knows nothing: harm is the squared distance from N0, |d|^2 / 2."""

    def harm(self, trial: Trial, tail: Tail, weights: list[torch.Tensor]) -> Harm:
        """Return the harm of changes; see `HarmModel.harm`."""
        return QuadraticHarm(tail, torch.ones(tail.size, device=tail.places.device), drift(trial, tail))


@dataclass(frozen=True)
class Statistic:
    """Knows a diagonal F of the curvature of the training loss, a vector stored once: harm is d'Fd / 2.

    Attributes:
        estimator: Of the curvature. By default the Fisher information, from one drawn label an image.
    """

    estimator: Estimator = field(default_factory=lambda: TrueFisher(images=6000, draws=1))

    def harm(self, trial: Trial, tail: Tail, weights: list[torch.Tensor]) -> Harm:
        """Return the harm of changes; see `HarmModel.harm`."""
        return self.harm_of(self.diagonal(trial, tail), trial, tail)

    def harm_of(self, kept: torch.Tensor, trial: Trial, tail: Tail) -> Harm:
        """Return the harm by an F (P,), of what earlier corrections have added up to as well."""
        return QuadraticHarm(tail, kept, drift(trial, tail))

    def diagonal(self, trial: Trial, tail: Tail) -> torch.Tensor:
        """Return F (P,), above 0."""

        def make() -> torch.Tensor:
            return self.of(trial.curvature(self.estimator), tail)

        diagonal: torch.Tensor = trial.kept(f"least harm {self} of {tail.size}", make)
        return diagonal

    def of(self, curvature: Curvature, tail: Tail) -> torch.Tensor:
        """Return the F (P,) of a curvature."""
        values = curvature.diagonal()[tail.places]
        return values.clamp_min(FLOOR * float(values.mean()) or 1.0)


class QuadraticHarm:
    """(D + d)'F(D + d) / 2 with a diagonal F (P,) above 0 and D what earlier changes have added up to."""

    def __init__(self, tail: Tail, diagonal: torch.Tensor, drift: torch.Tensor | None = None) -> None:
        """Take F and D, None for no earlier change."""
        self.tail = tail
        self._diagonal = diagonal
        self._slope = torch.zeros_like(diagonal) if drift is None else diagonal * drift
        self._before = 0.0 if drift is None else 0.5 * float(drift.double() @ self._slope.double())

    def cost(self, support: Support, change: torch.Tensor, most: float = INFINITE) -> Cost:
        """Return the harm of a change (k,) of a support's parameters, with the earlier ones."""
        slope = self._slope[support.indices].double() @ change.double()
        square = self._diagonal[support.indices].double() @ change.double().square()
        return Cost(self._before + float(slope) + 0.5 * float(square))

    def model(self, support: Support, change: torch.Tensor) -> Model:
        """Return harm near a change: itself, as far as it is taken."""
        gradient = self._slope.clone()
        gradient[support.indices] += self._diagonal[support.indices] * change.to(gradient.dtype)
        return _QuadraticModel(gradient, self._diagonal)


@dataclass(frozen=True, eq=False)
class _QuadraticModel:
    _gradient: torch.Tensor
    _diagonal: torch.Tensor

    def gradient(self) -> torch.Tensor:
        return self._gradient

    def diagonal(self) -> torch.Tensor:
        return self._diagonal

    def columns(self, support: Support) -> torch.Tensor:
        rows = self._diagonal.new_zeros(len(support), len(self._diagonal))
        rows[torch.arange(len(support)), support.indices] = self._diagonal[support.indices]
        return rows

    def multiply(self, vector: torch.Tensor) -> torch.Tensor:
        return self._diagonal * vector

    def on(self, support: Support) -> tuple[torch.Tensor, torch.Tensor]:
        own = self._diagonal[support.indices].double()
        return self._gradient[support.indices].double(), own.diag()


@dataclass(frozen=True)
class Divergence:
    """Knows unlabelled images: harm is the mean of KL(N0 || N) over them, N0 the network before any correction.

    Attributes:
        images: How many, the first ones.
        active: How many of them derivatives are taken over: those whose output is least certain or has moved most.
            The rest have nearly none.
        training: Whether they are images of D in place of a keep-set.
    """

    images: int = 6000
    active: int = 1500
    training: bool = False

    def __post_init__(self) -> None:
        for key in ("images", "active"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}={getattr(self, key)}: must be at least 1")

    def _chosen(self, trial: Trial) -> torch.Tensor:
        return trial.training_images(self.images)[0] if self.training else trial.keep_images(self.images)

    def harm(self, trial: Trial, tail: Tail, weights: list[torch.Tensor]) -> Harm:
        """Return the harm of changes; see `HarmModel.harm`."""
        name = f"{self} at {tail.size}"
        inputs = trial.kept(f"inputs of {name}", lambda: tail.inputs(self._chosen(trial)), of=tail.before)
        # Made at the first sample and kept through all changes: what the outputs were before any correction.
        before = trial.kept(f"outputs before {name}", lambda: Activations(inputs, weights).logits)

        def make() -> Harm:
            return divergence_of(tail, weights, inputs, before, self.active)

        harm: Harm = trial.kept(f"harm of {name}", make, of=(*tail.before, *tail.tensors))
        return harm


def divergence_of(
    tail: Tail, weights: list[torch.Tensor], images: torch.Tensor, before: torch.Tensor, active: int
) -> Harm:
    """Return `DivergenceHarm` over what goes into a tail (n, inputs + 1), or the same in compiled code."""
    if not is_compiled(weights):
        return DivergenceHarm(tail, weights, Activations(images, weights), before, active)
    from bgd.methods.least_harm.compiled import CompiledDivergence

    return CompiledDivergence(tail, weights, images, before, active)


def is_compiled(weights: list[torch.Tensor]) -> bool:
    """Return whether there is compiled code for a tail with these weights: in float32, on the CPU."""
    return all(weight.dtype == torch.float32 and weight.device.type == "cpu" for weight in weights)


class DivergenceHarm:
    """Mean KL divergence of an edited tail's outputs from those of N0, over the images of some activations."""

    def __init__(
        self,
        tail: Tail,
        weights: list[torch.Tensor],
        activations: Activations,
        before: torch.Tensor,
        active: int,
    ) -> None:
        """Take N0's logits on the images, `before` (C, n), and how many images derivatives are taken over."""
        self.tail, self.weights = tail, weights
        self.activations, self._active = activations, active
        self._log_q = before.log_softmax(0)
        self._q = self._log_q.exp()
        self._entropy = float((self._q * self._log_q).sum(dtype=torch.float64))
        self._predictions = before.argmax(0, keepdim=True)

    def cost(self, support: Support, change: torch.Tensor, most: float = INFINITE) -> Cost:
        """Return the harm of a change (k,) of a support's parameters; infinite where a logit is not finite."""
        return self.toll_of(Edited(self.activations, self.weights, support, change).logits)

    def toll_of(self, logits: torch.Tensor) -> Cost:
        """Return the harm of a network with these logits (C, n)."""
        crossed = float((self._q * logits.log_softmax(0)).sum(dtype=torch.float64))
        value = (self._entropy - crossed) / logits.shape[1]
        if not value < INFINITE:
            return Cost(INFINITE, 1.0)
        # Two lookups are faster than the largest one's place; where two are the largest, nothing counts as flipped.
        flipped = logits.gather(0, self._predictions)[0] < logits.amax(0)
        return Cost(value, int(flipped.count_nonzero()) / logits.shape[1])

    def model(self, support: Support, change: torch.Tensor) -> Model:
        """Return harm near a change."""
        edited = Edited(self.activations, self.weights, support, change)
        p = edited.logits.softmax(0)
        residual = p - self._q
        chosen = None
        if self._active < p.shape[1]:
            weight = residual.abs().sum(0) + (p * (1 - p)).sum(0)
            chosen = weight.topk(self._active).indices.sort().values
            p, residual = p[:, chosen], residual[:, chosen]
        local = Local(self.tail, self.weights, edited, support, change, chosen)
        return LogitModel(local, SoftmaxMetric(p), residual, 1 / edited.logits.shape[1])


@dataclass(frozen=True, eq=False)
class LogitModel:
    """Harm that is a function of logits, near a change: Gauss-Newton.

    Attributes:
        local: Derivatives of the logits.
        metric, residual: Second and first derivative of the harm with respect to them.
        scale: Factor on both.
        floor: Of the diagonal, relative to its mean; 0 for a term of a sum, of which another has one.
    """

    local: Local
    metric: Metric
    residual: torch.Tensor
    scale: float
    floor: float = FLOOR

    def gradient(self) -> torch.Tensor:
        """Return g (P,)."""
        return self.local.backward(self.residual) * self.scale

    def diagonal(self) -> torch.Tensor:
        """Return the diagonal of H, above 0 where there is a floor (P,)."""
        values = self.local.squares(self.metric) * self.scale
        if not self.floor:
            return values
        return values.clamp_min(self.floor * float(values.mean()) or 1.0)

    def columns(self, support: Support) -> torch.Tensor:
        """Return the rows of H of a support's parameters (k, P)."""
        return self.local.backward(self.metric.apply(self.local.columns(support))) * self.scale

    def multiply(self, vector: torch.Tensor) -> torch.Tensor:
        """Return H v (P,) for a vector (P,)."""
        return self.local.backward(self.metric.apply(self.local.forward(vector))) * self.scale

    def on(self, support: Support) -> tuple[torch.Tensor, torch.Tensor]:
        """Return g (k,) and H (k, k) of a support's parameters alone, float64."""
        columns = self.local.columns(support)
        gradient = (columns * self.residual).sum((1, 2)) * self.scale
        rows = columns.flatten(1)
        matrix = rows @ self.metric.apply(columns).flatten(1).T * self.scale
        return gradient.double(), matrix.double()
