"""Initial weights of one network, drawn from torch's generator."""

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import nn

from experiments.companions.numbers import lane

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)


class Init(Protocol):
    """A way to draw initial weights."""

    def layer(self, layer: nn.Linear | nn.Conv1d | nn.Conv2d) -> None:
        """Draw the weights and biases of a layer."""
        ...


def begin(network: nn.Module, init: Init) -> None:
    """Draw the weights of every layer, in order; those of batch normalization stay 1 and 0."""
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, LAYERS):
                init.layer(layer)


@dataclass(frozen=True)
class Gaussian:
    """Normal weights and biases. What the dissertation prints as "Init sigma^2" is this deviation [code].

    Attributes:
        std: Of the weights.
        bias_std: Of the biases; None for the same.
    """

    std: float = lane()
    bias_std: float | None = lane(None)

    def layer(self, layer: nn.Linear | nn.Conv1d | nn.Conv2d) -> None:
        """See `Init.layer`."""
        nn.init.normal_(layer.weight, std=self.std)
        if layer.bias is not None:
            nn.init.normal_(layer.bias, std=self.std if self.bias_std is None else self.bias_std)


@dataclass(frozen=True)
class Glorot:
    """Uniform weights (Glorot & Bengio 2010), biases 0.

    Attributes:
        conv_gain: Of convolutions; the code behind the first report has sqrt(2) there, and 1 for linear layers.
    """

    conv_gain: float = 1.0

    def layer(self, layer: nn.Linear | nn.Conv1d | nn.Conv2d) -> None:
        """See `Init.layer`."""
        nn.init.xavier_uniform_(layer.weight, 1.0 if isinstance(layer, nn.Linear) else self.conv_gain)
        _zero_bias(layer)


@dataclass(frozen=True)
class FanIn:
    """Normal weights of variance gain / n, n inputs of a unit, biases 0: 1 as the notes print Xavier, 2 for He."""

    gain: float = 2.0

    def layer(self, layer: nn.Linear | nn.Conv1d | nn.Conv2d) -> None:
        """See `Init.layer`."""
        nn.init.normal_(layer.weight, std=math.sqrt(self.gain / layer.weight[0].numel()))
        _zero_bias(layer)


@dataclass(frozen=True)
class Constant:
    """Every weight the same, biases 0: the notes' zeros, the lecture's ones."""

    value: float = 0.0

    def layer(self, layer: nn.Linear | nn.Conv1d | nn.Conv2d) -> None:
        """See `Init.layer`."""
        nn.init.constant_(layer.weight, self.value)
        _zero_bias(layer)


@dataclass(frozen=True)
class VarianceScaling:
    """Truncated normal weights of variance scale / n (JAX's `variance_scaling`), nearly no biases.

    Attributes:
        scale: Of the variance.
        fan: Which n: inputs of a unit, or the mean of inputs and outputs.
        bias_std: Of the biases.
    """

    scale: float = lane()
    fan: Literal["in", "average"] = "average"
    bias_std: float = 1e-6

    def layer(self, layer: nn.Linear | nn.Conv1d | nn.Conv2d) -> None:
        """See `Init.layer`."""
        field = layer.weight[0][0].numel()
        inputs, outputs = layer.weight.shape[1] * field, layer.weight.shape[0] * field
        fans = inputs if self.fan == "in" else (inputs + outputs) / 2
        # A normal cut at two deviations has 0.8796 of the deviation: JAX divides by it.
        std = math.sqrt(self.scale / fans) / 0.87962566103423978
        nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
        if layer.bias is not None:
            nn.init.normal_(layer.bias, std=self.bias_std)


def _zero_bias(layer: nn.Linear | nn.Conv1d | nn.Conv2d) -> None:
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
