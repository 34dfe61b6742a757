"""What lanes see in a step: rows in an order of their own, and their random numbers, stacked."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from bgd.rng import stream
from experiments.companions.data.pool import Part, Pool
from experiments.companions.noise import kept, normal
from experiments.companions.penalties.base import Shape
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


class Feeder:
    """Stacks what the lanes of a bank see in each step.

    Args:
        trainings: Of the lanes, alike.
        pool: Shared by them.
        parts: Training rows of each.
        shapes: Of each parameter, without the lanes.
        hidden, outputs: Units before the head and after it.
    """

    def __init__(
        self,
        trainings: list[Training],
        pool: Pool,
        parts: list[Part],
        shapes: dict[str, tuple[int, ...]],
        hidden: int,
        outputs: int,
    ) -> None:
        self._trainings, self._pool, self._parts = trainings, pool, parts
        self._shapes, self._hidden, self._outputs = shapes, hidden, outputs
        self._draws = [LaneDraws(training) for training in trainings]
        self._orders = [
            rows_in_order(training, len(part.rows)) for training, part in zip(trainings, parts, strict=True)
        ]

    def next(self) -> Batch:
        """Give the batch of the next step, of all lanes."""
        lanes = [self._of_lane(number) for number in range(len(self._trainings))]
        return stacked(lanes)

    def _of_lane(self, number: int) -> Batch:
        training, part, draws = self._trainings[number], self._parts[number], self._draws[number]
        rows = part.rows[next(self._orders[number])]
        x = (self._pool.take(rows) - part.shift) / part.scale
        shape = Shape(len(rows), tuple(x.shape[1:]), self._outputs, self._hidden)
        x = training.noise.augmented(x, draws.of("augment"))
        if training.noise.inputs:
            x = x + torch.from_numpy(normal(draws.of("inputs"), tuple(x.shape), training.noise.inputs))
        found: Batch = {"x": x, "y": self._pool.targets[rows], "draws": {}}
        for name, penalty in training.penalty.items():
            found["draws"][name] = torch.from_numpy(penalty.draw(draws.of(f"penalty {name}"), shape))
        return found | self._inside(training, draws, shape)

    def _inside(self, training: Training, draws: LaneDraws, shape: Shape) -> Batch:
        """Draw what happens inside the network: dropout of each pass, noise of hidden vectors and weights."""
        found: Batch = {}
        units = (shape.batch, self._hidden)
        if training.model.dropout:
            passes = ["loss", *(name for name, penalty in training.penalty.items() if penalty.own_pass)]
            found["keep"] = {
                name: torch.from_numpy(kept(draws.of(f"dropout {name}"), units, training.model.dropout))
                for name in passes
            }
        if training.noise.hidden:
            found["shift"] = torch.from_numpy(normal(draws.of("hidden"), units, training.noise.hidden))
        if training.noise.weights:
            found["moved"] = {
                name: torch.from_numpy(normal(draws.of("weights"), size, training.noise.weights))
                for name, size in self._shapes.items()
            }
        return found


def stacked(lanes: list[Batch]) -> Batch:
    """Stack dicts of tensors of the same names."""
    return {
        name: stacked([lane[name] for lane in lanes])
        if isinstance(value, dict)
        else torch.stack([lane[name] for lane in lanes])
        for name, value in lanes[0].items()
    }
