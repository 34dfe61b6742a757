"""A bank: networks of one architecture whose parameters are stacked, each training of a lane, all trained at once."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.utils._pytree import tree_map

from bgd.rng import stream, torch_seeded
from experiments.companions.batches import Batch
from experiments.companions.curvature import LossOf, Parameters
from experiments.companions.data.pool import Part, bootstrapped
from experiments.companions.networks import OPEN, Answer, Gate
from experiments.companions.penalties.base import Before, Memory, Shape, View
from experiments.companions.starts import begin
from experiments.companions.training import Training


class Bank:
    """The lanes' networks and functions over them.

    What is computed is written for one lane, and mapped over all by `torch.func.vmap`; a lane alone runs as it is.

    Args:
        trainings: Of the lanes, alike.
        root: Folder of data.

    Attributes:
        parameters: Stacked (L, ...), by name.
        train, test: Rows of each lane.
        pool: Shared by them.
    """

    def __init__(self, trainings: Sequence[Training], root: Path) -> None:
        first = trainings[0]
        assert all(first.alike(other) for other in trainings), "lanes of one bank are alike"
        self.trainings = list(trainings)
        self.pool = first.data.pool(root)
        splits = [first.data.split(self.pool, training.seed) for training in trainings]
        self.train = [_rows(training, split.train) for training, split in zip(trainings, splits, strict=True)]
        self.test = [split.test for split in splits]
        networks = [_begun(training) for training in trainings]
        self._network = networks[0]
        self.normalized = self._network.norm is not None
        state, _ = stack_module_state(networks)
        self.parameters: Parameters = {name: value.detach().clone() for name, value in state.items()}
        self.hidden, self.outputs = self._network.head.in_features, self._network.head.out_features
        self.weights = torch.tensor(
            [[penalty.weight for penalty in training.penalty.values()] for training in trainings]
        )
        self.memory = stacked_memory([self._remembered(number) for number in range(len(trainings))])

    @property
    def lanes(self) -> int:
        """How many there are."""
        return len(self.trainings)

    def call(self, parameters: Memory, x: torch.Tensor, gate: Gate = OPEN) -> Answer:
        """Answer a batch with the parameters of one lane."""
        known = {name: parameters[name] for name in self.parameters}
        answer: Answer = functional_call(self._network, known, (x, gate))
        return answer

    def mapped(self, function: Callable[..., Any], *stacks: Any) -> Any:
        """Apply a function of one lane to stacked arguments, and stack what it gives."""
        if self.lanes > 1:
            return vmap(function)(*stacks)
        return tree_map(lambda value: value[None], function(*tree_map(lambda value: value[0], stacks)))

    def objective(
        self, parameters: Parameters, batch: Batch, weights: torch.Tensor, memory: dict[str, Memory]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Give one lane's loss with its penalties, and the loss without."""
        training = self.trainings[0]
        own = _moved(parameters, batch)
        answer = self.call(own, batch["x"], _gate(batch, "loss"))
        loss = training.loss.total(answer.outputs, batch["y"])
        total = loss
        for number, (name, penalty) in enumerate(training.penalty.items()):
            gate = _gate(batch, name if penalty.own_pass else "loss")
            view = View(
                network=lambda x, gate=gate: self.call(own, x, gate),  # type: ignore[misc]
                start=self.call,
                parameters=own,
                x=batch["x"],
                y=batch["y"],
                answer=answer,
                loss=training.loss,
                draw=batch["draws"][name],
                memory=memory[name],
            )
            total = total + weights[number] * penalty.value(view)
        return total, loss

    def gradients(self, batch: Batch) -> tuple[Parameters, torch.Tensor]:
        """Give the gradients of all lanes' objectives, and their losses (L,)."""
        given = (self.parameters, batch, self.weights, self.memory)
        found: tuple[Parameters, torch.Tensor] = self.mapped(grad(self.objective, has_aux=True), *given)
        return found

    def loss_of(self, batch: Batch) -> LossOf:
        """Give one lane's loss on a batch, without penalties, as a function of its parameters."""
        loss, gate = self.trainings[0].loss, _gate(batch, "loss")
        return lambda parameters: loss.total(
            self.call(_moved(parameters, batch), batch["x"], gate).outputs, batch["y"]
        )

    def changes(self, batch: Batch, gone: float) -> Parameters:
        """Give what the update takes from all lanes' parameters, without its factor."""
        update = self.trainings[0].update
        assert update is not None, "of trainings with one"

        def change(parameters: Parameters, batch: Batch) -> Parameters:
            return update.change(self.loss_of(batch), parameters, gone)

        found: Parameters = self.mapped(change, self.parameters, batch)
        return found

    def of_lane(self, number: int) -> Parameters:
        """Copy the parameters of a lane."""
        return {name: value[number].detach().clone() for name, value in self.parameters.items()}

    def norms(self) -> torch.Tensor:
        """Give the sum over tensors of their norms (L,): what the dissertation calls the norm."""
        return torch.stack([value.flatten(1).norm(dim=1) for value in self.parameters.values()]).sum(0)

    def _remembered(self, number: int) -> dict[str, Memory]:
        training, part = self.trainings[number], self.train[number]
        if not training.penalty:
            return {}
        x, y = part.inputs(self.pool), self.pool.targets[part.rows]
        size = training.batch_size or len(x)
        shape = Shape(size, tuple(x.shape[1:]), self.outputs, self.hidden)
        before = Before(self.call, self.of_lane(number), x, y, training.loss, shape)
        return {name: penalty.remember(before) for name, penalty in training.penalty.items()}


def _begun(training: Training) -> Any:
    network = training.model.build()
    with torch_seeded(stream(training.seed, "companions", "init")):
        begin(network, training.init)
    return network.eval()


def _rows(training: Training, part: Part) -> Part:
    if not training.bootstrap:
        return part
    return bootstrapped(part, stream(training.seed, "companions", "bootstrap"))


def _gate(batch: Batch, name: str) -> Gate:
    return Gate(batch["keep"][name] if "keep" in batch else None, batch.get("shift"))


def _moved(parameters: Parameters, batch: Batch) -> Parameters:
    """Add the noise of the weights."""
    if "moved" not in batch:
        return parameters
    return {name: value + batch["moved"][name] for name, value in parameters.items()}


def stacked_memory(lanes: list[dict[str, Memory]]) -> dict[str, Memory]:
    """Stack what the penalties of the lanes remember."""
    return {
        name: {key: torch.stack([lane[name][key] for lane in lanes]) for key in memory}
        for name, memory in lanes[0].items()
    }
