"""Glimpses: what many networks, each a few parameters away from one network, say of one sample; in one batch.

From the first edited layer on a batch is carried through the network, and of it only the units that can differ from
the network at hand (`bgd.methods.layers`).
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import nn

from bgd.methods.layers import Booleans, Changes, Integers, Signal, known_layers, through
from bgd.parameters import ParameterSpace

ROUNDING = (
    16  # units in the last place of the largest value on the way by which two ways of computing it may differ
)


@dataclass(frozen=True)
class Edits:
    """Some networks, as sparse edits of one: entry i sets the parameter `indices[i]` of network `rows[i]`.

    Attributes:
        count: Number of networks B.
        rows: Which of the networks (m,), each from 0 to B - 1.
        indices: Flat index of the parameter (m,); a network names a parameter once at the most.
        values: The parameter's value in that network (m,), in the network's type.
    """

    count: int
    rows: Integers
    indices: Integers
    values: torch.Tensor


class Glimpse:
    """Looks at one sample with many networks near the one at hand.

    A network that is no row of plain layers is run once for each set of edits, and so is one whose
    outputs do not come out finite: where there are infinities, adding differences is not what the network does.

    Args:
        network: The network at hand, in eval mode.
        space: Flat index over its parameters.
        flat: Its parameters (|W|,), sharing their memory.
        image: The sample (1, ...).

    Attributes:
        flat: The parameters of the network at hand (|W|,); written to through `move` alone.
        logits: What that network itself says of the sample (1, C).
    """

    def __init__(
        self, network: nn.Module, space: ParameterSpace, flat: torch.Tensor, image: torch.Tensor
    ) -> None:
        self._network, self.flat = network, flat
        self._layers = list(known_layers(network, space).values())
        self._largest: list[float] = []  # magnitudes there, as far as asked for
        self._places = [image]  # what goes into each layer; at the end, the logits
        sizes = [sum(parameter.numel() for parameter in layer.parameters()) for layer in self._layers]
        self._starts = np.array([0, *np.cumsum(sizes)])  # first flat index of each layer
        linear = [place for place, layer in enumerate(self._layers) if isinstance(layer, nn.Linear)]
        self._head = int(self._starts[linear[0]]) if linear else 0
        self.logits = self._run(0)

    @torch.no_grad()
    def _run(self, first: int) -> torch.Tensor:
        """Run the network at hand from a layer on."""
        if not self._layers:
            return cast(torch.Tensor, self._network(self._places[0]))
        del self._places[first + 1 :], self._largest[first + 1 :]
        for layer in self._layers[first:]:
            self._places.append(layer(self._places[-1]))
        return self._places[-1]

    @property
    def slack(self) -> float:
        """Bound on the rounding error of these logits. Smaller margins are decided by running the network.

        A large value on the way counts, also where a ReLU hides it: an edit may be what takes it away.
        """
        for values in self._places[len(self._largest) :]:
            self._largest.append(float(values.abs().max()))
        return ROUNDING * torch.finfo(self.logits.dtype).eps * float(np.max([1.0, *self._largest]))

    def move(self, indices: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Write values at flat indices (m,) into the network at hand; return its own logits (1, C)."""
        if len(indices):
            self.flat[indices] = values
            first = int(self._starts.searchsorted(int(indices.min()), side="right")) - 1
            self.logits = self._run(first)
        return self.logits

    @torch.no_grad()
    def of(self, edits: Edits) -> torch.Tensor:
        """Return the logits (B, C) of the networks that `edits` describes."""
        logits = self.logits.expand(edits.count, -1).clone()
        if not self._layers:
            return self._one_by_one(edits, np.unique(edits.rows), logits)
        changes, everyone = self._changes(edits), np.ones(edits.count, dtype=bool)
        early = changes.rows[: np.searchsorted(changes.indices, self._head)]
        if len(early):
            # A batch of their own: without an edit before the fully connected layers a look is cheap.
            everyone[early] = False
            self._walk(changes, ~everyone, logits)
        self._walk(changes, everyone, logits)
        if np.isfinite(float(logits.sum())):
            return logits
        odd = np.flatnonzero(~torch.isfinite(logits).all(dim=1).cpu().numpy())
        return self._one_by_one(edits, odd, logits)

    def _changes(self, edits: Edits) -> Changes:
        where = torch.from_numpy(edits.indices).to(self.flat.device)
        change = edits.values - self.flat[where]
        order = edits.indices.argsort(kind="stable")
        moves = (change != 0).cpu().numpy()
        order = order if moves.all() else order[moves[order]]
        return Changes(
            edits.rows[order], edits.indices[order], change[torch.from_numpy(order).to(change.device)]
        )

    def _walk(self, changes: Changes, group: Booleans, logits: torch.Tensor) -> None:
        """Carry a group of networks through the layers and write their logits."""
        members, ours = changes.of_networks(group)
        if not len(members):
            return
        cuts = ours.indices.searchsorted(self._starts).tolist()
        starts = self._starts.tolist()
        signal: Signal | None = None
        for place, layer in enumerate(self._layers):
            edited = ours.part(cuts[place], cuts[place + 1], starts[place])
            if signal is not None or edited is not None:
                before, after = self._places[place], self._places[place + 1]
                signal = through(layer, before, after, signal, edited, len(members))
        assert signal is not None, "a network with an edit differs somewhere"
        logits[torch.from_numpy(members).to(logits.device)] = signal.dense(self._places[-1])

    def _one_by_one(self, edits: Edits, rows: Integers, logits: torch.Tensor) -> torch.Tensor:
        """Write the logits of some rows, each by running the network."""
        for row in rows:
            mine = torch.from_numpy(np.flatnonzero(edits.rows == row))
            where = torch.from_numpy(edits.indices)[mine].to(self.flat.device)
            kept = self.flat[where]
            self.flat[where] = edits.values[mine.to(edits.values.device)]
            logits[row] = self._network(self._places[0])[0]
            self.flat[where] = kept
        return logits
