"""The last linear layers of a network as a function of their parameters: small enough to be searched exhaustively.

Nearly all of what a classifier says is decided by a few thousand parameters at its end. With what goes into them kept
for every image of interest, an edit of k of them costs k rows of products, not a run of the network.

Arrays of activations are (units, images); what goes into a layer has a last row of ones, so that a bias is a weight
like any other.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from bgd.layers import chain, editable_linear, entering, output_layer, parameter_of
from bgd.parameters import ParameterSpace, wide

PASSING = (nn.ReLU, nn.Dropout, nn.Identity)  # between linear layers; dropout does nothing in eval mode
BATCH = 500  # images a time through what comes before the tail


@dataclass(frozen=True)
class Layer:
    """One linear layer of a tail.

    Attributes:
        name: Of the module.
        units: How many outputs it has.
        inputs: How many inputs.
        bias: Whether it has a bias.
        start: Of its parameters in the tail's vector: the weight row by row, then the bias.
    """

    name: str
    units: int
    inputs: int
    bias: bool
    start: int

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.units * (self.inputs + self.bias)

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of its parameter tensors."""
        return tuple(parameter_of(self.name, part) for part in ("weight", "bias")[: 1 + self.bias])

    def row(self, unit: int) -> torch.Tensor:
        """Return the places of an output's own parameters in the tail's vector (inputs + 1,): its weights, its bias."""
        first = self.start + unit * self.inputs
        own = torch.arange(first, first + self.inputs)
        bias = self.start + self.units * self.inputs + unit
        return torch.cat([own, torch.tensor([bias])]) if self.bias else own


class Tail:
    """The last linear layers of a network, with ReLU between them.

    Attributes:
        layers: From the first to the one that gives the logits.
        places: Flat positions in the network of the tail's parameters (P,), on the network's device.
        before: Names of the parameters that come before it.
    """

    def __init__(self, network: nn.Module, space: ParameterSpace, scope: int, image: torch.Tensor) -> None:
        """Take as many of the last layers as have at most `scope` parameters together, and one at least.

        More than one where the network is a row of layers; of any other network, what comes before the layer that
        gives the outputs is not known.

        Args:
            network: In eval mode.
            space: Flat index over its parameters.
            scope: Most parameters.
            image: One input (1, ...), to run the network with.

        Raises:
            LayerError: The network's outputs are those of no plain linear layer.
        """
        self._network = network
        self.layers: list[Layer] = []
        for name in _last_linears(network, scope, output_layer(network, image)):
            layer = editable_linear(network, name)
            at = self.layers[-1].start + self.layers[-1].size if self.layers else 0
            bias = layer.bias is not None
            self.layers.append(Layer(name, layer.out_features, layer.in_features, bias, at))
        spans = [space.span(name) for name in self.tensors]
        device = layer.weight.device
        self.places = torch.cat([torch.arange(span.start, span.stop, device=device) for span in spans])
        inside = set(self.tensors)
        self.before = tuple(name for name in space.names if name not in inside)

    def check(self) -> None:
        """Hold the layers to be plain still.

        Raises:
            LayerError: One is not any more.
        """
        for layer in self.layers:
            editable_linear(self._network, layer.name)

    @property
    def size(self) -> int:
        """Number of parameters P."""
        return len(self.places)

    @property
    def classes(self) -> int:
        """Number of logits C."""
        return self.layers[-1].units

    @cached_property
    def shapes(self) -> torch.Tensor:
        """Of each layer the start, the inputs and the units (3, L)."""
        found = [[layer.start, layer.inputs, layer.units] for layer in self.layers]
        return torch.tensor(found, device=self.places.device).T.contiguous()

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of the parameter tensors in it, in the order of its vector."""
        return tuple(name for layer in self.layers for name in layer.tensors)

    def weights(self, flat: torch.Tensor) -> list[torch.Tensor]:
        """Return each layer's weight and bias (units, inputs + 1) out of a network's vector (|W|,): copies."""
        return self.unpack(wide(flat[self.places]))

    def unpack(self, vector: torch.Tensor) -> list[torch.Tensor]:
        """Return a vector over the tail's parameters (P,) as a matrix (units, inputs + 1) a layer."""
        matrices = []
        for layer in self.layers:
            cut = layer.start + layer.units * layer.inputs
            weight = vector[layer.start : cut].view(layer.units, layer.inputs)
            bias = vector[cut : layer.start + layer.size] if layer.bias else vector.new_zeros(layer.units)
            matrices.append(torch.cat([weight, bias[:, None]], dim=1))
        return matrices

    def pack(self, matrices: list[torch.Tensor]) -> torch.Tensor:
        """Return matrices (..., units, inputs + 1), one a layer, as vectors over the tail's parameters (..., P)."""
        parts = []
        for layer, matrix in zip(self.layers, matrices, strict=True):
            parts.append(matrix[..., :-1].flatten(-2))
            if layer.bias:
                parts.append(matrix[..., -1])
        return torch.cat(parts, dim=-1)

    def inputs(self, images: torch.Tensor) -> torch.Tensor:
        """Return the first layer's inputs for images (N, ...), image by image: (N, inputs + 1)."""
        whole = wide(entering(self._network, self.layers[0].name, images, BATCH))
        return torch.cat([whole, whole.new_ones(len(whole), 1)], dim=1)

    def support(self, indices: torch.Tensor) -> "Support":
        """Return parameters of the tail (k,) as a support."""
        return Support(self, indices)

    def nothing(self) -> "tuple[Support, torch.Tensor]":
        """Return the support without parameters, and the change (0,) of it."""
        none = self.places[:0]
        return Support(self, none), torch.empty(0, device=none.device)


