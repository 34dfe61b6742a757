"""A pool of samples and a lane's part of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch


@dataclass(frozen=True)
class Pool:
    """Samples of all lanes.

    Attributes:
        inputs: (N, ...); bytes are divided by 255 when they are taken.
        targets: Classes (N,) int64, or numbers (N, K).
        training: How many of them, the first ones, may be trained on, where the data set says so.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    training: int = 0

    def take(self, rows: torch.Tensor) -> torch.Tensor:
        """Give the inputs of rows, of any shape, as floats."""
        found = self.inputs[rows]
        return found.float() / 255 if found.dtype == torch.uint8 else found


@dataclass(frozen=True)
class Part:
    """Rows of a pool, and the numbers that standardize their inputs: (x - shift) / scale."""

    rows: torch.Tensor
    shift: float = 0.0
    scale: float = 1.0

    def inputs(self, pool: Pool) -> torch.Tensor:
        """Give the standardized inputs of all rows."""
        return (pool.take(self.rows) - self.shift) / self.scale


@dataclass(frozen=True)
class Split:
    """What one lane is trained and tested on."""

    train: Part
    test: Part


class Task(Protocol):
    """A frozen dataclass whose fields are its options."""

    def pool(self, root: Path) -> Pool:
        """Load or make the samples.

        Args:
            root: The folder of data.
        """
        ...

    def split(self, pool: Pool, seed: int) -> Split:
        """Draw a lane's rows; the same seed gives the same, whatever the arm."""
        ...


def indices(rows: object) -> torch.Tensor:
    """Turn rows into a tensor of indices."""
    return torch.as_tensor(np.asarray(rows), dtype=torch.int64)


def bootstrapped(part: Part, stream: np.random.Generator) -> Part:
    """Draw as many rows of a part with replacement, for bagging."""
    drawn = indices(stream.integers(0, len(part.rows), len(part.rows)))
    return Part(part.rows[drawn], part.shift, part.scale)
