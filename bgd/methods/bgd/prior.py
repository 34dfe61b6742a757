"""Which parameter to try next: the prior distribution P over parameters (sections 3.2 and 4.8.2)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from bgd.parameters import ParameterSpace


class Prior(Protocol):
    """Turns a sample's gradient into weights of a distribution over parameters."""

    def weights(self, magnitude: torch.Tensor, space: ParameterSpace) -> torch.Tensor:
        """Return non-negative weights (|W|,), 0 at every bias; they need not sum to 1.

        Args:
            magnitude: |g| (|W|,), 0 at every bias.
            space: Says which parameter is in which layer.
        """
        ...


@dataclass(frozen=True)
class GradientPrior:
    """P_0(w_j) = |g_j| / sum |g| (section 3.2), over the whole network."""

    def weights(self, magnitude: torch.Tensor, space: ParameterSpace) -> torch.Tensor:
        """Return |g| / sum |g|."""
        return magnitude / magnitude.sum()


@dataclass(frozen=True)
class LayerNormalisedPrior:
    """|g_j| / sum of |g| over the layer of j (section 4.8.2): every layer with a gradient is as likely."""

    def weights(self, magnitude: torch.Tensor, space: ParameterSpace) -> torch.Tensor:
        """Return |g| divided, tensor by tensor, by the tensor's sum; a layer without gradient stays at 0."""
        weights = magnitude.clone()
        for name in space.names:
            layer = weights[space.span(name)]
            total = layer.sum()
            if total > 0:
                layer /= total
        return weights


@dataclass(frozen=True)
class UniformPrior:
    """Every weight as likely: the random choice of section 4.7."""

    def weights(self, magnitude: torch.Tensor, space: ParameterSpace) -> torch.Tensor:
        """Return 1 for each weight, 0 for each bias."""
        return space.drop_biases(torch.ones_like(magnitude))


_Indices = np.ndarray[Any, np.dtype[np.int64]]
_Weights = np.ndarray[Any, np.dtype[np.float64]]


class Sampler:
    """Draws parameters one by one, without replacement, from a distribution.

    A drawn parameter's probability becomes 0. Sampling by rejection from a table of cumulative weights is that
    distribution exactly: a draw that was drawn before is drawn again. The table is made anew when what is left
    of it is below a half, so a draw costs two tries on average at the most.

    Args:
        weights: Non-negative weights (|W|,); 0 is never drawn.
        stream: Where the random numbers come from.
    """

    def __init__(self, weights: torch.Tensor, stream: np.random.Generator) -> None:
        self._stream = stream
        values = weights.cpu().numpy()
        self._tabulate(np.arange(len(values)), values)

    def _tabulate(self, support: _Indices, weights: np.ndarray[Any, Any]) -> None:
        left = np.flatnonzero(weights)
        self._support, self._weights = support[left], weights[left].astype(np.float64)
        self._table = np.cumsum(self._weights)
        self._total = self._left = float(self._table[-1]) if len(left) else 0.0

    def draw(self) -> int | None:
        """Return the flat index of one more parameter; None where nothing is left."""
        if self._left < 0.5 * self._total:
            self._tabulate(self._support, self._weights)
        if not len(self._support):
            return None
        while True:
            place = int(np.searchsorted(self._table, self._stream.random() * self._total, side="right"))
            place = min(place, len(self._support) - 1)
            weight = self._weights[place]
            if weight > 0:
                self._weights[place] = 0.0
                self._left -= weight
                return int(self._support[place])

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
        lowered = self._weights - by.cpu().numpy()[self._support]
        self._tabulate(self._support, np.maximum(0.0, lowered))
