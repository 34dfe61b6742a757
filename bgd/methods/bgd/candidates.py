"""What networks a few parameters away from one network say, each of its own image: all of them in one pass.

The images go through the network as it is, and behind each layer with weights is added what a candidate's own edits of
it contribute (`bgd.methods.layers`). All in float64, where two candidates that differ by little can be told apart. A
candidate without an edit before the fully connected layers starts from what its image is there.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from bgd.methods.layers import Changes, Integers, add_edits, has, known_layers
from bgd.parameters import ParameterSpace

ROOM = 1 << 26  # numbers that go from one layer to the next at a time, of all candidates: 512 MiB


@dataclass(frozen=True, eq=False)
class Row:
    """A network of layers in a row, in float64.

    Attributes:
        layers: Copies of its layers, in order.
        starts: First flat index of each, and the number of parameters.
        head: Place of the first fully connected layer; the number of layers where there is none.
    """

    layers: Sequence[nn.Module]
    starts: Sequence[int]
    head: int

    @classmethod
    def of(cls, network: nn.Module, space: ParameterSpace) -> "Row":
        """Copy a network that `known_layers` knows."""
        layers = [copy.deepcopy(layer).double() for layer in known_layers(network, space).values()]
        sizes = [sum(parameter.numel() for parameter in layer.parameters()) for layer in layers]
        linear = [place for place, layer in enumerate(layers) if isinstance(layer, nn.Linear)]
        return cls(layers, [0, *np.cumsum(sizes).tolist()], linear[0] if linear else len(layers))


class Candidates:
    """Looks at many networks near one, each with one of some images.

    Args:
        row: The network.
        images: The images (n, ...).
    """

    @torch.no_grad()
    def __init__(self, row: Row, images: torch.Tensor) -> None:
        self._row, self._images = row, images.double().contiguous()
        nothing = Changes(np.empty(0, np.int64), np.empty(0, np.int64), self._images.new_empty(0))
        self._widest = self._images[0].numel()
        self._entering, self._largest = self._through(0, row.head, self._images, nothing)

    @torch.no_grad()
    def look(self, rows: Integers, changes: Changes) -> tuple[torch.Tensor, torch.Tensor]:
        """Look at B networks.

        Args:
            rows: Which image each is looked at with (B,).
            changes: Their edits; each names a parameter once at the most.

        Returns:
            The logits (B, C), and the largest magnitude on the way to them (B,), both in float64; NaN where there is
            one.
        """
        lot = max(1, ROOM // self._widest)
        if len(rows) <= lot:
            return self._look(rows, changes)
        found = []
        for start in range(0, len(rows), lot):
            own = np.flatnonzero((start <= changes.rows) & (changes.rows < start + lot))
            change = changes.change[torch.from_numpy(own).to(changes.change.device)]
            part = Changes(changes.rows[own] - start, changes.indices[own], change)
            found.append(self._look(rows[start : start + lot], part))
        logits, largest = zip(*found, strict=True)
        return torch.cat(logits), torch.cat(largest)

    def _look(self, rows: Integers, changes: Changes) -> tuple[torch.Tensor, torch.Tensor]:
        row, device = self._row, self._images.device
        chosen = torch.from_numpy(rows).to(device)
        values, largest = self._entering[chosen], self._largest[chosen]
        early = np.zeros(len(rows), dtype=bool)
        early[changes.rows[: changes.indices.searchsorted(row.starts[row.head])]] = True
        if early.any():
            members, ours = changes.of_networks(early)
            where = torch.from_numpy(members).to(device)
            values[where], largest[where] = self._through(0, row.head, self._images[chosen[where]], ours)
        logits, later = self._through(row.head, len(row.layers), values, changes)
        return logits, torch.maximum(largest, later)

    def _through(
        self, first: int, last: int, values: torch.Tensor, changes: Changes
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Carry values (B, ...) through the layers from one to before another, each network with its own edits.

        Returns:
            What comes out (B, ...), and the largest magnitude on the way (B,).
        """
        row, largest = self._row, [_magnitudes(values)]
        cuts = changes.indices.searchsorted(row.starts).tolist()
        for place in range(first, last):
            layer, inputs = row.layers[place], values
            values = layer(inputs)
            self._widest = max(self._widest, values[0].numel())
            if not has(layer, "weight"):
                continue
            edited = changes.part(cuts[place], cuts[place + 1], row.starts[place])
            if edited is not None:
                assert isinstance(layer, nn.Linear | nn.Conv2d), "known layers with weights are"
                values = values.contiguous()
                add_edits(layer, inputs, values, edited, None)
            largest.append(_magnitudes(values))
        return values, torch.stack(largest).amax(dim=0)


def _magnitudes(values: torch.Tensor) -> torch.Tensor:
    """Return the largest magnitude of each row (B,) of some values (B, ...)."""
    largest: torch.Tensor = torch.linalg.vector_norm(values.flatten(1), torch.inf, dim=1)
    return largest
