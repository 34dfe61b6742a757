"""Which parameter to try next: the prior distribution P over parameters (sections 3.2 and 4.8.2)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch

from bgd.methods.base import Sample, Trial
from bgd.parameters import ParameterSpace

PART = 1 << 24  # parameters whose magnitudes are added up at a time
ROUND = 1 << 20  # weights whose blocks are added up at a time: they stay in the cache
BLOCK = 2048  # weights; a draw adds up one block, tabulating searches the sums of all


@dataclass(frozen=True, eq=False)
class Weights:
    """Non-negative weights (|W|,) of a distribution over parameters, which need not sum to 1; made where they are read.

    A search reads a few blocks of them, and all of them would take as much memory as the network. Those of several
    samples at once are (n, |W|), a part of them (n, k).

    Attributes:
        size: |W|.
        part: Gives the weights from a flat index to before another one.
    """

    size: int
    part: Callable[[int, int], torch.Tensor]

    @classmethod
    def listed(cls, values: torch.Tensor) -> "Weights":
        """Return weights that are there already (|W|,), or (n, |W|)."""
        return cls(values.shape[-1], lambda start, stop: values[..., start:stop])

    def whole(self) -> torch.Tensor:
        """Return all of them (|W|,)."""
        return self.part(0, self.size)


class Magnitude:
    """|g|, with 0 at every parameter that is no candidate; of one gradient, or of several at once.

    Those of several are made once, and `part` gives that memory itself: read `total`, `largest` and `sum_over` first,
    and each part once.

    Args:
        gradient: g (|W|,) or (n, |W|), read for as long as this is used.
        space: Says which parameter is in which layer.
        out: Where those of several may be made (n, |W|); by default in new memory. Not for one.
    """

    def __init__(
        self, gradient: torch.Tensor, space: ParameterSpace, out: torch.Tensor | None = None
    ) -> None:
        self._gradient, self.space = gradient, space
        self._others = _others(space)
        self._made: torch.Tensor | None = None
        if gradient.dim() > 1:
            self._made = self.candidates_of(torch.abs(gradient, out=out), 0)

    def each(self) -> "list[Magnitude]":
        """Return those of each of several gradients, as good as made alone: their parts are copies."""
        assert self._made is not None
        found = [Magnitude(gradient, self.space) for gradient in self._gradient]
        for magnitude, made, total in zip(found, self._made, self.total, strict=True):
            magnitude._made, magnitude.total = made, total[0]
        return found

    def part(self, start: int, stop: int) -> torch.Tensor:
        """Return the magnitudes from a flat index to before another one, to be written over."""
        if self._made is None:
            return self.candidates_of(self._gradient[start:stop].abs(), start)
        part = self._made[..., start:stop]
        return part if part.dim() > 1 else part.clone()

    def candidates_of(self, part: torch.Tensor, start: int) -> torch.Tensor:
        """Return values (..., k) of the parameters from a flat index on, with 0 written where there is no candidate."""
        stop = start + part.shape[-1]
        for span in self._others:
            if span.start < stop and start < span.stop:
                part[..., max(span.start - start, 0) : span.stop - start] = 0
        return part

    def sum_over(self, span: slice) -> torch.Tensor:
        """Return their sum () over the parameters of a span; of several (n, 1), with the bits that each has alone."""
        if self._gradient.dim() > 1:
            return torch.stack([each.sum() for each in self.part(span.start, span.stop)])[:, None]
        return self.part(span.start, span.stop).sum()

    @cached_property
    def total(self) -> torch.Tensor:
        """Their sum (), of several (n, 1)."""
        if self._gradient.dim() > 1:
            return self.sum_over(slice(0, self.space.size))
        return sum((each.sum() for each in self._parts()), start=self._gradient.new_zeros(()))

    @cached_property
    def largest(self) -> torch.Tensor:
        """The largest of them (), of several (n, 1)."""
        parts = [each.amax(-1, keepdim=self._gradient.dim() > 1) for each in self._parts()]
        return torch.stack(parts).amax(0)

    def weights(self, of: Callable[[torch.Tensor, int, int], torch.Tensor]) -> Weights:
        """Return weights that are made of the magnitudes of a part, and where it starts and stops."""
        return Weights(self.space.size, lambda start, stop: of(self.part(start, stop), start, stop))

    def _parts(self) -> Iterator[torch.Tensor]:
        size = self.space.size
        return (self.part(start, min(start + PART, size)) for start in range(0, size, PART))


def _others(space: ParameterSpace) -> list[slice]:
    """Return where there are no candidates."""
    return [space.span(name) for name in space.names if name not in space.weights]


class Prior(Protocol):
    """Turns a sample's gradient into weights of a distribution over parameters.

    A class that itself has an attribute `of_many`, true, does so for several samples at once too: the weights of each
    (n, |W|) with the bits that it has alone.
    """

    def weights(self, magnitude: Magnitude) -> Weights:
        """Return the weights (|W|,), 0 at every bias."""
        ...


@runtime_checkable
class InformedPrior(Protocol):
    """A prior that more than the gradient goes into: `bgd.methods.bgd.informed`."""

    def at(self, trial: Trial, sample: Sample) -> Prior:
        """Return the prior at a sample, from the network as it is outside the trial.

        Raises:
            LookupError: The method may not know what goes into it, or the problem was posed without it.
            CurvatureError: The network has no usable curvature.
        """
        ...


def is_of_many(part: object) -> bool:
    """Return whether a prior or a guard takes several samples at once: its class says so, none that it derives from."""
    return bool(vars(type(part)).get("of_many", False))


def prior_at(prior: Prior | InformedPrior, trial: Trial, sample: Sample) -> Prior:
    """Return the prior at a sample: itself, where the gradient is all that goes into it."""
    return prior.at(trial, sample) if isinstance(prior, InformedPrior) else prior


@dataclass(frozen=True)
class GradientPrior:
    """P_0(w_j) = |g_j| / sum |g| (section 3.2), over the whole network."""

    of_many: ClassVar[bool] = True

    def weights(self, magnitude: Magnitude) -> Weights:
        """Return |g| / sum |g|."""
        total = magnitude.total
        return magnitude.weights(lambda part, *_: part.div_(total))


@dataclass(frozen=True)
class LayerNormalisedPrior:
    """|g_j| / sum of |g| over the layer of j (section 4.8.2): every layer with a gradient is as likely."""

    of_many: ClassVar[bool] = True

    def weights(self, magnitude: Magnitude) -> Weights:
        """Return |g| divided, tensor by tensor, by the tensor's sum; a layer without gradient stays at 0."""
        spans = [magnitude.space.span(name) for name in magnitude.space.weights]
        sums = [magnitude.sum_over(span) for span in spans]
        totals = [(span, total.where(total > 0, 1.0)) for span, total in zip(spans, sums, strict=True)]

        def divided(part: torch.Tensor, start: int, stop: int) -> torch.Tensor:
            for span, total in totals:
                if span.start < stop and start < span.stop:
                    part[..., max(span.start - start, 0) : span.stop - start] /= total
            return part

        return magnitude.weights(divided)


