"""Divergence of a small tail by compiled code: what `harm.DivergenceHarm` is, in a fraction of the time.

Values agree to the rounding of float32. What is asked again at the same change is not computed again: a search tries
several parameters from one change, and models harm where it has just measured it.
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bgd.methods.least_harm import lanes
from bgd.methods.least_harm.harm import FLOOR, Cost, DivergenceHarm, Model
from bgd.methods.least_harm.lanes import Edit, Floats, Net
from bgd.methods.least_harm.tail import Activations, Support, Tail, with_ones

FEW = 512  # parameters of a change; more are a matter of matrix products
POINTS, COSTS = 8, 256  # changes at which a model, and a cost, is kept


def net_of(tail: Tail, weights: list[torch.Tensor]) -> Net:
    """Return a tail's weights as compiled code reads them."""
    sizes = np.array([tail.layers[0].inputs, *(layer.units for layer in tail.layers)])
    flat = torch.cat([weight.flatten() for weight in weights]).numpy()
    starts = np.cumsum([0, *(weight.numel() for weight in weights[:-1])])
    return Net(sizes, np.cumsum([0, *sizes[1:]]), starts, flat)


def edit_of(support: Support, change: torch.Tensor) -> Edit:
    """Return a change (k,) as compiled code reads it."""
    delta = change.to(torch.float32).numpy()
    return Edit(support.layer.numpy(), support.unit.numpy(), support.column.numpy(), delta)


def edited(net: Net, edit: Edit) -> Net:
    """Return the weights with a change."""
    weights = net.weights.copy()
    weights[net.starts[edit.layer] + edit.unit * (net.sizes[edit.layer] + 1) + edit.column] += edit.delta
    return net._replace(weights=weights)


def outputs_of(images: torch.Tensor, weights: list[torch.Tensor]) -> torch.Tensor:
    """Return every layer's outputs, before ReLU (rows, n), for what goes into the first one (n, inputs + 1)."""
    outputs, into = [], images.T
    for weight in weights:
        outputs.append((into.T @ weight.T).T)
        into = with_ones(outputs[-1].relu())
    return torch.cat(outputs)


class Columns:
    """What goes into the first layer, input by input: an input is copied out of the images where it is asked for."""

    def __init__(self, images: torch.Tensor, order: torch.Tensor) -> None:
        """Take images (n, inputs + 1), and the order to have them in (n,)."""
        self._images, self._order = images.numpy(), order.numpy()
        self._array = np.empty(images.T.shape, np.float32)
        self._is_there = np.zeros(len(self._array), dtype=bool)

    def of(self, support: Support) -> Floats:
        """Return an array (inputs + 1, n) of which the rows that a support's parameters weigh are filled."""
        asked = support.column.numpy()[support.layer.numpy() == 0]
        for column in asked[~self._is_there[asked]]:
            np.take(self._images[:, column], self._order, out=self._array[column])
            self._is_there[column] = True
        return self._array


