"""Which parameter to try next: the prior distribution P over parameters (sections 3.2 and 4.8.2)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from bgd.methods.base import Sample, Trial
from bgd.parameters import ParameterSpace


class Prior(Protocol):
    """Turns a sample's gradient into weights of a distribution over parameters."""

    def weights(
        self,
        magnitude: torch.Tensor,
        space: ParameterSpace,
        total: torch.Tensor | None = None,
        out: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return non-negative weights (|W|,), 0 at every bias; they need not sum to 1.

        Args:
            magnitude: |g| (|W|,), 0 at every bias.
            space: Says which parameter is in which layer.
            total: The sum of the magnitudes (), where that is known.
            out: Where they may be written (|W|,), to save an allocation; it may be `magnitude` itself.
        """
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


def prior_at(prior: Prior | InformedPrior, trial: Trial, sample: Sample) -> Prior:
    """Return the prior at a sample: itself, where the gradient is all that goes into it."""
    return prior.at(trial, sample) if isinstance(prior, InformedPrior) else prior


@dataclass(frozen=True)
class GradientPrior:
    """P_0(w_j) = |g_j| / sum |g| (section 3.2), over the whole network."""

    def weights(
        self,
        magnitude: torch.Tensor,
        space: ParameterSpace,
        total: torch.Tensor | None = None,
        out: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return |g| / sum |g|."""
        return torch.div(magnitude, magnitude.sum() if total is None else total, out=out)


@dataclass(frozen=True)
class LayerNormalisedPrior:
    """|g_j| / sum of |g| over the layer of j (section 4.8.2): every layer with a gradient is as likely."""

    def weights(
        self,
        magnitude: torch.Tensor,
        space: ParameterSpace,
        total: torch.Tensor | None = None,
        out: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return |g| divided, tensor by tensor, by the tensor's sum; a layer without gradient stays at 0."""
        weights = magnitude.clone() if out is None else out.copy_(magnitude)
        for name in space.names:
            layer = weights[space.span(name)]
            own = layer.sum()
            if own > 0:
                layer /= own
        return weights


@dataclass(frozen=True)
class UniformPrior:
    """Every weight as likely: the random choice of section 4.7."""

    def weights(
        self,
        magnitude: torch.Tensor,
        space: ParameterSpace,
        total: torch.Tensor | None = None,
        out: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return 1 for each weight, 0 for each bias."""
        weights = torch.ones_like(magnitude) if out is None else out.fill_(1)
        return space.drop_biases(weights)


BLOCK = 2048  # weights; a draw adds up one block, tabulating searches the sums of all

_Floats = np.ndarray[Any, np.dtype[np.float64]]


class Sampler:
    """Draws parameters one by one, without replacement, from a distribution.

    A drawn parameter's probability becomes 0. Sampling by rejection from a table of cumulative weights is that
    distribution exactly: a draw that was drawn before is drawn again. The table is made anew when what is left
    of it is below a half, so a draw costs two tries on average at the most.

    The table has two levels: the sums of blocks of weights are kept, and what is cumulative within a block is added
    up when a draw falls there. Only the blocks drawn from are ever copied. All sums are in float64.

    Args:
        weights: Non-negative weights (|W|,); 0 is never drawn. They are read for as long as the sampler is used.
        stream: Where the random numbers come from.
    """

    def __init__(self, weights: torch.Tensor, stream: np.random.Generator) -> None:
        self._stream = stream
        self._fill(_array(weights))

    def _fill(self, values: np.ndarray[Any, Any]) -> None:
        """Start from these weights (|W|,)."""
        self._values = values
        self._copies: dict[int, _Floats] = {}  # blocks drawn from: their weights as they are in the table
        self._cumulative: dict[int, _Floats] = {}
        self._drawn: set[int] = set()  # since the table was made
        whole = len(values) // BLOCK
        self._sums = np.empty(whole + 1)
        values[: whole * BLOCK].reshape(whole, BLOCK).sum(axis=1, dtype=np.float64, out=self._sums[:whole])
        self._sums[whole] = values[whole * BLOCK :].sum(dtype=np.float64)
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
            self._copies[block] = self._values[block * BLOCK : (block + 1) * BLOCK].astype(np.float64)
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
        lowered = self._values.astype(np.float64)
        for block, weights in self._copies.items():
            lowered[block * BLOCK : (block + 1) * BLOCK] = weights
        lowered -= _array(by)
        self._fill(np.maximum(0.0, lowered, out=lowered))


def _array(values: torch.Tensor) -> np.ndarray[Any, Any]:
    """Return values (|W|,) as numpy has them: bfloat16 it has not."""
    return (values.float() if values.dtype == torch.bfloat16 else values).cpu().numpy()


def _first_above(cumulative: _Floats, target: float) -> int:
    """Return the first place that is above the target; the last that adds anything where rounding leaves none."""
    place = int(cumulative.searchsorted(target, side="right"))
    return place if place < len(cumulative) else int(cumulative.searchsorted(cumulative[-1]))