@dataclass(frozen=True)
class UniformPrior:
    """Every weight as likely: the random choice of section 4.7."""

    of_many: ClassVar[bool] = True

    def weights(self, magnitude: Magnitude) -> Weights:
        """Return 1 for each weight, 0 for each bias."""
        return magnitude.weights(lambda part, start, _: magnitude.candidates_of(part.fill_(1.0), start))


_Floats = np.ndarray[Any, np.dtype[np.float64]]


class Sampler:
    """Draws parameters one by one, without replacement, from a distribution.

    A drawn parameter's probability becomes 0. Sampling by rejection from a table of cumulative weights is that
    distribution exactly: a draw that was drawn before is drawn again. The table is made anew when what is left
    of it is below a half, so a draw costs two tries on average at the most.

    The table has two levels: the sums of blocks of weights are kept, and what is cumulative within a block is added
    up when a draw falls there. Only the blocks drawn from are ever copied. All sums are in float64.

    Args:
        weights: Their weights; 0 is never drawn. They are read for as long as the sampler is used.
        stream: Where the random numbers come from.
        sums: Of each block of `BLOCK` weights, where they are known.
    """

    def __init__(self, weights: Weights, stream: np.random.Generator, sums: _Floats | None = None) -> None:
        self._stream = stream
        self._fill(weights, _sums(weights) if sums is None else sums)

    def _fill(self, weights: Weights, sums: _Floats) -> None:
        """Start from these weights, and the sum of each block of them."""
        self._weights = weights
        self._copies: dict[int, _Floats] = {}  # blocks drawn from: their weights as they are in the table
        self._cumulative: dict[int, _Floats] = {}
        self._drawn: set[int] = set()  # since the table was made
        self._sums = np.concatenate([sums, np.zeros(1)])
        self._accumulate()

    @property
    def total(self) -> float:
        """Sum of the weights when the table was made; 0 where there is nothing to draw, NaN where one is."""
        return self._total

    def _accumulate(self) -> None:
        self._table = np.cumsum(self._sums)
        self._total = self._left = float(self._table[-1])

    def _tabulate(self) -> None:
        """Make the table anew, without what was drawn."""
        blocks = {index // BLOCK for index in self._drawn}
        for index in self._drawn:
            self._block(index // BLOCK)[index % BLOCK] = 0.0
        for block in blocks:
            self._sums[block] = self._copies[block].sum()
            self._cumulative.pop(block, None)
        self._drawn.clear()
        self._accumulate()

    def _block(self, block: int) -> _Floats:
        """Return the weights of a block as they are in the table, a copy to write to."""
        if block not in self._copies:
            start, stop = block * BLOCK, min((block + 1) * BLOCK, self._weights.size)
            self._copies[block] = _array(self._weights.part(start, stop)).astype(np.float64)
        return self._copies[block]

    def _at(self, target: float) -> int:
        """Return the first index at which the cumulative weight is above the target."""
        block = _first_above(self._table, target)
        if block not in self._cumulative:
            self._cumulative[block] = np.cumsum(self._block(block))
        within = self._cumulative[block]
        before = float(self._table[block - 1]) if block else 0.0
        return block * BLOCK + _first_above(within, target - before)

    def draw(self) -> int | None:
        """Return the flat index of one more parameter; None where nothing is left."""
        if self._left < 0.5 * self._total:
            self._tabulate()
        if not self._total > 0:
            return None
        while True:
            index = self._at(self._stream.random() * self._total)
            weight = float(self._block(index // BLOCK)[index % BLOCK])
            if weight > 0 and index not in self._drawn:
                self._drawn.add(index)
                self._left -= weight
                return index

    def draw_where(self, accepts: Callable[[int], bool], redraws: int) -> int | None:
        """Draw until a parameter is accepted, but at most `redraws` times more; the last one counts anyway."""
        index = self.draw()
        for _ in range(redraws):
            if index is None or accepts(index):
                break
            index = self.draw()
        return index

    def lower(self, by: torch.Tensor) -> None:
        """Take max(0, P - by) as the new weights, `by` (|W|,): the probability update as printed (section 3.4)."""
        self._tabulate()
        lowered = _array(self._weights.whole()).astype(np.float64)
        for block, weights in self._copies.items():
            lowered[block * BLOCK : (block + 1) * BLOCK] = weights
        lowered -= _array(by)
        left = Weights.listed(torch.from_numpy(np.maximum(0.0, lowered, out=lowered)))
        self._fill(left, _sums(left))

    def foreseen(self, count: int) -> list[int]:
        """Return the blocks, not at hand yet, that the stream's next numbers fall in if all of them are for draws."""
        state = self._stream.bit_generator.state
        targets = self._stream.random(count) * self._total
        self._stream.bit_generator.state = state
        places = np.minimum(self._table.searchsorted(targets, side="right"), len(self._table) - 2)
        return [block for block in np.unique(places).tolist() if block not in self._copies]

    def receive(self, block: int, weights: _Floats) -> None:
        """Take the weights of a block, as they were at the start; what lies beyond the last one does not matter."""
        self._copies[block] = weights[: self._weights.size - block * BLOCK]


def _sums(weights: Weights) -> _Floats:
    """Return the sum of each block of weights."""
    sums = []
    for start in range(0, weights.size, ROUND):
        values = _array(weights.part(start, min(start + ROUND, weights.size)))
        whole = len(values) // BLOCK * BLOCK
        sums.append(values[:whole].reshape(-1, BLOCK).sum(axis=1, dtype=np.float64))
        sums.append(values[whole:].sum(dtype=np.float64, keepdims=True)[: len(values) - whole])
    return np.concatenate(sums)


def _array(values: torch.Tensor) -> np.ndarray[Any, Any]:
    """Return values (|W|,) as numpy has them: bfloat16 it has not."""
    return (values.float() if values.dtype == torch.bfloat16 else values).cpu().numpy()


def _first_above(cumulative: _Floats, target: float) -> int:
    """Return the first place that is above the target; the last that adds anything where rounding leaves none."""
    place = int(cumulative.searchsorted(target, side="right"))
    return place if place < len(cumulative) else int(cumulative.searchsorted(cumulative[-1]))