class _Kept(OrderedDict[bytes, Any]):
    """The last things made, by the change that they were made at: zeros in it do not count."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def at(
        self,
        support: Support,
        change: torch.Tensor,
        make: Callable[[], Any],
        is_kept: Callable[[Any], bool] = lambda made: True,
    ) -> Any:
        """Return the value that is kept for a change, or the one that `make` makes."""
        indices, values = support.indices.numpy(), change.double().numpy()
        moved = values != 0
        key = indices[moved].tobytes() + values[moved].tobytes()
        made = self.get(key)
        if made is None:
            made = make()
            if is_kept(made):
                self[key] = made
                if len(self) > self._most:
                    self.popitem(last=False)
        return made


class CompiledDivergence:
    """As `harm.DivergenceHarm`, of a tail in float32 on the CPU."""

    def __init__(
        self,
        tail: Tail,
        weights: list[torch.Tensor],
        images: torch.Tensor,
        before: torch.Tensor,
        active: int,
    ) -> None:
        """See `DivergenceHarm`; `images` are what goes into the first layer (n, inputs + 1)."""
        self.tail, self._weights, self._before = tail, weights, before
        self.net = net_of(tail, weights)
        log_q = before.log_softmax(0)
        q = log_q.exp()
        # The least certain first: most of a change's harm is there, so that too much of it is seen early.
        order = (q * (1 - q)).sum(0).argsort(descending=True, stable=True)
        self.images, self.order = images, order.numpy()
        self.inputs = Columns(images, order)
        self.base = outputs_of(images, weights)[:, order].numpy()
        self.wanted = q[:, order].numpy()
        self._entropy = (q * log_q).sum(0)[order].numpy()
        self._predicted = before.argmax(0)[order].to(torch.int32).numpy()
        self.active = min(active, self.count)
        self._costs, self._models = _Kept(COSTS), _Kept(POINTS)

    @cached_property
    def _plain(self) -> DivergenceHarm:
        activations = Activations(self.images, self._weights)
        return DivergenceHarm(self.tail, self._weights, activations, self._before, self.active)

    @property
    def count(self) -> int:
        """Number of images n."""
        return len(self.images)

    def cost(self, support: Support, change: torch.Tensor, most: float = np.inf) -> Cost:
        """Return the harm of a change (k,) of a support's parameters; see `Harm.cost`."""
        if len(support) > FEW:
            return self._plain.cost(support, change)

        def make() -> Cost:
            total, flipped = lanes.divergence(
                self.net,
                edit_of(support, change),
                self.inputs.of(support),
                self.base,
                self.wanted,
                self._entropy,
                self._predicted,
                most * self.count,
            )
            value = total / self.count
            return Cost(value, flipped / self.count) if value < np.inf else Cost(np.inf, 1.0)

        cost: Cost = self._costs.at(support, change, make, lambda cost: cost.value <= most)
        return cost

    def model(self, support: Support, change: torch.Tensor) -> Model:
        """Return harm near a change."""
        if len(support) > FEW:
            return self._plain.model(support, change)
        if not change.any():
            return self._still
        model: Model = self._models.at(support, change, lambda: CompiledModel(self, support, change))
        return model

    @cached_property
    def _still(self) -> Model:
        return CompiledModel(self, *self.tail.nothing())


