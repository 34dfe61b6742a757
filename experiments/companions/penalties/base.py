"""What a penalty sees of a step, and what it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch

from experiments.companions.losses import Loss
from experiments.companions.networks import Answer
from experiments.companions.numbers import lane

Parameters = dict[str, torch.Tensor]
Memory = Mapping[str, torch.Tensor]
NONE = np.zeros(0, dtype=np.float32)  # drawn by what draws nothing


class Shape(NamedTuple):
    """Sizes of a batch: samples, their inputs, outputs, hidden units."""

    batch: int
    inputs: tuple[int, ...]
    outputs: int
    hidden: int


@dataclass(frozen=True)
class View:
    """One lane's step, as a penalty sees it.

    Attributes:
        network: Answers a batch of inputs with these parameters; dropped units are the loss' own, or other ones where
            the penalty has a pass of its own.
        start: Answers a batch of inputs with remembered parameters, nothing dropped.
        parameters: By name; gradients flow through them.
        x, y: Inputs as the network gets them (B, ...), and targets.
        answer: Of the loss' own pass.
        loss: What is trained on.
        draw: What the penalty drew for this step.
        memory: What it remembers from before the training.
    """

    network: Callable[[torch.Tensor], Answer]
    start: Callable[[Memory, torch.Tensor], Answer]
    parameters: Parameters
    x: torch.Tensor
    y: torch.Tensor
    answer: Answer
    loss: Loss
    draw: torch.Tensor
    memory: Memory

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Give the outputs for a batch of inputs."""
        return self.network(x).outputs


@dataclass(frozen=True)
class Before:
    """A lane before its training: what a penalty may remember.

    Attributes:
        network: Answers a batch of inputs with given parameters, nothing dropped.
        parameters: At the start.
        x, y: The whole training set.
        loss: What is trained on.
        shape: Of a batch.
    """

    network: Callable[[Memory, torch.Tensor], Answer]
    parameters: Parameters
    x: torch.Tensor
    y: torch.Tensor
    loss: Loss
    shape: Shape


@dataclass(frozen=True)
class Penalty:
    """A term of the loss. A frozen dataclass: its fields are its options.

    Attributes:
        weight: lambda, its factor.
        own_pass: Whether it runs the network anew, with other units dropped.
    """

    weight: float = lane()

    own_pass: ClassVar[bool] = False

    def draw(
        self, stream: np.random.Generator, shape: Shape
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """Draw the random numbers of a step."""
        return NONE

    def remember(self, before: Before) -> Memory:
        """Compute what it needs of the network that the training starts from."""
        return {}

    def value(self, view: View) -> torch.Tensor:
        """Give the term, a number, without its factor."""
        raise NotImplementedError


def squared_norms(vectors: torch.Tensor) -> torch.Tensor:
    """Give the squared norm of each sample's part (B,)."""
    return vectors.flatten(1).square().sum(1)
