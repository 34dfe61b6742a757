"""What protects earlier corrections, by compiled code: `protect.Protection` of a tail in float32 on the CPU.

The harm of a sample is a function of its margin alone, so what one pass of derivatives down the tail says of the
margins is all that a model needs. A sample that is not short of its lead has no part in it.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch

from bgd.methods.base import Sample
from bgd.methods.least_harm import lanes
from bgd.methods.least_harm.compiled import FEW, Columns, edit_of, edited, net_of, outputs_of
from bgd.methods.least_harm.harm import Model
from bgd.methods.least_harm.lanes import Floats
from bgd.methods.least_harm.protect import SOFT, Protection
from bgd.methods.least_harm.tail import Support, Tail, with_ones


class CompiledProtection:
    """As `protect.Protection`. A change of many parameters is left to it."""

    def __init__(
        self,
        tail: Tail,
        weights: list[torch.Tensor],
        earlier: Sequence[Sample],
        weight: float,
        lead: float,
    ) -> None:
        """See `Protection`."""
        self._asked = tail, weights, earlier, weight, lead
        self.tail, self.weight, self._lead = tail, weight, lead
        self.net = net_of(tail, weights)
        self.images = tail.inputs(torch.cat([sample.image for sample in earlier]))
        self.labels = torch.cat([sample.label for sample in earlier]).numpy()
        self.inputs = Columns(self.images, torch.arange(len(self.images)))
        self._base = outputs_of(self.images, weights).numpy()

    @cached_property
    def _plain(self) -> Protection:
        return Protection(*self._asked)

    def shortfalls(self, support: Support, change: torch.Tensor) -> tuple[Floats, Floats]:
        """Return by how much each sample is short of its lead (n,), and every layer's outputs (rows, n)."""
        values, short = np.empty(self._base.shape, np.float32), np.empty(len(self.labels), np.float32)
        images, edit = self.inputs.of(support), edit_of(support, change)
        lanes.shortfalls(self.net, edit, images, self._base, self.labels, self._lead, SOFT, values, short)
        return short, values

    def value(self, support: Support, change: torch.Tensor) -> float:
        """Return the harm of a change (k,) of a support's parameters."""
        if len(support) > FEW:
            return self._plain.value(support, change)
        short, _ = self.shortfalls(support, change)
        return 0.5 * self.weight * float(np.square(short).sum(dtype=np.float64))

    def model(self, support: Support, change: torch.Tensor) -> Model:
        """Return the cost near a change, over the samples that are short of their lead."""
        if len(support) > FEW:
            return self._plain.model(support, change)
        return MarginModel(self, support, change)


class MarginModel:
    """Harm that is a function of margins, near a change: Gauss-Newton.

    With v_n the derivative (P,) of the margin of sample n, of which d_n (rows,) is that with respect to every layer's
    outputs, H = weight sum_n v_n v_n' over the samples that are short.
    """

    def __init__(self, harm: CompiledProtection, support: Support, change: torch.Tensor) -> None:
        """Look at a change (k,) of a support's parameters."""
        short, values = harm.shortfalls(support, change)
        chosen = np.flatnonzero(short)
        self._tail, self._inputs, self._chosen, self._weight = harm.tail, harm.inputs, chosen, harm.weight
        self._rows, self._values = harm.net.rows, np.take(values, chosen, 1)
        self._images = harm.images.index_select(0, torch.from_numpy(chosen))
        self._first = -harm.weight * torch.from_numpy(short[chosen])
        slopes = _slopes(self._values[self._rows[-2] :], harm.labels[chosen])
        self._deltas = np.empty_like(self._values)
        self._deltas[self._rows[-2] :] = slopes
        lanes.pull(edited(harm.net, edit_of(support, change)), self._values, 1, self._deltas)

    def gradient(self) -> torch.Tensor:
        """Return g (P,)."""
        return self._backward(self._first[None])[0]

    def diagonal(self) -> torch.Tensor:
        """Return the diagonal of H, not below 0 (P,)."""
        pairs = zip(self._of_layers(self._deltas), self._into, strict=True)
        return self._tail.pack([own.square() @ into.square() for own, into in pairs]) * self._weight

    def columns(self, support: Support) -> torch.Tensor:
        """Return the rows of H of a support's parameters (k, P)."""
        return self._backward(self._moved(support)) * self._weight

    def multiply(self, vector: torch.Tensor) -> torch.Tensor:
        """Return H v (P,) for a vector (P,)."""
        moved = self._first.new_zeros(len(self._first))
        layers = zip(self._tail.unpack(vector), self._of_layers(self._deltas), self._into, strict=True)
        for matrix, own, into in layers:
            moved += (own * (matrix @ into.T)).sum(0)
        return self._backward(moved[None])[0] * self._weight

    def on(self, support: Support) -> tuple[torch.Tensor, torch.Tensor]:
        """Return g (k,) and H (k, k) of a support's parameters alone, float64."""
        moved = self._moved(support)
        return (moved @ self._first).double(), (moved @ moved.T * self._weight).double()

    def _moved(self, support: Support) -> torch.Tensor:
        """Return how the margins move with a support's parameters (k, m)."""
        layer, unit, column = (each.numpy() for each in (support.layer, support.unit, support.column))
        moved, images = self._deltas[self._rows[layer] + unit], self._inputs.of(support)
        for place, (above, source) in enumerate(zip(layer, column, strict=True)):
            if above == 0:
                moved[place] *= images[source, self._chosen]
            elif source < self._rows[above] - self._rows[above - 1]:  # else a bias
                moved[place] *= np.maximum(self._values[self._rows[above - 1] + source], 0)
        return torch.from_numpy(moved)

    def _backward(self, factors: torch.Tensor) -> torch.Tensor:
        """Return sum_n factor_n v_n (k, P) for factors (k, m)."""
        parts = []
        for own, into in zip(self._of_layers(self._deltas), self._into, strict=True):
            flat = (factors[:, None] * own).flatten(0, 1) @ into
            parts.append(flat.view(len(factors), -1, into.shape[1]))
        return self._tail.pack(parts)

    def _of_layers(self, array: Floats) -> list[torch.Tensor]:
        """Return an array (rows, m) layer by layer."""
        cuts = zip(self._rows[:-1], self._rows[1:], strict=True)
        return [torch.from_numpy(array[start:stop]) for start, stop in cuts]

    @cached_property
    def _into(self) -> list[torch.Tensor]:
        """What goes into each layer, sample by sample (m, inputs + 1)."""
        hidden = self._of_layers(self._values)[:-1]
        return [self._images, *(with_ones(outputs.relu()).T for outputs in hidden)]


def _slopes(logits: Floats, labels: np.ndarray) -> Floats:
    """Return the gradients (C, n) of the softened margins of logits (C, n)."""
    own = labels, np.arange(len(labels))
    rivals = logits / np.float32(SOFT)
    rivals[own] = -np.inf
    powers = np.exp(rivals - rivals.max(0))
    slopes: Floats = -powers / powers.sum(0)
    slopes[own] = 1
    return slopes