class CompiledModel:
    """Divergence near a change, over the images whose output is least certain or has moved most."""

    def __init__(self, harm: CompiledDivergence, support: Support, change: torch.Tensor) -> None:
        """Look at a change (k,) of a support's parameters."""
        edit = edit_of(support, change)
        self._harm, self._net, self._scale = harm, edited(harm.net, edit), 1 / harm.count
        shape = (harm.net.rows[-1], harm.count)
        values, p = np.empty(shape, np.float32), np.empty((harm.net.sizes[-1], harm.count), np.float32)
        weight = np.empty(harm.count, np.float32)
        lanes.expand(harm.net, edit, harm.inputs.of(support), harm.base, harm.wanted, values, p, weight)
        self._chosen = _largest(weight, harm.active)
        self._values, self._p = np.take(values, self._chosen, 1), np.take(p, self._chosen, 1)
        self._residual = self._p - np.take(harm.wanted, self._chosen, 1)
        self._roots = np.sqrt(self._p)

    def on(self, support: Support) -> tuple[torch.Tensor, torch.Tensor]:
        """Return g (k,) and H (k, k) of a support's parameters alone, float64."""
        rows, slopes = self._columns(support)
        flat = torch.from_numpy(rows).flatten(1)
        matrix = flat @ flat.T * self._scale
        return (torch.from_numpy(slopes) * self._scale).double(), matrix.double()

    def _columns(self, support: Support) -> tuple[Floats, Floats]:
        """Return half of H (k, C, m) and g (k,) of a support's parameters."""
        layer, unit = support.layer.numpy(), support.unit.numpy()
        rows = np.empty((len(support), *self._p.shape), np.float32)
        slopes = np.empty(len(support), np.float32)
        into = self._entering(support)
        lanes.columns(
            self._net, self._values, self._p, self._roots, self._residual, layer, unit, into, rows, slopes
        )
        return rows, slopes

    def _entering(self, support: Support) -> Floats:
        """Return the values that enter the units of some parameters, image by image (k, m)."""
        into, images = np.empty((len(support), len(self._chosen)), np.float32), self._harm.inputs.of(support)
        pairs = zip(support.layer.numpy(), support.column.numpy(), strict=True)
        for place, (above, source) in enumerate(pairs):
            if above == 0:
                np.take(images[source], self._chosen, out=into[place])
            elif source == self._net.sizes[above]:
                into[place] = 1
            else:
                np.maximum(self._values[self._net.rows[above - 1] + source], 0, out=into[place])
        return into

    def gradient(self) -> torch.Tensor:
        """Return g (P,)."""
        return self._gradient

    @cached_property
    def _gradient(self) -> torch.Tensor:
        return self._backward(self._residual[None])[0] * self._scale

    def columns(self, support: Support) -> torch.Tensor:
        """Return the rows of H of a support's parameters (k, P)."""
        rows, _ = self._columns(support)
        rows *= self._roots
        return self._backward(rows) * self._scale

    def diagonal(self) -> torch.Tensor:
        """Return the diagonal of H, above 0 (P,)."""
        return self._diagonal

    @cached_property
    def _diagonal(self) -> torch.Tensor:
        curvature = np.empty_like(self._values)
        lanes.curvature(self._net, self._values, self._p, curvature)
        pairs = zip(self._of_layers(curvature), self._into, strict=True)
        values = self._harm.tail.pack([own @ into.square() for own, into in pairs]) * self._scale
        return values.clamp_min(FLOOR * float(values.mean()) or 1.0)

    def multiply(self, vector: torch.Tensor) -> torch.Tensor:
        """Return H v (P,) for a vector (P,)."""
        total = torch.empty(0)
        for place, (own, into) in enumerate(zip(self._harm.tail.unpack(vector), self._into, strict=True)):
            moved = own @ into.T
            if place:
                below = self._of_layers(self._values)[place - 1] > 0
                weights = self._net.weights[self._net.starts[place] :][: own.numel()].reshape(own.shape)
                moved += torch.from_numpy(weights[:, :-1]) @ (total * below)
            total = moved
        p = torch.from_numpy(self._p)
        residual = p * (total - (p * total).sum(0))
        return self._backward(residual[None].numpy())[0] * self._scale

    def _backward(self, residuals: Floats) -> torch.Tensor:
        """Return sum_n J_n' r_n (k, P) for residuals (k, C, m)."""
        rows, (several, _, count) = self._net.rows, residuals.shape
        deltas = np.empty((several * rows[-1], count), np.float32)
        deltas[several * rows[-2] :] = residuals.reshape(-1, count)
        lanes.pull(self._net, self._values, several, deltas)
        parts = []
        for place, into in enumerate(self._into):
            own = torch.from_numpy(deltas[several * rows[place] : several * rows[place + 1]])
            parts.append((own @ into).view(several, -1, into.shape[1]))
        return self._harm.tail.pack(parts)

    def _of_layers(self, array: Floats) -> list[torch.Tensor]:
        """Return an array (rows, m) layer by layer."""
        rows = self._net.rows
        return [torch.from_numpy(array[rows[place] : rows[place + 1]]) for place in range(len(rows) - 1)]

    @cached_property
    def _into(self) -> list[torch.Tensor]:
        """What goes into each layer, image by image (m, inputs + 1)."""
        chosen = torch.from_numpy(self._harm.order[self._chosen])
        into = [self._harm.images.index_select(0, chosen)]
        for outputs in self._of_layers(self._values)[:-1]:
            into.append(torch.cat([outputs.relu(), outputs.new_ones(1, outputs.shape[1])]).T)
        return into


def _largest(weight: Floats, count: int) -> NDArray[np.int64]:
    """Return the places of the largest values, ascending; of equal ones the first. No number is the largest."""
    weight = np.nan_to_num(weight, nan=np.inf, posinf=np.inf)
    least = np.partition(weight, -count)[-count]
    more = weight > least
    tied = np.flatnonzero(weight == least)[: count - int(np.count_nonzero(more))]
    more[tied] = True
    return np.flatnonzero(more)
