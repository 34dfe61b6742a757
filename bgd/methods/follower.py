"""Follows one network through small edits, one after another, and says what each does to one sample.

Where a glimpse looks at many networks at once, a follower looks at one, from the first layer it edits; an edit of a
fully connected layer then costs a column of the next one. Values are kept in float64, as the network's own plus
differences: small differences are kept where a float32 forward pass would round them away.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from bgd.methods.glimpse import ROUNDING
from bgd.methods.layers import PER_UNIT, Changes, Signal, add_edits, known_layers, unit_of
from bgd.methods.tape import Places, Tape
from bgd.parameters import ParameterSpace

SPARSE = 64  # a column for each unit that differs, where no more than one in so many does: measured


@dataclass(frozen=True)
class Step:
    """A network a few parameters away from the one at hand.

    Attributes:
        indices: Flat indices of the parameters that are set (m,).
        values: To what, in the network's type (m,).
        logits: What it says of the sample (1, C); float64, or of the network's type where it had to be run itself.
        places: What differs on the way, by place; None where it was run itself, or by the tape.
        taped: What the tape computed anew; None where there is no tape.
    """

    indices: torch.Tensor
    values: torch.Tensor
    logits: torch.Tensor
    places: Places | None = field(repr=False)
    taped: Places | None = field(default=None, repr=False)


class Follower:
    """Looks at one sample with networks near the one at hand, and goes from one to the next.

    A network of which something does not come out finite is run for every step: where there are infinities, adding
    differences is not what the network does. One that is no row of plain layers is run too, or its operations are from
    the first one that an edit leads to, which is the same bit for bit (`bgd.methods.tape`).

    Args:
        network: The network at hand, in eval mode.
        space: Flat index over its parameters.
        flat: Its parameters (|W|,), sharing their memory.
        image: The sample (1, ...).
        follow: Whether to follow at all; where not, the network is run for every step.
        tape: Whether to have a tape of a network that is not followed.

    Attributes:
        flat: The parameters of the network at hand (|W|,); written to through this class alone.
        logits: What that network says of the sample (1, C), in float64 where it is followed.
        own: Whether the network itself says so; else they are off by what `slack` says.
    """

    def __init__(
        self,
        network: nn.Module,
        space: ParameterSpace,
        flat: torch.Tensor,
        image: torch.Tensor,
        follow: bool = True,
        tape: bool = False,
    ) -> None:
        self._network, self._space, self.flat, self._image = network, space, flat, image
        self._has_tape = tape
        self._tape: Tape | None = None
        self._layers = list(known_layers(network, space).values()) if follow else []
        sizes = [sum(parameter.numel() for parameter in layer.parameters()) for layer in self._layers]
        self._starts = np.array([0, *np.cumsum(sizes)])  # first flat index of each layer
        self._firsts = self._starts.tolist()
        self.logits: torch.Tensor
        self._limit = torch.finfo(flat.dtype).max ** 0.5  # larger values may overflow on the way
        self.run()

    @torch.no_grad()
    def run(self) -> torch.Tensor:
        """Run the network itself, in full; return its logits (1, C)."""
        self.own = True
        if not self._layers:
            self._tape = Tape(self._network, self._space, self.flat, self._image) if self._has_tape else None
            self.logits = self._tape.logits if self._tape else self._network(self._image)
            return self.logits
        values = self._image
        self._places = [values.double()]  # what goes into each layer; at the end, the logits
        for layer in self._layers:
            values = layer(values)
            self._places.append(values.double())
        self._largest, self._unmeasured = 1.0, list(self._places)
        self.logits = self._places[-1]
        return self.logits

    def set(self, indices: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Write values at flat indices (m,) into the network at hand and run it; return its logits (1, C)."""
        if self._tape is not None and self._tape.holds:
            self.take(self._run_for(indices, values))
            return self.logits
        self.flat[indices] = values
        return self.run()

    @torch.no_grad()
    def step(self, indices: torch.Tensor, values: torch.Tensor) -> Step:
        """Look at the network with values at flat indices (m,), each named once; the one at hand stays."""
        if not self._layers or not self._measured() < self._limit:
            return self._run_for(indices, values)
        changes = self._changes(indices, values)
        cuts = changes.indices.searchsorted(self._starts).tolist()
        signal: Signal | None = None
        places = {}
        for place, layer in enumerate(self._layers):
            if signal is None and not cuts[place + 1]:
                continue
            edited = changes.part(cuts[place], cuts[place + 1], self._firsts[place])
            if signal is not None or edited is not None:
                signal = self._through(place, layer, signal, edited)
                if signal is not None:
                    places[place + 1] = signal.values
        logits = self._places[-1] if signal is None else signal.values
        if not float(logits.abs().max()) < self._limit:  # also where it is NaN
            return self._run_for(indices, values)
        return Step(indices, values, logits, places)

    def take(self, step: Step) -> None:
        """Commit a step: its network becomes the current one."""
        self.flat[step.indices] = step.values
        if step.places is None:
            self.logits, self.own = step.logits, True
            if self._layers:
                self.run()
            elif self._tape and step.taped is not None:
                self._tape.keep(step.logits, step.taped)
            return
        for place, values in step.places.items():
            self._places[place] = values
            self._unmeasured.append(values)
        self.logits, self.own = step.logits, False

    def slack(self, step: Step | None = None) -> float:
        """Bound on the rounding error of the network's own logits. Smaller margins are decided by running it.

        A large value on the way counts, also where a ReLU hides it or it is gone again: what it left behind stays.
        """
        places = step.places if step is not None and step.places else {}
        largest = max(self._measured(), *(float(each.abs().max()) for each in places.values()), 1.0)
        return ROUNDING * torch.finfo(self.flat.dtype).eps * largest

    @property
    def tie(self) -> float:
        """By how much the logits of a step may be off for what float64 rounds."""
        return ROUNDING * torch.finfo(torch.float64).eps * self._measured()

    def _measured(self) -> float:
        """Return the largest magnitude on the way since the network was run; NaN where there is one."""
        if self._unmeasured:
            found = [float(values.abs().max()) for values in self._unmeasured]
            self._largest = float(np.max([self._largest, *found]))
            self._unmeasured = []
        return self._largest

    def _changes(self, indices: torch.Tensor, values: torch.Tensor) -> Changes:
        change, where = values.double() - self.flat[indices].double(), indices.tolist()
        order = [place for place, by in enumerate(change.tolist()) if by]  # few: faster than sorting a tensor
        order.sort(key=where.__getitem__)
        found = np.array([where[place] for place in order], dtype=np.int64)
        return Changes(np.zeros(len(order), np.int64), found, change[order])

    @torch.no_grad()
    def ran(self, indices: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Return the network's own logits (1, C) with values at flat indices (m,); the current network stays."""
        with self._set(indices, values):
            logits: torch.Tensor = self._network(self._image)
        return logits

    @contextmanager
    def _set(self, indices: torch.Tensor, values: torch.Tensor) -> Iterator[None]:
        """Have values at flat indices (m,) inside the block."""
        kept = self.flat[indices]
        self.flat[indices] = values
        yield
        self.flat[indices] = kept

    def _run_for(self, indices: torch.Tensor, values: torch.Tensor) -> Step:
        """Look by running the network, or what its tape has of it."""
        if self._tape is None or not self._tape.holds:
            logits = self.ran(indices, values)
            return Step(indices, values, logits.double() if self._layers else logits, None)
        tensors = {self._space.locate(index)[0] for index in indices.tolist()}
        with self._set(indices, values):
            logits, taped = self._tape.again(tensors)
        return Step(indices, values, logits, None, taped)

    def _through(
        self, place: int, layer: nn.Module, signal: Signal | None, edited: Changes | None
    ) -> Signal | None:
        """Return a layer's outputs (1, ...) and the units that may differ; None where none does."""
        before, after = self._places[place], self._places[place + 1]
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            return _weighted(layer, before, after, signal, edited)
        assert signal is not None
        if isinstance(layer, nn.Dropout):
            return signal
        if signal.units is None or not isinstance(layer, PER_UNIT):
            return Signal(layer(signal.values))
        values = after.clone()
        values[:, signal.units] = layer(signal.values[:, signal.units])
        return Signal(values, signal.units)


def _weighted(
    layer: nn.Linear | nn.Conv2d,
    before: torch.Tensor,
    after: torch.Tensor,
    signal: Signal | None,
    edited: Changes | None,
) -> Signal | None:
    """Return the outputs of all units of a layer with weights; None where none differs."""
    product = None if signal is None else _product(layer, before, signal)
    if product is None and edited is None:
        return None
    values = after.clone() if product is None else after + product
    units = None
    if edited is not None:
        inputs = before if signal is None else signal.values
        if isinstance(layer, nn.Linear) and edited.indices[-1] < layer.weight.numel():
            to, source = torch.from_numpy(np.array(divmod(edited.indices, layer.in_features))).to(
                values.device
            )
            values[0].index_add_(0, to, inputs[0, source] * edited.change)
        else:
            add_edits(layer, inputs, values, edited, None)
        if product is None and values.dim() > 2:
            units = torch.from_numpy(np.unique(unit_of(layer, edited.indices))).to(values.device)
    return Signal(values, units)


def _product(layer: nn.Linear | nn.Conv2d, before: torch.Tensor, signal: Signal) -> torch.Tensor | None:
    """Return the differences of a layer's outputs (1, U, ...) by those of its inputs; None where there are none."""
    units = signal.units
    moved = signal.values - before if units is None else signal.values[:, units] - before[:, units]
    if isinstance(layer, nn.Conv2d):
        if not moved.any():
            return None
        weight = layer.weight if units is None else layer.weight[:, units]
        return F.conv2d(
            moved.to(weight.dtype), weight, None, layer.stride, layer.padding, layer.dilation
        ).double()
    where = moved[0].nonzero()[:, 0]
    if not len(where):
        return None
    if SPARSE * len(where) < moved.shape[1]:
        return moved[:, where] @ layer.weight.index_select(1, where).double().T
    return F.linear(moved.to(layer.weight.dtype), layer.weight).double()
