"""All parameters of the last layers settled anew: what N0 said of many images, and every sample that was corrected."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from bgd.methods.adam import Adam
from bgd.methods.base import Sample
from bgd.methods.least_harm.tail import BATCH, Activations, Tail

SQUARE = 0.99  # of Adam's running mean of g^2 kept from step to step: the steps are few


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
        self._tail, self._inputs, self._wanted = tail, inputs, wanted
        self._weight, self._lead = weight, lead
        self._samples = tail.inputs(torch.cat([sample.image for sample in samples]))
        self._labels = torch.cat([sample.label for sample in samples])[:, None]

    def __call__(self, vector: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """Return its value () at a tail's vector (P,) over the images drawn, differentiable in the vector."""
        weights = self._tail.unpack(vector)
        # index_select copies rows; an index in brackets takes three times as long.
        said = _run(self._inputs.index_select(0, drawn), weights).log_softmax(1)
        divergence = F.kl_div(said, self._wanted.index_select(0, drawn), reduction="batchmean")
        logits = _run(self._samples, weights)
        rivals = logits.scatter(1, self._labels, -torch.inf).amax(1, keepdim=True)
        short = (self._lead - logits.gather(1, self._labels) + rivals).clamp_min(0)
        if isinstance(self._weight, torch.Tensor):
            return divergence + (self._weight * short[:, 0]).sum()
        return divergence + self._weight * short.sum()

    def slope(self, vector: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """Return its gradient (P,) at a tail's vector (P,) over the images drawn."""
        at = vector.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self(at, drawn), at)
        return gradient

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
    now = vector.clone().requires_grad_()
    optimizer = Adam([now], rate, SQUARE)
    for step, drawn in enumerate(batches):
        optimizer.rate = rate * min(1.0, 2 * (len(batches) - step) / len(batches))
        (gradient,) = torch.autograd.grad(objective(now, drawn), now)
        optimizer.step(gradient if free is None else gradient * free)
    return now.detach()


def settled(
    plan: Consolidation,
    tail: Tail,
    vector: torch.Tensor,
    inputs: torch.Tensor,
    before: torch.Tensor,
    corrected: Sequence[Sample],
    stream: np.random.Generator,
) -> torch.Tensor:
    """Return a tail's vector (P,) settled anew.

    It is the one that came in where the objective, over a batch that is kept aside, is not lower after.
    """
    objective = Objective(tail, inputs, before.T.softmax(1), corrected, plan.weight, plan.lead)
    aside, *batches = objective.drawn(plan.steps + 1, plan.batch, stream)
    now = descended(objective, vector, batches, plan.rate)
    with torch.no_grad():
        return now if objective(now, aside) < objective(vector, aside) else vector


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
