"""Plain gradient descent on the one sample: retrain, fine-tune and L1 (sections 4.3 and 4.7)."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from bgd import rng
from bgd.errors import ConfigError
from bgd.methods.base import Answer, Correction, Sample, Trial
from bgd.methods.gradient import Gradient
from bgd.methods.linear import hidden_layer
from bgd.methods.momentum import NOTHING, Hold, RowSteps, Steps, by_rows
from bgd.modes import training_mode

VERSION = 1  # raised whenever the same descent may give another correction
DROPOUT = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout
)  # fmt: skip


@dataclass(frozen=True)
class SampleDescent:
    """SGD on the sample until it is right.

    Retrain changes every parameter that is not frozen, fine-tune the tensors named, L1 adds a penalty on all
    parameters. Dropout is active during the steps, as in the released code; whether the sample is right is asked with
    it off. Layers that keep statistics are in eval mode throughout: one sample has none, and a patch cannot hold them.

    Attributes:
        steps: The most gradient steps. Released code: the epochs N0 was trained for, 10 (MLP, the default) and 40
            (AlexNet).
        learning_rate: Of SGD. Released code: 0.001.
        momentum: Of SGD. Released code: 0.9.
        l1: Factor of sum |w| in the loss (Eq. 2.4). Released code, for L1: 0.01.
        tensors: Names of the parameters to change; None for all that are not frozen.
        training_mode: Whether the steps are taken in training mode, so that dropout is active: every module but those
            with buffers of their own, as batch normalisation keeps its statistics in, which stay in eval mode.
        carry_momentum: Whether one optimizer serves all samples, so that momentum carries over (released code).
    """

    # DEVIATION D6: section 4.7 speaks of a single step; the released code takes as many as N0 took epochs.
    steps: int = 10
    learning_rate: float = 0.001
    momentum: float = 0.9
    l1: float = 0.0
    tensors: tuple[str, ...] | None = None
    training_mode: bool = True
    carry_momentum: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps={self.steps}: must be at least 1")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate={self.learning_rate}: must be above 0")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum={self.momentum}: must be at least 0 and below 1")
        if self.l1 < 0:
            raise ValueError(f"l1={self.l1}: must be at least 0")

    def draws(self, network: nn.Module) -> bool:
        """Random numbers are dropout's alone."""
        return self.training_mode and any(
            isinstance(layer, DROPOUT) and layer.p > 0 for layer in network.modules()
        )

    def correct(self, trial: Trial, sample: Sample, stream: np.random.Generator) -> Correction:
        """Take steps until the sample is right; see `Method.correct`."""
        chosen = self._chosen(trial, self._names(trial, sample))
        descent: Steps
        if by_rows(trial) and not self.carry_momentum:
            hold = Hold(shrink=self.l1)
            descent = RowSteps(trial, self.learning_rate, self.momentum, hold, chosen, self.training_mode)
        else:
            descent = plain = Optimizer(trial, self, chosen)
        altered = sum(parameter.numel() for parameter in chosen.values())
        right, step = False, 0
        with rng.torch_seeded(stream):
            while not right and step < self.steps:
                descent.take(sample)
                right, step = descent.answer(sample).right, step + 1
        carry = plain.momentum() if self.carry_momentum else None
        if not right:
            return Correction.failed(f"wrong after {step} steps", step, carry)
        return Correction(trial.patch(), altered, step, carry=carry)

    def _names(self, trial: Trial, sample: Sample) -> tuple[str, ...] | None:
        """Name the parameters to change; None for all that are not frozen."""
        return self.tensors

    def _chosen(self, trial: Trial, names: tuple[str, ...] | None) -> dict[str, nn.Parameter]:
        frozen = trial.space.frozen
        named = {name: each for name, each in trial.network.named_parameters() if name not in frozen}
        if names is None:
            return named
        unknown = [name for name in names if name not in named]
        if unknown:
            ruled_out = f"; frozen are {', '.join(frozen)}" if frozen else ""
            raise ConfigError(f"method.tensors={unknown}: the network has {', '.join(named)}{ruled_out}")
        return {name: named[name] for name in names}


class Optimizer:
    """The steps as torch takes them, of any network; the oracle of `RowSteps`.

    Args:
        trial: Its copy is moved, on from the momentum that was carried there if it was.
        options: Of the descent.
        chosen: The parameters to move.
    """

    def __init__(self, trial: Trial, options: SampleDescent, chosen: dict[str, nn.Parameter]) -> None:
        self._trial, self._options, self._chosen = trial, options, chosen
        self._sgd = torch.optim.SGD(chosen.values(), lr=options.learning_rate, momentum=options.momentum)
        if options.carry_momentum and trial.carry is not None:
            for name, parameter in chosen.items():
                self._sgd.state[parameter]["momentum_buffer"] = trial.carry[name].clone()

    def take(self, sample: Sample, more: Gradient = NOTHING) -> bool:
        """Take a step, whether or not the gradient is finite; see `Steps.take`."""
        trial, chosen = self._trial, list(self._chosen.values())
        with training_mode(trial.network) if self._options.training_mode else nullcontext():
            loss = F.cross_entropy(sample.judged(trial.network(sample.image)), sample.label)
            if self._options.l1:
                size = sum(parameter.abs().sum() for parameter in trial.network.parameters())
                loss = loss + self._options.l1 * size
            gradients = torch.autograd.grad(loss, chosen, materialize_grads=True)
        trial.forward_passes += 1
        trial.backward_passes += 1
        for parameter, gradient in zip(chosen, gradients, strict=True):
            parameter.grad = gradient
        self._sgd.step()
        self._sgd.zero_grad()
        return True

    def answer(self, sample: Sample) -> Answer:
        """Run the copy; see `Steps.answer`."""
        return self._trial.answer(sample)

    def momentum(self) -> dict[str, torch.Tensor]:
        """Return a copy of the momentum, by parameter."""
        state = self._sgd.state
        return {name: state[each]["momentum_buffer"].clone() for name, each in self._chosen.items()}


@dataclass(frozen=True)
class FineTune(SampleDescent):
    """SGD on the sample, one hidden layer alone (section 4.3).

    Attributes:
        tensors: Names of the parameters to change; None for the weight of the last but one linear layer, `lin2.weight`
            of the thesis' networks.
    """

    knows: ClassVar[str] = "nothing"

    def _names(self, trial: Trial, sample: Sample) -> tuple[str, ...]:
        if self.tensors is not None:
            return self.tensors
        layer: str = trial.kept(
            "fine-tuned layer",
            lambda: hidden_layer(trial.network, sample.image, None, "method.tensors"),
        )
        return (f"{layer}.weight",)
