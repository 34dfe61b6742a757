"""What sparse edits add at each layer, and how differences go through it.

An edit w + dw of a weight from input j to unit u of a linear layer adds dw * h_j to what goes out at u, so the layer
need not be computed again: h is known. The same holds for a convolution, with a shifted map in place of h_j.
"""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from bgd.layers import chain, padding_of
from bgd.parameters import ParameterSpace

Integers = np.ndarray[Any, np.dtype[np.int64]]
Booleans = np.ndarray[Any, np.dtype[np.bool_]]
PER_UNIT = (
    nn.ReLU,
    nn.MaxPool2d,
    nn.Dropout,
    nn.Identity,
)  # in eval mode; what they give for a unit depends on it alone


@dataclass(frozen=True)
class Signal:
    """What differs of the values at one place in the network: (B, units, ...), of all units where `units` is None."""

    values: torch.Tensor
    units: torch.Tensor | None = None

    def dense(self, base: torch.Tensor) -> torch.Tensor:
        """Return the values of all units (B, U, ...), where `base` (1, U, ...) are those of the network at hand."""
        if self.units is None:
            return self.values
        whole = base.expand(len(self.values), *base.shape[1:]).clone()
        whole[:, self.units] = self.values
        return whole


@dataclass(frozen=True)
class Changes:
    """Edits as differences, sorted by parameter, without those that change nothing."""

    rows: Integers
    indices: Integers
    change: torch.Tensor

    def part(self, low: int, high: int, start: int) -> "Changes | None":
        """Return the edits from `low` to before `high`, indices counted from `start`; None where there are none."""
        if low == high:
            return None
        return Changes(self.rows[low:high], self.indices[low:high] - start, self.change[low:high])

    def of_networks(self, chosen: Booleans) -> tuple[Integers, "Changes"]:
        """Return which of the chosen networks (B,) differ at all, and their edits, rows counted among those."""
        members = np.zeros(len(chosen), dtype=bool)
        members[self.rows] = True
        members &= chosen
        if members.all():
            return np.arange(len(chosen)), self
        kept = np.flatnonzero(members[self.rows])
        rows = (np.cumsum(members) - 1)[self.rows[kept]]
        change = self.change[torch.from_numpy(kept).to(self.change.device)]
        return np.flatnonzero(members), Changes(rows, self.indices[kept], change)


def through(
    layer: nn.Module,
    before: torch.Tensor,
    after: torch.Tensor,
    signal: Signal | None,
    edited: Changes | None,
    count: int,
) -> Signal:
    """Return a layer's outputs where they differ.

    Args:
        layer: One of those that `known_layers` knows.
        before: What goes into it in the network at hand (1, ...).
        after: What comes out of it there (1, ...).
        signal: What goes into it where that differs; None where nothing does.
        edited: The edits of the layer; None where there are none.
        count: Number of networks B.
    """
    if isinstance(layer, (nn.Linear, nn.Conv2d)):
        return _weighted(layer, before, after, signal, edited, count)
    assert signal is not None
    if isinstance(layer, PER_UNIT):
        return Signal(layer(signal.values), signal.units)
    if signal.units is None or before.dim() == 2:
        return Signal(signal.values.flatten(1), signal.units)
    size = before[0, 0].numel()
    units = signal.units[:, None] * size + torch.arange(size, device=before.device)
    return Signal(signal.values.flatten(1), units.flatten())


def _weighted(
    layer: nn.Linear | nn.Conv2d,
    before: torch.Tensor,
    after: torch.Tensor,
    signal: Signal | None,
    edited: Changes | None,
    count: int,
) -> Signal:
    """Return the outputs of a layer with weights; `before` and `after` are the network's own (1, ...)."""
    units: Integers | None = None
    if signal is None:
        assert edited is not None
        inputs, found = before, np.unique(unit_of(layer, edited.indices))
        units = found if 2 * len(found) <= after.shape[1] else None
        own = after if units is None else after[:, torch.from_numpy(units).to(after.device)]
        values = own.expand(count, *own.shape[1:]).clone()
    else:
        inputs = before if edited is None else signal.dense(before)
        values = _product(layer, before, after, signal)
    if edited is not None:
        add_edits(layer, inputs, values, edited, units)
    return Signal(values, None if units is None else torch.from_numpy(units).to(values.device))


