"""All parameters of the last layers settled anew: what N0 said of many images, and every sample that was corrected."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from bgd.methods.adam import Adam
from bgd.methods.base import Sample
from bgd.methods.least_harm.tail import BATCH, Activations, Tail


@dataclass(frozen=True)
class Consolidation:
    """All parameters of the last layers settled anew, by Adam on divergence and hinge over batches.

    Attributes:
        every: Corrections from one to the next.
        steps: Of Adam.
        rate: Of Adam, falling to 0 over the second half.
        batch: Images a step.
        weight: Of an earlier sample's hinge, in nats per logit, against the mean divergence of all images. By default
            that of 3 images of 6,000.
        lead: Margin, in logits, that a sample is to have.
    """

    every: int = 5
    steps: int = 300
    rate: float = 0.001
    batch: int = 3000
    weight: float = 0.0005
    lead: float = 0.3

    def __post_init__(self) -> None:
        for key in ("every", "steps", "batch"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}={getattr(self, key)}: must be at least 1")
        for key in ("rate", "weight", "lead"):
            if getattr(self, key) <= 0:
                raise ValueError(f"{key}={getattr(self, key)}: must be above 0")


class Objective:
    """mean over images of KL(N0 || N) + sum over samples i of weight_i max(0, lead - m_i), m_i the margin of i.

    Args:
        tail: The last layers.
        inputs: What goes into them for the images (N, inputs + 1).
        wanted: N0's probabilities on these (N, C).
        samples: Those that are to be right.
        weight: Of each sample's hinge, in nats per logit: one number, or one for each (n,).
        lead: Logits.
    """

    def __init__(
        self,
        tail: Tail,
        inputs: torch.Tensor,
        wanted: torch.Tensor,
        samples: Sequence[Sample],
        weight: float | torch.Tensor,
        lead: float,
    ) -> None:
        self._tail, self._inputs, self._weight, self._lead = tail, inputs, weight, lead
        self._samples = tail.inputs(torch.cat([sample.image for sample in samples]))
        self._labels = torch.cat([sample.label for sample in samples])[:, None]
        self._wanted = wanted
        self._into = self._samples  # of a batch: its images, then all samples

    def __call__(self, vector: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """Return its value () at a tail's vector (P,) over the images drawn, differentiable in the vector."""
        weights = self._tail.unpack(vector)
        said = _run(self._inputs[drawn], weights).log_softmax(1)
        divergence = F.kl_div(said, self._wanted[drawn], reduction="batchmean")
        logits = _run(self._samples, weights)
        rivals = logits.scatter(1, self._labels, -torch.inf).amax(1, keepdim=True)
        short = (self._lead - logits.gather(1, self._labels) + rivals).clamp_min(0)
        if isinstance(self._weight, torch.Tensor):
            return divergence + (self._weight * short[:, 0]).sum()
        return divergence + self._weight * short.sum()

    def slope(self, vector: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """Return its gradient (P,) at a tail's vector (P,) over the images drawn.

        By hand: autograd and the arrays that it keeps take several times as long as the products.
        """
        count, weights = len(drawn), self._tail.unpack(vector)
        if len(self._into) != count + len(self._samples):
            self._into = torch.cat([self._samples.new_empty(count, self._samples.shape[1]), self._samples])
        torch.index_select(self._inputs, 0, drawn, out=self._into[:count])
        outputs = [(self._into @ weights[0].T).T.contiguous()]
        for weight in weights[1:]:
            outputs.append(torch.addmm(weight[:, -1:], weight[:, :-1], outputs[-1].relu()))
        said, logits = outputs[-1][:, :count], outputs[-1][:, count:]
        differences = (said.softmax(0) - self._wanted.index_select(0, drawn).T) / count
        return self._pulled(weights, outputs, torch.cat([differences, self._pushes(logits)], 1))

    def _pushes(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the derivative of the hinges with respect to the samples' logits (C, n)."""
        labels = self._labels.T
        largest, rivals = logits.scatter(0, labels, -torch.inf).max(0, keepdim=True)
        short = (self._lead - logits.gather(0, labels) + largest > 0).to(logits.dtype) * self._weight
        return torch.zeros_like(logits).scatter_(0, rivals, short).scatter_(0, labels, -short)

    def _pulled(
        self, weights: list[torch.Tensor], outputs: list[torch.Tensor], deltas: torch.Tensor
    ) -> torch.Tensor:
        """Return the gradient (P,) of a function of the logits.

        Args:
            weights: Of the layers.
            outputs: Of each layer, before ReLU (units, n).
            deltas: The derivative of the function with respect to the logits (C, n).
        """
        matrices = []
        for weight, below in zip(reversed(weights[1:]), reversed(outputs[:-1]), strict=True):
            matrices.append(torch.cat([deltas @ below.relu().T, deltas.sum(1, keepdim=True)], 1))
            deltas = (weight[:, :-1].T @ deltas) * (below > 0)
        matrices.append(deltas @ self._into)
        return self._tail.pack(matrices[::-1])

    def drawn(self, steps: int, batch: int, stream: np.random.Generator) -> torch.Tensor:
        """Draw images for some steps (steps, batch)."""
        places = stream.integers(len(self._inputs), size=(steps, batch))
        return torch.from_numpy(places).to(self._inputs.device)


def descended(
    objective: Objective,
    vector: torch.Tensor,
    batches: Sequence[torch.Tensor] | torch.Tensor,
    rate: float,
    free: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return a tail's vector (P,) after a step of Adam on each batch.

    Args:
        objective: What is lowered.
        vector: Where to start (P,).
        batches: The images of each step.
        rate: Of Adam, falling to 0 over the second half.
        free: Mask (P,) of the parameters that move; None for all.
    """
    now = vector.clone()
    optimizer = Adam([now], rate, square=0.99)
    for step, drawn in enumerate(batches):
        optimizer.rate = rate * min(1.0, 2 * (len(batches) - step) / len(batches))
        slope = objective.slope(now, drawn)
        optimizer.step(slope if free is None else slope * free)
    return now


def settled(
    plan: Consolidation,
    tail: Tail,
    vector: torch.Tensor,
    inputs: torch.Tensor,
    wanted: torch.Tensor,
    corrected: Sequence[Sample],
    stream: np.random.Generator,
) -> torch.Tensor:
    """Return a tail's vector (P,) settled anew.

    It is the one that came in where the objective, over a batch that is kept aside, is not lower after.
    """
    objective = Objective(tail, inputs, wanted, corrected, plan.weight, plan.lead)
    aside, *batches = objective.drawn(plan.steps + 1, plan.batch, stream)
    now = descended(objective, vector, batches, plan.rate)
    with torch.no_grad():
        return now if objective(now, aside) < objective(vector, aside) else vector


def answers(logits: torch.Tensor) -> torch.Tensor:
    """Return the probabilities (N, C) of logits (C, N)."""
    return logits.T.softmax(1)


def outputs(inputs: torch.Tensor, weights: list[torch.Tensor]) -> torch.Tensor:
    """Return a tail's logits (C, N) for what goes into it (N, inputs + 1)."""
    return torch.cat([Activations(part, weights).logits for part in torch.split(inputs, BATCH)], dim=1)


def _run(inputs: torch.Tensor, weights: list[torch.Tensor]) -> torch.Tensor:
    """Return a tail's logits (N, C), differentiable in its weights."""
    values = inputs
    for place, weight in enumerate(weights):
        if place:
            values = F.pad(values.relu(), (0, 1), value=1.0)
        values = values @ weight.T
    return values
