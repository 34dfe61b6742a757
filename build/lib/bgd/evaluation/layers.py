"""A network as a row of layers: which of them a small change can be carried through, and what it does to them.

Module number i turns the values at place i into those at place i + 1; place 0 is the images, the last one the logits.
Values are (N, F) or (N, C, H, W).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from bgd.evaluation.low_rank import LEAST, Factors, factors_of
from bgd.layers import Link, chain
from bgd.patch import Patch

CHEAP = 0.05  # below this share of the work of all stages, recompute instead of caching
ELEMENTWISE = (
    nn.ReLU,
    nn.Dropout,
    nn.Identity,
)  # in eval mode; what they give for a unit depends on that unit alone


@dataclass(frozen=True)
class Stage:
    """A fully connected or convolutional layer that lets a change of few units through.

    Attributes:
        name: Of the layer.
        at: Its number; its input is at place `at`, its pre-activation at `at` + 1.
        source: The place whose values lead to its input through elementwise layers alone.
        work: Multiplications for an image.
    """

    name: str
    at: int
    source: int
    work: int


@dataclass(frozen=True)
class Edit:
    """The change of one layer, its rows and columns cut out. A row is an output unit or channel.

    Attributes:
        rows: Those with a changed weight or bias, ascending (u,).
        columns: Those with a changed weight, ascending (j,); 0 where there are none.
        weight: New minus old weights (u, j) or (u, j, kernel height, kernel width).
        bias: New minus old biases (u,).
        factors: The weight change as a product of two narrow matrices, where it is one and large.
    """

    rows: torch.Tensor
    columns: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor
    factors: Factors | None = None

    @property
    def work(self) -> int:
        """Multiplications for a place of the output, where the layer takes as many as it has weights."""
        if self.factors:
            return self.factors.left.numel() + self.factors.right.numel()
        return self.weight.numel()

    def added(self, layer: nn.Linear | nn.Conv2d, values: torch.Tensor) -> torch.Tensor:
        """Return the edit's part of its rows' pre-activations (k, u, ...), from its columns' inputs (k, j, ...)."""
        if self.factors:
            return (self.factors @ values.t() + self.bias[:, None]).t()
        change = product(layer, self.weight, values)
        return change.add_(self.bias.view(-1, *[1] * (change.dim() - 2)))


