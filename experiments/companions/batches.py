"""A batch of lanes, the order of the rows of each, and the random streams of each."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from bgd.rng import stream
from experiments.companions.training import Training

Batch = dict[str, Any]  # tensors (L, ...) by name, and dicts of them
Draws = np.random.Generator


class LaneDraws:
    """The random streams of one lane: each by its name, so that no arm shifts another's numbers."""

    def __init__(self, training: Training) -> None:
        self._seed = training.seed
        self._named: dict[str, Draws] = {}

    def of(self, name: str) -> Draws:
        """Give the stream with a name, where its last draw left it."""
        if name not in self._named:
            self._named[name] = stream(self._seed, "companions", name)
        return self._named[name]


def rows_in_order(training: Training, count: int, start: int = 0) -> Iterator[torch.Tensor]:
    """Go through the batches of all epochs without end: positions among `count` training rows, shuffled anew each time.

    Args:
        training: Of the lane.
        count: Training rows.
        start: Batches that are skipped.
    """
    size = training.batch_size or count
    epoch, batches = divmod(start, batches_in(training, count))
    while True:
        order = stream(training.seed, "companions", "order", epoch).permutation(count)
        parts = torch.split(torch.from_numpy(order), size)
        yield from parts[batches : batches_in(training, count)]
        epoch, batches = epoch + 1, 0


def batches_in(training: Training, count: int) -> int:
    """Count the batches of an epoch."""
    size = training.batch_size or count
    return max(1, count // size) if training.drop_last else -(-count // size)


def stacked(lanes: list[Batch]) -> Batch:
    """Stack dicts of tensors of the same names."""
    return {
        name: stacked([lane[name] for lane in lanes])
        if isinstance(value, dict)
        else torch.stack([lane[name] for lane in lanes])
        for name, value in lanes[0].items()
    }