def _last_linears(network: nn.Module, scope: int, head: str) -> list[str]:
    """Return the names of the last linear layers with at most `scope` parameters, the head at least, in order.

    Before the head, those of a row of layers, as long as a ReLU follows each and no other layer than `PASSING`.
    """
    links = chain(network)
    place = next((place for place, link in enumerate(links) if link.name == head), None)
    if place is None:
        return [head]
    taken, total, rectified = [head], _count(links[place].module), False
    for link in reversed(links[:place]):
        if not link.plain or not isinstance(link.module, (nn.Linear, *PASSING)):
            break
        if isinstance(link.module, nn.Linear):
            if not all(tensor.requires_grad for tensor in link.module.parameters()):
                break
            total += _count(link.module)
            if total > scope or not rectified:
                break
            taken.insert(0, link.name)
        rectified = isinstance(link.module, nn.ReLU) or (rectified and not isinstance(link.module, nn.Linear))
    return taken


def _count(layer: nn.Module) -> int:
    return sum(tensor.numel() for tensor in layer.parameters())


class Support:
    """Some parameters of a tail, sorted out by layer.

    Attributes:
        tail: The tail.
        indices: Into the tail's vector (k,).
        layer, unit, column: Of each: which layer, which output, which input; the bias is the last input (k,).
    """

    def __init__(self, tail: Tail, indices: torch.Tensor) -> None:
        self.tail, self.indices = tail, indices
        starts, inputs, outputs = tail.shapes
        self.layer = torch.searchsorted(starts, indices, right=True) - 1
        width, units = inputs[self.layer], outputs[self.layer]
        within = indices - starts[self.layer]
        is_bias = within >= units * width
        self.unit = torch.where(is_bias, within - units * width, within.div(width, rounding_mode="floor"))
        self.column = torch.where(is_bias, width, within % width)

    def __len__(self) -> int:
        return self.indices.numel()

    @cached_property
    def parts(self) -> "dict[int, Part]":
        """The parameters of each layer that has any."""
        return {
            int(place): Part.sorted(self.unit, self.column, (self.layer == place).nonzero().flatten())
            for place in torch.unique(self.layer)
        }


