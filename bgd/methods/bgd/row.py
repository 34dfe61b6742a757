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

Integers = np.ndarray[Any, np.dtype[np.int64]]
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


class Answers:
    """What a row says of one sample, for one network after another that differs in some parameters.

    Most are asked about because two weights into one unit do the same but for rounding, and often the unit's sum is
    then the same to the last bit: so is all that follows, and the answer is the one that was given before.

    Args:
        layers: The row; its parameters are written to between two questions.
        sample: The sample.
    """

    def __init__(self, layers: Sequence[Layer], sample: Sample) -> None:
        self._first, self._later, self._sample = layers[0], layers[1:], sample
        self._label = int(sample.label)
        self._known: dict[tuple[bytes, bytes], tuple[float, bool]] = {}

    def of(self, changed: Integers) -> tuple[float, bool]:
        """Return loss and whether the sample is right; see `Answer.of`.

        Args:
            changed: Flat indices of the parameters that differ now; each always to the same value.
        """
        sums = F.linear(self._sample.image.reshape(1, -1), self._first.weight, self._first.bias)
        later = changed[changed >= self._later[0].first_weight] if self._later else changed[:0]
        key = sums.numpy().tobytes(), later.tobytes()
        if key not in self._known:
            self._known[key] = self._judged(sums)
        return self._known[key]

    def _judged(self, values: torch.Tensor) -> tuple[float, bool]:
        """Go on from what comes out of the first layer (1, units)."""
        if self._first.rectified:
            values = values.relu_()
        for layer in self._later:
            values = F.linear(values, layer.weight, layer.bias)
            if layer.rectified:
                values = values.relu_()
        logits = self._sample.judged(values)
        loss = -float(torch.log_softmax(logits, 1).numpy()[0, self._label])
        said = logits.numpy()[0]
        return loss, bool(said.argmax() == self._label and np.isfinite(said).all())


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
