"""What lanes see in a step: rows in an order of their own, and their random numbers, stacked."""

import torch

from experiments.companions.bank import Bank
from experiments.companions.batches import Batch, LaneDraws, rows_in_order, stacked
from experiments.companions.noise import kept, normal
from experiments.companions.penalties.base import Shape


class Feeder:
    """Stacks what the lanes of a bank see in each step; it draws for each what it would draw alone.

    Args:
        bank: Whose training rows are gone through.
    """

    def __init__(self, bank: Bank) -> None:
        self._bank, self._trainings, parts = bank, bank.trainings, bank.train
        self._shapes = {name: tuple(value.shape[1:]) for name, value in bank.parameters.items()}
        self._draws = [LaneDraws(training) for training in self._trainings]
        self._orders = [
            rows_in_order(training, len(part.rows))
            for training, part in zip(self._trainings, parts, strict=True)
        ]
        self._shifts, self._scales = (
            torch.tensor([getattr(part, name) for part in parts]) for name in ("shift", "scale")
        )

    def next(self) -> Batch:
        """Give the batch of the next step, of all lanes."""
        lanes = zip(self._bank.train, self._orders, strict=True)
        rows = torch.stack([part.rows[next(order)] for part, order in lanes])
        x = self._bank.pool.take(rows)
        beside = (-1, *(1,) * (x.ndim - 1))
        x = (x - self._shifts.view(beside)) / self._scales.view(beside)
        shape = Shape(x.shape[1], tuple(x.shape[2:]), self._bank.outputs, self._bank.hidden)
        drawn = stacked([self._drawn(number, shape) for number in range(len(self._trainings))])
        return {"x": self._noisy(x), "y": self._bank.pool.targets[rows], **drawn}

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
        units, found = (shape.batch, shape.hidden), Batch()
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