@dataclass(frozen=True, eq=False)
class Part:
    """The parameters of a support in one layer.

    Attributes:
        which: Their places in the support (m,).
        columns: The inputs that they weigh (m,).
        rows: The outputs that they lead to, each once (r,).
        to: For each, the place in `rows` of its output (m,).
        sources: The inputs that they weigh, each once (s,).
        of: For each, the place in `sources` of its input (m,).
    """

    which: torch.Tensor
    columns: torch.Tensor
    rows: torch.Tensor
    to: torch.Tensor
    sources: torch.Tensor
    of: torch.Tensor

    @classmethod
    def sorted(cls, unit: torch.Tensor, column: torch.Tensor, which: torch.Tensor) -> "Part":
        """Sort the parameters of one layer."""
        columns = column[which]
        rows, to = torch.unique(unit[which], return_inverse=True)
        return cls(which, columns, rows, to, *torch.unique(columns, return_inverse=True))

    def added(self, change: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """Return the contribution of a change (k,) to the outputs `rows` (r, n), given the inputs `sources` (s, n)."""
        spread = inputs.new_zeros(len(self.rows), len(self.sources))
        spread[self.to, self.of] = change[self.which].to(inputs.dtype)
        return spread @ inputs


class Activations:
    """What a tail makes of some images, before any edit.

    Attributes:
        images: What goes into the first layer, image by image (n, inputs + 1).
        inputs: What goes into each layer (inputs + 1, n).
        outputs: What comes out of each, before ReLU (units, n).
    """

    def __init__(self, images: torch.Tensor, weights: list[torch.Tensor]) -> None:
        self.images = images
        self.inputs = [images.T.contiguous()]
        self.outputs: list[torch.Tensor] = []
        for place, weight in enumerate(weights):
            self.outputs.append(weight @ self.inputs[place])
            if place + 1 < len(weights):
                self.inputs.append(with_ones(self.outputs[place].relu()))

    @property
    def logits(self) -> torch.Tensor:
        """(C, n)."""
        return self.outputs[-1]


def with_ones(values: torch.Tensor) -> torch.Tensor:
    """Return values (u, n) with a last row of ones (u + 1, n)."""
    return torch.cat([values, values.new_ones(1, values.shape[1])])


class Edited:
    """What an edited tail makes of the images of some activations.

    The first edited layer changes in a few outputs only; layers above it are made in full.

    Attributes:
        logits: (C, n).
    """

    def __init__(
        self, base: Activations, weights: list[torch.Tensor], support: Support, change: torch.Tensor
    ) -> None:
        """Follow a change (k,) of a support's parameters through the tail with these weights (before the edit)."""
        self.base = base
        self._full: dict[int, torch.Tensor] = {}
        last = len(weights) - 1
        if not len(support):
            self.first, self.logits = last, base.logits
            self._rows, self._values = support.indices, base.logits[:0]
            return
        self.first = min(support.parts)
        part = support.parts[self.first]
        self._rows = part.rows
        self._values = base.outputs[self.first][part.rows] + part.added(
            change, base.inputs[self.first][part.sources]
        )
        for place in range(self.first + 1, last + 1):
            self._full[place] = self._above(place, weights[place], support.parts.get(place), change)
        self.logits = self.outputs(last)

    def _above(
        self, place: int, weight: torch.Tensor, part: Part | None, change: torch.Tensor
    ) -> torch.Tensor:
        base = self.base
        if place == self.first + 1:
            moved = self._values.relu() - base.inputs[place][self._rows]
            outputs = base.outputs[place] + weight[:, self._rows] @ moved
        else:
            outputs = torch.addmm(weight[:, -1:], weight[:, :-1], self._full[place - 1].relu())
        if part is not None:
            inputs = self.inputs(place)[part.sources]
            outputs[part.rows] += part.added(change, inputs)
        return outputs

    def outputs(self, place: int) -> torch.Tensor:
        """Return a layer's outputs, before ReLU (units, n)."""
        if place < self.first:
            return self.base.outputs[place]
        if place not in self._full:
            whole = self.base.outputs[place].clone()
            whole[self._rows] = self._values
            self._full[place] = whole
        return self._full[place]

    def inputs(self, place: int) -> torch.Tensor:
        """Return a layer's inputs (inputs + 1, n)."""
        if place <= self.first:
            return self.base.inputs[place]
        return with_ones(self.outputs(place - 1).relu())


def edited_weights(weights: list[torch.Tensor], support: Support, change: torch.Tensor) -> list[torch.Tensor]:
    """Return the weights with a change (k,) of a support's parameters; layers without one are not copied."""
    result = list(weights)
    for place, part in support.parts.items():
        result[place] = weights[place].clone()
        result[place][part.rows[part.to], part.columns] += change[part.which].to(result[place].dtype)
    return result