class Layers:
    """The layers of a network.

    Attributes:
        modules: In order. A network that is no row of layers (`bgd.layers.chain`) is one unknown layer.
        stages: The layers with parameters before the first unknown one.
        end: Number of the first unknown layer; the number of layers where all are known.
        head: The first place from which on an image has a vector of values; the last place where there is none.
        sizes: Values of an image at each place up to `end`.
    """

    def __init__(self, network: nn.Module, image: torch.Tensor) -> None:
        """Look at the layers, with one image (1, ...) to learn the shapes."""
        self._network = network
        self._links = _links(network)
        self.modules: Sequence[nn.Module] = [link.module for link in self._links]
        self.head = len(self.modules)
        self.stages, self.sizes, self.end = self._measure(image)

    @torch.no_grad()
    def _measure(self, values: torch.Tensor) -> tuple[tuple[Stage, ...], list[int], int]:
        stages: list[Stage] = []
        sizes, source = [values.numel()], 0
        for at, module in enumerate(self.modules):
            if not self._links[at].plain or not _fits(module, values):
                return tuple(stages), sizes, at
            if values.dim() == 2:
                self.head = min(self.head, at)
            values = module(values)
            sizes.append(values.numel())
            if isinstance(module, nn.Linear | nn.Conv2d):
                work = values[0, 0].numel() * module.weight.numel()
                stages.append(Stage(self._links[at].name, at, source, work))
                source = at + 1
            elif not isinstance(module, ELEMENTWISE):
                source = at + 1
        return tuple(stages), sizes, len(self.modules)

    @property
    def all_known(self) -> bool:
        """Whether there is no unknown layer."""
        return self.end == len(self.modules)

    @property
    def holds(self) -> bool:
        """Whether the network is still the row of layers that it was: a hook may have come or gone since."""
        return _links(self._network) == self._links

    def run(self, at: int, values: torch.Tensor) -> torch.Tensor:
        """Run layer number `at`. The first unknown one gets a copy: it may write over what goes in, which is kept."""
        result: torch.Tensor = self.modules[at](values.clone() if at == self.end else values)
        return result

    def layer(self, stage: Stage) -> nn.Linear | nn.Conv2d:
        """Return the layer of a stage."""
        module = self.modules[stage.at]
        assert isinstance(module, nn.Linear | nn.Conv2d)
        return module

    def before(self, place: int) -> Stage | None:
        """Return the stage whose units are those at a place; None where no stage or a flattening lies before it."""
        stage = max(
            (stage for stage in self.stages if stage.at < place), key=lambda stage: stage.at, default=None
        )
        if stage is None or any(isinstance(module, nn.Flatten) for module in self.modules[stage.at : place]):
            return None
        return stage

    def is_cheap(self, place: int) -> bool:
        """Return whether one unit at a place costs next to nothing to compute from the images."""
        stage = self.before(place)
        if stage is None:
            return False
        work = sum(other.work for other in self.stages if other.at < stage.at)
        work += stage.work // len(self.layer(stage).weight)
        return work <= CHEAP * sum(other.work for other in self.stages)

    def changed(self, patch: Patch) -> set[int]:
        """Return the numbers of the layers that a patch changes; 0 stands for what is none of them."""
        places = {link.name: at for at, link in enumerate(self._links)}
        return {
            next((places[above] for above in _above(name) if above in places), 0) for name in patch.tensors
        }

    def edit(self, patch: Patch, stage: Stage, most: float) -> Edit | None:
        """Return a patch's edit of a layer; None where there is none or it is more than `most` of the layer's work."""
        layer = self.layer(stage)
        wide, kernel = layer.weight[0].numel(), layer.weight[0, 0].numel()
        weights, change = _change(patch, f"{stage.name}.weight", layer.weight.device)
        biases, bias_change = _change(patch, f"{stage.name}.bias", layer.weight.device)
        dense = len(weights) > most * layer.weight.numel()
        if not len(weights) + len(biases) or (dense and isinstance(layer, nn.Conv2d)):
            return None
        rows, row = _numbered(torch.cat([weights // wide, biases]), layer.weight.shape[0])
        columns, column = _numbered(weights // kernel % layer.weight.shape[1], layer.weight.shape[1])
        columns = columns if len(columns) else columns.new_zeros(1)  # biases alone: any column, unchanged
        weight = change.new_zeros(len(rows), len(columns), kernel)
        weight[row[: len(weights)], column, weights % kernel] = change
        bias = change.new_zeros(len(rows))
        bias[row[len(weights) :]] = bias_change
        weight = weight.view(*weight.shape[:2], *layer.weight.shape[2:])
        edit = Edit(rows, columns, weight, bias, self._factors(layer, weight))
        return edit if edit.work <= most * layer.weight.numel() else None

    @staticmethod
    def _factors(layer: nn.Linear | nn.Conv2d, weight: torch.Tensor) -> Factors | None:
        if isinstance(layer, nn.Conv2d) or weight.numel() < LEAST:  # before all weights are looked at
            return None
        return factors_of(weight, float(layer.weight.detach().abs().max()))


def product(layer: nn.Linear | nn.Conv2d, weight: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Apply a layer with other weights (u, j, ...) and no bias to values of j units or channels."""
    if isinstance(layer, nn.Conv2d):
        return F.conv2d(values, weight, None, layer.stride, layer.padding, layer.dilation)
    return (weight @ values.t()).t()


def _numbered(numbers: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the different numbers below `size`, ascending, and the place among them of each; nothing is sorted."""
    there = torch.zeros(size, dtype=torch.bool, device=numbers.device)
    there[numbers] = True
    return there.nonzero().flatten(), (there.cumsum(0) - 1)[numbers]


def _change(patch: Patch, name: str, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the positions that a patch changes inside one tensor (k,), and new minus old values (k,)."""
    if name not in patch.space.names:  # a layer without biases
        return torch.empty(0, dtype=torch.int64, device=device), patch.new[:0].to(device)
    span = patch.space.span(name)
    bounds = torch.tensor([span.start, span.stop], device=patch.indices.device)
    start, stop = torch.searchsorted(patch.indices, bounds).tolist()
    change = patch.new[start:stop] - patch.old[start:stop]
    return (patch.indices[start:stop] - span.start).to(device), change.to(device)


def _links(network: nn.Module) -> list[Link]:
    return chain(network) or [Link("", network, plain=False)]


def _above(name: str) -> Iterator[str]:
    """Give the names of the modules that a parameter is in, from the innermost outwards."""
    while name:
        name = name.rpartition(".")[0]
        yield name


def _fits(layer: nn.Module, values: torch.Tensor) -> bool:
    """Return whether a change of a few units of `values` can be followed through a plain layer."""
    if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
        return values.dim() == 4
    return values.dim() == 2 or not isinstance(layer, nn.Linear)
