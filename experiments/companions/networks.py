"""The networks of the companion studies: a body, one hidden vector, and a linear head."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import nn

from experiments.mnist.networks.lenet import LeNet as Digits

Activation = Literal["tanh", "relu", "sigmoid", "identity"]
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}


class Answer(NamedTuple):
    """What a network says of a batch: outputs (B, K), and hidden vectors (B, H) before head and norm."""

    outputs: torch.Tensor
    hidden: torch.Tensor
    plain: torch.Tensor


class Gate(NamedTuple):
    """What happens to the hidden vectors (B, H) on their way to the head.

    Attributes:
        keep: Factors of dropout, 0 or 1 / (1 - p); None for all ones.
        shift: Noise that is added; None for none.
        moments: Mean and variance (H,) for batch normalization; None for those of the batch.
    """

    keep: torch.Tensor | None = None
    shift: torch.Tensor | None = None
    moments: tuple[torch.Tensor, torch.Tensor] | None = None


OPEN = Gate()


class Network(nn.Module):
    """A body, batch normalization where there is any, a gate, a linear head."""

    def __init__(self, body: nn.Module, head: nn.Linear, norm: bool = False) -> None:
        super().__init__()
        self.body, self.head = body, head
        self.norm = nn.BatchNorm1d(head.in_features, track_running_stats=False) if norm else None

    def forward(self, x: torch.Tensor, gate: Gate = OPEN) -> Answer:
        """Answer a batch of inputs (B, ...)."""
        plain = hidden = self.body(x)
        if self.norm is not None:
            hidden = self._normalized(hidden, gate.moments)
        if gate.keep is not None:
            hidden = hidden * gate.keep
        if gate.shift is not None:
            hidden = hidden + gate.shift
        return Answer(self.head(hidden), hidden, plain)

    def _normalized(
        self, hidden: torch.Tensor, moments: tuple[torch.Tensor, torch.Tensor] | None
    ) -> torch.Tensor:
        assert self.norm is not None, "of a network with one"
        if moments is None:
            return torch.as_tensor(self.norm(hidden))
        return F.batch_norm(hidden, *moments, self.norm.weight, self.norm.bias)


class Model(Protocol):
    """Describes a network, and builds it.

    Attributes:
        dropout: Share of hidden units that are dropped in training.
    """

    @property
    def dropout(self) -> float: ...  # noqa: D102

    def build(self) -> Network:
        """Build the network; its weights are drawn from torch's generator."""
        ...


@dataclass(frozen=True)
class Mlp:
    """Linear layers with an activation between.

    Attributes:
        sizes: Of the input, the hidden layers and the output.
        activation: After each hidden layer.
        first_only: Whether only the first hidden layer has it, as the dissertation's code does for Synthetic.
        dropout, norm: Of the last hidden layer.
    """

    sizes: tuple[int, ...]
    activation: Activation = "tanh"
    first_only: bool = False
    dropout: float = 0.0
    norm: bool = False

    def build(self) -> Network:
        """See `Model.build`."""
        layers: list[nn.Module] = [nn.Flatten()]
        for number, (inputs, outputs) in enumerate(zip(self.sizes[:-2], self.sizes[1:-1], strict=True)):
            bare = self.first_only and number > 0
            layers += [nn.Linear(inputs, outputs), nn.Identity() if bare else ACTIVATIONS[self.activation]()]
        return Network(nn.Sequential(*layers), nn.Linear(self.sizes[-2], self.sizes[-1]), self.norm)


@dataclass(frozen=True)
class Pairs:
    """A convolution over neighbouring pairs and a linear head: the dissertation's network for XORD.

    Attributes:
        filters: Their number is not printed; with 12 the printed norms fit.
        length: Of the input.
        activation: After the convolution.
    """

    filters: int = 12
    length: int = 10
    activation: Activation = "tanh"
    dropout: float = 0.0

    def build(self) -> Network:
        """See `Model.build`."""
        one_channel = nn.Unflatten(1, (1, self.length))
        layers = (one_channel, nn.Conv1d(1, self.filters, 2, stride=2), ACTIVATIONS[self.activation]())
        return Network(nn.Sequential(*layers, nn.Flatten()), nn.Linear(self.filters * (self.length // 2), 1))


@dataclass(frozen=True)
class LeNet5:
    """LeNet-5 for images (B, 1, 28, 28), 61,706 parameters; dropout or batch normalization after its 84 units.

    Attributes:
        dropout, norm: Of the 84 units.
        width: Factor on every number of channels and units.
    """

    dropout: float = 0.0
    norm: bool = False
    width: float = 1.0

    def build(self) -> Network:
        """See `Model.build`."""
        *body, head = Digits(self.width).children()
        assert isinstance(head, nn.Linear)
        return Network(nn.Sequential(*body), head, self.norm)


@dataclass(frozen=True)
class CifarNet:
    """The dissertation's network for images (B, 3, 32, 32): 4,677,872 parameters.

    Attributes:
        activation: After every layer but the last.
    """

    activation: Activation = "tanh"
    dropout: float = 0.0

    def build(self) -> Network:
        """See `Model.build`."""
        act = ACTIVATIONS[self.activation]
        layers: list[nn.Module] = [nn.Conv2d(3, 32, 7), act(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 2), act()]
        layers.append(nn.Flatten())
        for inputs, outputs in ((9216, 500), (500, 100), (100, 50), (50, 20)):
            layers += [nn.Linear(inputs, outputs), act()]
        return Network(nn.Sequential(*layers), nn.Linear(20, 10))
