"""Coordinate descent: one parameter at a time, by line search. Greedy, it is BGD with a budget of one."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch.func import grad, vmap

from experiments.companions.curvature import LossOf, Parameters, flattened, shaped
from experiments.companions.updates.base import Update

LENGTHS = tuple(sign * 2.0**power for power in range(-12, 3) for sign in (-1.0, 1.0))


@dataclass(frozen=True)
class Coordinate(Update):
    """Moves the parameter of the largest gradient, or the next one in turn, to the best of some lengths, or not at all.

    Attributes:
        order: Which parameter.
        steps: Of the whole training: the cyclic order counts by the share of it that is over.
    """

    order: Literal["greedy", "cyclic"] = "greedy"
    steps: int = 100

    def change(self, loss: LossOf, parameters: Parameters, gone: float) -> Parameters:
        """See `Update.change`."""
        flat = flattened(parameters)
        places = torch.arange(len(flat), device=flat.device)
        if self.order == "greedy":
            place = flattened(grad(loss)(parameters)).abs().argmax()
        else:
            place = places[round(gone * self.steps) % len(flat)]
        unit = (places == place).to(flat.dtype)
        lengths = torch.tensor((0.0, *LENGTHS), dtype=flat.dtype, device=flat.device)
        found = vmap(lambda length: loss(shaped(flat - length * unit, parameters)))(lengths)
        return shaped(lengths[found.argmin()] * unit, parameters)
