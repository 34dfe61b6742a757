"""The one engine: trains a bank of lanes, and says how they came out."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.utils._pytree import tree_map

from bgd.progress import followed
from bgd.rng import stream, torch_seeded
from experiments.companions.bank import Bank
from experiments.companions.batches import Batch, batches_in
from experiments.companions.curvature import Parameters
from experiments.companions.data.pool import Part
from experiments.companions.evaluation import evaluate
from experiments.companions.feeder import Feeder
from experiments.companions.optimizers import Stepper
from experiments.companions.stops import Keeper
from experiments.companions.training import Training

MEASURES = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "norm")
History = dict[str, list[float]]  # of a lane: `step` and the measures, an entry for each evaluation


@dataclass(frozen=True)
class Trained:
    """A lane at its end.

    Attributes:
        training: Of the lane.
        parameters: At the end; with early stopping the best ones.
        start: Parameters at the beginning.
        history: Its evaluations; the last is of `parameters`.
        stopped: The step that `parameters` are of.
        seconds: Of the bank, over its lanes.
    """

    training: Training
    parameters: Parameters
    start: Parameters
    history: History
    stopped: int
    seconds: float


def train(
    trainings: Sequence[Training],
    root: Path,
    starts: Sequence[Parameters] = (),
    ended: Callable[[Bank, int], bool] | None = None,
) -> list[Trained]:
    """Train lanes that are alike, all in one bank.

    Args:
        trainings: Of the lanes.
        root: Folder of data.
        starts: Parameters to begin with; by default each lane draws its own.
        ended: Asked at each evaluation with the number of steps so far: whether to end before the last step.
    """
    return Run(trainings, root, starts).through(ended)


def banks(trainings: Sequence[Training], most: int) -> list[list[int]]:
    """Put trainings that are alike together, at most so many in one bank: their places in the list."""
    found: list[list[int]] = []
    for place, training in enumerate(trainings):
        size = 1 if training.optimizer.alone else most
        fitting = (bank for bank in found if len(bank) < size and trainings[bank[0]].alike(training))
        bank = next(fitting, None)
        if bank is None:
            found.append([place])
        else:
            bank.append(place)
    return found


class Run:
    """A bank on its way through its training; see `train`."""

    def __init__(self, trainings: Sequence[Training], root: Path, starts: Sequence[Parameters] = ()) -> None:
        self.trainings, self.bank = trainings, Bank(trainings, root)
        for name, value in self.bank.parameters.items():
            if starts:
                value.copy_(torch.stack([start[name] for start in starts]))
            value.requires_grad_(self._first.optimizer.graph)
        self._aside: list[Part] = []
        if share := self._first.stop.share:
            self._aside = [_last(part, share) for part in self.bank.train]
            self.bank.train = [_all_but_last(part, share) for part in self.bank.train]
        rates = [training.optimizer.rate * training.stretch for training in trainings]
        self._rates = torch.tensor(rates)
        self._stepper = Stepper(self._first.optimizer, self.bank.parameters, rates)
        self._taken = torch.tensor([training.taken for training in trainings])
        self._multipliers = torch.zeros(len(trainings))  # of a constraint
        self._probes = stream(self._first.seed, "companions", "probes")  # where an optimizer draws

    @property
    def _first(self) -> Training:
        return self.trainings[0]

    def through(self, ended: Callable[[Bank, int], bool] | None = None) -> list[Trained]:
        """Train to the end."""
        began = time.perf_counter()
        bank, first = self.bank, self._first
        total = first.stop.steps(batches_in(first, len(bank.train[0].rows)))
        when = {round(total * place / first.evaluate) for place in range(1, first.evaluate + 1)}
        feeder = Feeder(bank)
        start, histories, last = self._copies(), self._empty(), 0
        self._note(histories, 0)
        keepers, kept = [first.stop.keeper() for _ in bank.trainings], self._copies()
        for step in followed("steps", range(total)):
            self._step(feeder.next(), step, total)
            last = step + 1
            if last in when:
                self._note(histories, last)
                self._keep(keepers, kept, last)
                if all(each and each.over for each in keepers) or (ended is not None and ended(bank, last)):
                    break
        if any(keepers):
            self._restore(kept, histories, [each.at for each in keepers if each])
        seconds = (time.perf_counter() - began) / bank.lanes
        stopped = [each.at if each else last for each in keepers]
        lanes = zip(self.trainings, self._copies(), start, histories, stopped, strict=True)
        return [Trained(*lane, seconds) for lane in lanes]

    def _copies(self) -> list[Parameters]:
        return [self.bank.of_lane(lane) for lane in range(self.bank.lanes)]

    def _empty(self) -> list[History]:
        return [{"step": [], **{name: [] for name in MEASURES}} for _ in self.trainings]

    def _step(self, batch: Batch, step: int, total: int) -> None:
        """Take the optimizer's step and the update's, both from the same parameters, and hold the constraint."""
        bank, first = self.bank, self._first
        taken = bank.changes(batch, step / total) if first.update else {}
        factor = first.schedule.factor(step, total) if first.schedule else 1.0
        closure = self._closure(batch)
        closure()
        again = closure if first.optimizer.alone and not first.optimizer.graph else None
        with torch_seeded(self._probes) if first.optimizer.graph else nullcontext():
            self._stepper.step(factor, again)
        with torch.no_grad():
            for name, change in taken.items():
                bank.parameters[name].sub_(self._taken.view(-1, *(1,) * (change.ndim - 1)) * change)
            if first.constraint:
                first.constraint.hold(bank.parameters, self._multipliers, factor * self._rates, step / total)

    def _closure(self, batch: Batch) -> Callable[[], torch.Tensor]:
        """Give what computes the gradients of a batch and leaves them with the parameters."""
        bank = self.bank

        def closure() -> torch.Tensor:
            if self._first.optimizer.graph:  # a lane alone, whose gradients are differentiated again
                given = (bank.parameters, batch, bank.weights, bank.memory)
                total, loss = bank.objective(*tree_map(lambda value: value[0], given))
                found = torch.autograd.grad(total, list(bank.parameters.values()), create_graph=True)
                gradients = dict(zip(bank.parameters, found, strict=True))
                losses = loss[None]
            else:
                gradients, losses = bank.gradients(batch)
            for name, value in bank.parameters.items():
                value.grad = gradients[name]
            return losses.sum()

        return closure

    def _note(self, histories: list[History], step: int) -> None:
        bank = self.bank
        with torch.no_grad():
            train, test = evaluate(bank, bank.train), evaluate(bank, bank.test)
            columns = (train.loss, train.accuracy, test.loss, test.accuracy, bank.norms())
        for lane, history in enumerate(histories):
            history["step"].append(float(step))
            for name, column in zip(MEASURES, columns, strict=True):
                history[name].append(float(column[lane]))

    def _keep(self, keepers: list[Keeper | None], kept: list[Parameters], step: int) -> None:
        """Copy the parameters of each lane whose keeper wants them."""
        if not any(keepers):
            return
        found = evaluate(self.bank, self._aside)
        for lane, keeper in enumerate(keepers):
            if keeper and keeper.takes(float(found.loss[lane]), float(found.accuracy[lane]), step):
                kept[lane] = self.bank.of_lane(lane)

    def _restore(self, kept: list[Parameters], histories: list[History], steps: list[int]) -> None:
        """Give the lanes what was kept, and evaluate that."""
        with torch.no_grad():
            for name, value in self.bank.parameters.items():
                value.copy_(torch.stack([each[name] for each in kept]))
        again = self._empty()
        self._note(again, 0)
        for history, last, step in zip(histories, again, steps, strict=True):
            history["step"].append(float(step))
            for name in MEASURES:
                history[name] += last[name]


def _last(part: Part, share: float) -> Part:
    return replace(part, rows=part.rows[len(part.rows) - round(share * len(part.rows)) :])


def _all_but_last(part: Part, share: float) -> Part:
    return replace(part, rows=part.rows[: len(part.rows) - round(share * len(part.rows))])
