"""A row of linear layers, run by the operations of torch that run it anyway, without what modules and autograd add."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from bgd.methods.layers import known_layers
from bgd.methods.sample import Sample
from bgd.parameters import ParameterSpace


@dataclass(frozen=True, eq=False)
class Layer:
    """A linear layer of a row.

    Attributes:
        weight: Its weight (units, inputs).
        bias: Its bias (units,), if it has one.
        first_weight: Flat index of its first weight.
        first_bias: Flat index of its first bias, -1 where it has none.
        rectified: Whether a ReLU follows.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    first_weight: int
    first_bias: int
    rectified: bool


def linear_row(network: nn.Module, space: ParameterSpace) -> list[tuple[str, bool]]:
    """Return the linear layers of a network, by name, and whether a ReLU follows each; none where there is more to it.

    An input may be flattened before the first one. Each layer has two inputs at the least: of a single one autograd
    takes the gradient by another product.
    """
    layers: list[tuple[str, bool]] = []
    for name, module in known_layers(network, space).items():
        if isinstance(module, nn.Linear) and module.in_features > 1:
            layers.append((name, False))
        elif isinstance(module, nn.ReLU) and layers:
            layers[-1] = layers[-1][0], True
        elif not isinstance(module, nn.Dropout | nn.Identity | (nn.Identity if layers else nn.Flatten)):
            return []
    return layers


def layers_of(network: nn.Module, space: ParameterSpace, flat: torch.Tensor) -> list[Layer]:
    """Return the layers of such a network, as views of its parameters (|W|,)."""

    def view(name: str) -> torch.Tensor:
        return flat[space.span(name)].view(space.shapes[space.names.index(name)])

    found = []
    for name, rectified in linear_row(network, space):
        weight, bias = f"{name}.weight", f"{name}.bias"
        has = bias in space.names
        starts = space.span(weight).start, space.span(bias).start if has else -1
        found.append(Layer(view(weight), view(bias) if has else None, *starts, rectified))
    return found


def places_of(layers: Sequence[Layer], image: torch.Tensor) -> list[torch.Tensor]:
    """Return what goes into each layer, and at the end the logits, for an image (1, ...): each (1, units)."""
    values = image.reshape(1, -1)
    places = [values]
    for layer in layers:
        values = F.linear(values, layer.weight, layer.bias)
        if layer.rectified:
            values = values.relu_()
        places.append(values)
    return places


def write_gradient(
    layers: Sequence[Layer], sample: Sample, out: np.ndarray[tuple[int], np.dtype[np.float32]]
) -> None:
    """Write the gradient of a sample's cross-entropy (|W|,), bit for bit as `bgd.methods.gradient` does.

    What is frozen is written too.
    """
    places = places_of(layers, sample.image)
    logits = F.log_softmax(sample.judged(places[-1]), dim=1)
    wanted = torch.zeros_like(logits)
    wanted[0, sample.label] = -1.0
    moved = torch.ops.aten._log_softmax_backward_data(wanted, logits, 1, logits.dtype)
    for layer, before, after in reversed(list(zip(layers, places, places[1:], strict=False))):
        if layer.rectified:
            moved = torch.ops.aten.threshold_backward(moved, after, 0)
        by, into = moved.numpy()[0], before.numpy()[0]
        np.multiply.outer(
            by,
            into,
            out=out[layer.first_weight : layer.first_weight + by.size * into.size].reshape(by.size, -1),
        )
        if layer.first_bias >= 0:
            out[layer.first_bias : layer.first_bias + by.size] = by
        if layer is not layers[0]:
            moved = moved.mm(layer.weight)
