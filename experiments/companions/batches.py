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
        self._shifts, self._scales = (
            torch.tensor([getattr(part, name) for part in parts]) for name in ("shift", "scale")
        )

    def next(self) -> Batch:
        """Give the batch of the next step, of all lanes."""
        lanes = zip(self._parts, self._orders, strict=True)
        rows = torch.stack([part.rows[next(order)] for part, order in lanes])
        x = self._pool.take(rows)
        beside = (-1, *(1,) * (x.ndim - 1))
        x = (x - self._shifts.view(beside)) / self._scales.view(beside)
        shape = Shape(x.shape[1], tuple(x.shape[2:]), self._outputs, self._hidden)
        drawn = stacked([self._drawn(number, shape) for number in range(len(self._trainings))])
        return {"x": self._noisy(x), "y": self._pool.targets[rows], **drawn}

    def _noisy(self, x: torch.Tensor) -> torch.Tensor:
        """Augment the inputs of the lanes and add noise to them."""
        if not self._trainings[0].noise.augment and not self._trainings[0].noise.inputs:
            return x
        found = []
        for training, draws, few in zip(self._trainings, self._draws, x, strict=True):
            few = training.noise.augmented(few, draws.of("augment"))
            found.append(
                few + torch.from_numpy(normal(draws.of("inputs"), tuple(few.shape), training.noise.inputs))
            )
        return torch.stack(found)

    def _drawn(self, number: int, shape: Shape) -> Batch:
        """Draw a lane's numbers: of penalties, of dropout in each pass, of noise on hidden vectors and weights."""
        training, draws = self._trainings[number], self._draws[number]
        units, found = (shape.batch, self._hidden), Batch()
        found["draws"] = {
            name: torch.from_numpy(penalty.draw(draws.of(f"penalty {name}"), shape))
            for name, penalty in training.penalty.items()
        }
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
