"""A row of linear layers, run by the operations of torch that run it anyway, without what modules and autograd add."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from bgd.methods.layers import known_layers
from bgd.methods.sample import Sample
from bgd.parameters import ParameterSpace

Singles = np.ndarray[Any, np.dtype[np.float32]]


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


def logits_of(layers: Sequence[Layer], image: torch.Tensor) -> torch.Tensor:
    """Return the logits (1, C) for an image (1, ...)."""
    values = image.reshape(1, -1)
    for layer in layers:
        values = F.linear(values, layer.weight, layer.bias)
        if layer.rectified:
            values = values.relu_()
    return values


def gradients(layers: Sequence[Layer], samples: Sequence[Sample], out: Singles) -> None:
    """Write the gradient of each sample's cross-entropy (n, |W|), bit for bit as `bgd.methods.gradient` does.

    A product has other bits for a batch than for one sample, and so each is taken for one sample. The same operation
    for one sample after another takes a fraction of one operation after another for the same sample.
    """
    values = [sample.image.reshape(1, -1) for sample in samples]
    places = [values]
    for layer in layers:
        values = [F.linear(each, layer.weight, layer.bias) for each in values]
        if layer.rectified:
            values = [each.relu_() for each in values]
        places.append(values)
    said = [F.log_softmax(sample.judged(each), dim=1) for sample, each in zip(samples, values, strict=True)]
    wanted = torch.zeros(len(samples), said[0].shape[1])
    wanted[torch.arange(len(samples)), torch.cat([sample.label for sample in samples])] = -1.0
    backward = torch.ops.aten._log_softmax_backward_data.default
    moved = [
        backward(want, each, 1, torch.float32)
        for want, each in zip(wanted[:, None].unbind(), said, strict=True)
    ]
    for layer, before, after in reversed(list(zip(layers, places, places[1:], strict=False))):
        by, into = torch.cat(moved), torch.cat(before).numpy()
        if layer.rectified:
            by = by.where(torch.cat(after) > 0, 0.0)
        by_unit = by.numpy()
        weight = out[:, layer.first_weight : layer.first_weight + layer.weight.numel()]
        np.multiply(by_unit[:, :, None], into[:, None, :], out=weight.reshape(-1, *layer.weight.shape))
        if layer.bias is not None:
            out[:, layer.first_bias : layer.first_bias + len(layer.bias)] = by_unit
        if layer is not layers[0]:
            moved = [each.mm(layer.weight) for each in by[:, None].unbind()]
