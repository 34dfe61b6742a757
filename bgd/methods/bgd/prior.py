"""Which parameter to try next: the prior distribution P over parameters (sections 3.2 and 4.8.2)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from bgd.parameters import ParameterSpace


class Prior(Protocol):
    """Turns a sample's gradient into weights of a distribution over parameters."""

    def weights(self, gradient: torch.Tensor, space: ParameterSpace) -> torch.Tensor:
        """Return non-negative weights (|W|,) for a gradient (|W|,); they need not sum to 1."""
        ...


@dataclass(frozen=True)
class GradientPrior:
    """P_0(w_j) = |g_j| / sum |g| (section 3.2), over the whole network."""

    def weights(self, gradient: torch.Tensor, space: ParameterSpace) -> torch.Tensor:
        """Return |g| / sum |g|."""
        magnitude = gradient.abs()
        return magnitude / magnitude.sum()


@dataclass(frozen=True)
class LayerNormalisedPrior:
    """|g_j| / sum of |g| over the layer of j (section 4.8.2): every layer with a gradient is as likely."""

    def weights(self, gradient: torch.Tensor, space: ParameterSpace) -> torch.Tensor:
        """Return |g| divided, tensor by tensor, by the tensor's sum; a layer without gradient stays at 0."""
        weights = gradient.abs()
        for name in space.names:
            layer = weights[space.span(name)]
            total = layer.sum()
            if total > 0:
                layer /= total
        return weights


@dataclass(frozen=True)
class UniformPrior:
    """Every parameter as likely: the random choice of section 4.7."""

    def weights(self, gradient: torch.Tensor, space: ParameterSpace) -> torch.Tensor:
        """Return ones."""
        return torch.ones_like(gradient)


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
        self._weights = weights.double().cpu().numpy().copy()
        self._stream = stream
        self._tabulate()

    def _tabulate(self) -> None:
        self._support = np.flatnonzero(self._weights)
        self._table = np.cumsum(self._weights[self._support])
        self._total = float(self._table[-1]) if len(self._table) else 0.0
        self._left = self._total

    def draw(self) -> int | None:
        """Return the flat index of one more parameter; None where nothing is left."""
        if self._left < 0.5 * self._total:
            self._tabulate()
        if not len(self._support):
            return None
        while True:
            place = np.searchsorted(self._table, self._stream.random() * self._total, side="right")
            index = int(self._support[min(int(place), len(self._support) - 1)])
            weight = self._weights[index]
            if weight > 0:
                self._weights[index] = 0.0
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
        self._weights = np.maximum(0.0, self._weights - by.double().cpu().numpy())
        self._tabulate()
