"""Penalties on the Jacobian of outputs by inputs, in full or by a random projection of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch.func import vjp, vmap

from experiments.companions.penalties.base import Penalty, Shape, View, squared_norms

Pull = Callable[[torch.Tensor], tuple[torch.Tensor, ...]]


def pulled(view: View) -> tuple[torch.Tensor, Pull]:
    """Give the logits (B, K), and what takes vectors like them to derivatives by the inputs."""
    found: tuple[torch.Tensor, Pull] = vjp(view.logits, view.x)  # type: ignore[assignment]
    return found


def jacobian_rows(view: View) -> tuple[torch.Tensor, torch.Tensor]:
    """Give the logits (B, K) and the Jacobian by the inputs (K, B, D) of each sample."""
    logits, pull = pulled(view)
    units = torch.eye(logits.shape[1], dtype=logits.dtype, device=logits.device)
    (rows,) = vmap(lambda unit: pull(unit.expand_as(logits)))(units)
    return logits, rows.flatten(2)


@dataclass(frozen=True)
class SpectReg(Penalty):
    """(1/B) sum_i |d (r . g(x_i)) / d x_i|^2, r normal, not normalized, one for a whole batch (Varga et al. 2018).

    Over r its mean is the squared Frobenius norm of the Jacobian of the logits g, FrobReg. The derivative is of the sum
    over the batch: where batch normalization stands just before the last layer, that is constant and the term 0.
    """

    own_pass: ClassVar[bool] = True

    def draw(
        self, stream: np.random.Generator, shape: Shape
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """See `Penalty.draw`: r (K,)."""
        return stream.standard_normal(shape.outputs, dtype=np.float32)

    def value(self, view: View) -> torch.Tensor:
        """See `Penalty.value`."""
        logits, pull = pulled(view)
        (slope,) = pull(view.draw.expand_as(logits))
        return squared_norms(slope).mean()


@dataclass(frozen=True)
class FrobReg(Penalty):
    """(1/B) sum_i |J_g(x_i)|_F^2, g the logits."""

    own_pass: ClassVar[bool] = True

    def value(self, view: View) -> torch.Tensor:
        """See `Penalty.value`."""
        _, rows = jacobian_rows(view)
        return rows.square().sum((0, 2)).mean()


@dataclass(frozen=True)
class JacReg(Penalty):
    """(1/B) sum_i |J_f(x_i)|_F^2, f the probabilities: J_f = (diag p - p p^T) J_g."""

    own_pass: ClassVar[bool] = True

    def value(self, view: View) -> torch.Tensor:
        """See `Penalty.value`."""
        logits, rows = jacobian_rows(view)
        p = logits.softmax(1).T.unsqueeze(2)
        return (p * (rows - (p * rows).sum(0))).square().sum((0, 2)).mean()
