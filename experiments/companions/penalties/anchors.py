"""Distances from the network that the training starts from: what a correction by retraining is held with."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch.func import grad, vmap

from experiments.companions.penalties.base import Before, Memory, Penalty, View


@dataclass(frozen=True)
class L2Sp(Penalty):
    """|theta - theta_0|^2, theta_0 the start (Li et al. 2018): parameter tying with a distance penalty."""

    def remember(self, before: Before) -> Memory:
        """See `Penalty.remember`."""
        return {name: value.clone() for name, value in before.parameters.items()}

    def value(self, view: View) -> torch.Tensor:
        """See `Penalty.value`."""
        apart = [(value - view.memory[name]).square().sum() for name, value in view.parameters.items()]
        return torch.stack(apart).sum()


@dataclass(frozen=True)
class Ewc(Penalty):
    """sum_j F_j (theta_j - theta_0j)^2, F the empirical Fisher at the start (Kirkpatrick et al. 2017).

    Attributes:
        samples: Of the training set, the first ones, that F is estimated on.
    """

    samples: int = 200

    def remember(self, before: Before) -> Memory:
        """See `Penalty.remember`: theta_0 and F by name."""

        def loss(parameters: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return before.loss.each(before.network(parameters, x[None]).outputs, y[None]).sum()

        few = slice(self.samples)
        slopes = vmap(grad(loss), in_dims=(None, 0, 0))(before.parameters, before.x[few], before.y[few])
        fisher = {f"fisher.{name}": slope.square().mean(0) for name, slope in slopes.items()}
        return {**{name: value.clone() for name, value in before.parameters.items()}, **fisher}

    def value(self, view: View) -> torch.Tensor:
        """See `Penalty.value`."""
        apart = [
            (view.memory[f"fisher.{name}"] * (value - view.memory[name]).square()).sum()
            for name, value in view.parameters.items()
        ]
        return torch.stack(apart).sum()


@dataclass(frozen=True)
class Distillation(Penalty):
    """Mean KL divergence from the start's probabilities, on the batch (Hinton et al. 2015).

    Attributes:
        temperature: Logits are divided by it; the term is multiplied by its square.
    """

    temperature: float = 1.0

    def remember(self, before: Before) -> Memory:
        """See `Penalty.remember`: the start's parameters."""
        return {name: value.clone() for name, value in before.parameters.items()}

    def value(self, view: View) -> torch.Tensor:
        """See `Penalty.value`."""
        teacher = view.start(view.memory, view.x).outputs / self.temperature
        student = view.logits(view.x) / self.temperature
        apart = F.kl_div(student.log_softmax(1), teacher.log_softmax(1), log_target=True, reduction="sum")
        return self.temperature**2 * apart / len(view.x)
