"""What an update is."""

from dataclasses import dataclass

import torch

from experiments.companions.curvature import LossOf, Parameters
from experiments.companions.numbers import lane


@dataclass(frozen=True)
class Update:
    """What is taken from a lane's parameters beside the optimizer's step, both from where the step begins.

    A frozen dataclass: its fields are its options. With `optimizer.rate=0` it is the whole step.

    Attributes:
        rate: Its factor, applied as it is, without the learning rate.
    """

    rate: float = lane()

    def stretched(self, decay: float, learning: float) -> float:
        """Give the rate for a training of fewer steps: factors of a decay, and of what acts like the gradient."""
        return self.rate * learning

    def change(self, loss: LossOf, parameters: Parameters, gone: float) -> Parameters:
        """Give what is taken, without the factor.

        Args:
            loss: Of the batch, without penalties, as a function of the parameters.
            parameters: Of one lane.
            gone: Share of the training that is over.
        """
        raise NotImplementedError


def compounded(rate: float, k: float, times: float) -> float:
    """Give the rate of one step that shrinks weights as so many steps of (1 - k rate) do."""
    return float((1 - (1 - k * rate) ** times) / k)


def nothing(parameters: Parameters) -> Parameters:
    """Take nothing."""
    return {name: torch.zeros_like(value) for name, value in parameters.items()}
