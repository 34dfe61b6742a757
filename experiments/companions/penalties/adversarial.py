"""The loss at inputs that were moved against the network."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch.func import grad

from experiments.companions.penalties.base import Penalty, Shape, View, squared_norms

TINY = 1e-12  # below the norm of any direction that has one


@dataclass(frozen=True)
class Fgsm(Penalty):
    """The loss at x + eps sign(d L / d x) (Goodfellow et al. 2015).

    Attributes:
        eps: Of each input, in the units that the network gets.
    """

    eps: float = 0.1

    def value(self, view: View) -> torch.Tensor:
        """See `Penalty.value`."""
        slope = grad(lambda x: view.loss.each(view.logits(x), view.y).sum())(view.x)
        moved = view.x + self.eps * slope.detach().sign()
        return view.loss.total(view.logits(moved), view.y)


@dataclass(frozen=True)
class Virtual(Penalty):
    """KL divergence from the probabilities at x to those at x + eps d, d the direction that it grows most in.

    d by one step of the power method from a random direction (Miyato et al. 2016); no label is needed.

    Attributes:
        eps: Length of the move.
        xi: Length of the step of the power method.
    """

    eps: float = 1.0
    xi: float = 0.1

    own_pass: ClassVar[bool] = False

    def draw(
        self, stream: np.random.Generator, shape: Shape
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """See `Penalty.draw`: a direction for each sample."""
        return stream.standard_normal((shape.batch, *shape.inputs), dtype=np.float32)

    def value(self, view: View) -> torch.Tensor:
        """See `Penalty.value`."""
        here = view.logits(view.x).detach().log_softmax(1)

        def apart(move: torch.Tensor) -> torch.Tensor:
            there = view.logits(view.x + move).log_softmax(1)
            return F.kl_div(there, here, log_target=True, reduction="sum") / len(view.x)

        worst = grad(apart)(self.xi * _unit(view.draw)).detach()
        return apart(self.eps * _unit(worst))


def _unit(directions: torch.Tensor) -> torch.Tensor:
    norms = squared_norms(directions).sqrt().clamp_min(TINY)
    return directions / norms.view(-1, *(1,) * (directions.ndim - 1))