def _product(
    layer: nn.Linear | nn.Conv2d, before: torch.Tensor, after: torch.Tensor, signal: Signal
) -> torch.Tensor:
    """Return the outputs of all units (B, U, ...) with the current weights."""
    if signal.units is None:
        return cast(torch.Tensor, layer(signal.values))
    moved, weight = signal.values - before[:, signal.units], layer.weight[:, signal.units]
    if isinstance(layer, nn.Linear):
        return torch.addmm(after, moved, weight.T)
    return after + F.conv2d(moved, weight, None, layer.stride, layer.padding, layer.dilation)


def unit_of(layer: nn.Linear | nn.Conv2d, indices: Integers) -> Integers:
    """Return the unit or channel that each parameter leads to; indices ascend, from the layer's first weight."""
    weights, units = layer.weight.numel(), layer.weight.shape[0]
    if indices[-1] < weights:
        return indices // (weights // units)
    return np.where(indices < weights, indices // (weights // units), indices - weights)


def add_edits(
    layer: nn.Linear | nn.Conv2d,
    inputs: torch.Tensor,
    values: torch.Tensor,
    edited: Changes,
    units: Integers | None,
) -> None:
    """Add to the outputs `values` (B, units, ...) what edits contribute; `inputs` has one row or B."""
    weights, fan_in = layer.weight.numel(), layer.weight[0].numel()
    to = unit_of(layer, edited.indices)
    to = to if units is None else np.searchsorted(units, to)
    target = torch.from_numpy(edited.rows * values.shape[1] + to).to(values.device)
    of_weight = int(np.searchsorted(edited.indices, weights))
    source = edited.indices[:of_weight] % fan_in
    row = edited.rows[:of_weight] if len(inputs) > 1 else np.zeros(of_weight, np.int64)
    shape = (-1, *[1] * (values.dim() - 2))
    added = edited.change.view(shape)
    if of_weight:
        taken = _taken(layer, inputs, row, source) * added[:of_weight]
        biases = added[of_weight:].expand(-1, *values.shape[2:])
        added = torch.cat([taken, biases]) if len(biases) else taken
    values.view(-1, *values.shape[2:]).index_add_(0, target, added.expand(-1, *values.shape[2:]))


def _taken(
    layer: nn.Linear | nn.Conv2d, inputs: torch.Tensor, row: Integers, source: Integers
) -> torch.Tensor:
    """Return the input that each of some weights multiplies: a number (m,), or a shifted map (m, H, W)."""
    if isinstance(layer, nn.Linear):
        return inputs.reshape(-1)[torch.from_numpy(row * inputs.shape[1] + source).to(inputs.device)]
    (down, right), (far, long) = layer.stride, layer.dilation
    high, wide = cast(tuple[int, int], padding_of(layer))  # the layer is plain
    padded = F.pad(inputs, (wide, wide, high, high)).contiguous()
    tall, broad = layer.kernel_size
    shape = (
        (padded.shape[2] - far * (tall - 1) - 1) // down + 1,
        (padded.shape[3] - long * (broad - 1) - 1) // right + 1,
    )
    image, channel, line, point = padded.stride()
    windows = padded.as_strided(
        (*padded.shape[:2], tall, broad, *shape),
        (image, channel, far * line, long * point, down * line, right * point),
    )
    where = (row, *np.unravel_index(source, (padded.shape[1], tall, broad)))
    return windows[tuple(torch.from_numpy(np.ascontiguousarray(each)).to(inputs.device) for each in where)]


def known_layers(network: nn.Module, space: ParameterSpace) -> dict[str, nn.Module]:
    """Return the layers of a network by name, in order; none where one is not plain or writes over its input.

    Every parameter is of one of these layers then, and they lie in the flat vector one after the other, each layer's
    weight before its bias.
    """
    links = chain(network)
    if not all(link.plain and not getattr(link.module, "inplace", False) for link in links):
        return {}
    expected = [
        f"{link.name}.{part}" for link in links for part in ("weight", "bias") if has(link.module, part)
    ]
    return {link.name: link.module for link in links} if tuple(expected) == space.names else {}


def has(layer: nn.Module, part: str) -> bool:
    """Return whether a plain layer has a `weight`, or a `bias`."""
    return layer._parameters.get(part) is not None
