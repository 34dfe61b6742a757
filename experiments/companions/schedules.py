"""Factors on the learning rate over the course of a training."""

from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """Factors over steps."""

    def factor(self, step: int, total: int) -> float:
        """Give the factor of a step, from 0, of so many in all."""
        ...


@dataclass(frozen=True)
class Drops:
    """The rate drops at shares of the training.

    Attributes:
        at: Shares in (0, 1).
        by: Factor at each of them.
    """

    at: tuple[float, ...] = (0.5, 0.75)
    by: float = 0.1

    def factor(self, step: int, total: int) -> float:
        """See `Schedule.factor`."""
        return float(self.by ** sum(step >= share * total for share in self.at))
