"""Top-k: one gradient step on the k parameters with the largest gradient, k as small as it gets (section 4.3)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from bgd.methods.base import Answer, Correction, Sample, Trial
from bgd.methods.glimpse import Glimpse
from bgd.patch import Patch

VERSION = 1  # raised whenever the same options may give another correction


@dataclass(frozen=True)
class TopK:
    """Grows k until a first-order step on the k highest-gradient weights makes the sample right.

    Whether the sample is right is not monotone in k, so a search over k could end at another k than the walk does: the
    walk is kept, and each look starts at the first layer that has changed since the one before.

    The thesis grows the share p of updated parameters over (0, 100] % and gives no grid; here k starts at 1 and
    grows by a factor.

    Attributes:
        step: Learning rate. The thesis states none; the released code has 0.01.
        first: k of the first try.
        growth: Factor on k from one try to the next; k grows by at least 1.
    """

    knows: ClassVar[str] = "nothing"

    # DEVIATION D5: the grid of p is an open choice.
    step: float = 0.01
    first: int = 1
    growth: float = 1.25

    def __post_init__(self) -> None:
        if self.step <= 0:
            raise ValueError(f"step={self.step}: must be above 0")
        if self.first < 1:
            raise ValueError(f"first={self.first}: must be at least 1")
        if self.growth <= 1:
            raise ValueError(f"growth={self.growth}: must be above 1")

    def correct(self, trial: Trial, sample: Sample, stream: np.random.Generator) -> Correction:
        """Grow k; see `Method.correct`."""
        gradient = trial.gradient(sample, out=trial.scratch("gradient"))
        magnitude = trial.space.drop_biases(torch.abs(gradient, out=trial.scratch("magnitude")))
        if not torch.isfinite(magnitude.sum()):
            return Correction.failed("the gradient is not finite")
        ranked = Ranking(magnitude)
        if not ranked.count:
            return Correction.failed("the gradient is zero")
        glimpse = Glimpse(trial.network, trial.space, trial.flat, sample.image)
        tries, done, k = 0, 0, self.first
        while True:
            k = min(k, ranked.count)
            more = ranked.between(done, k)
            moved = trial.original[more] - self.step * gradient[more]
            logits = glimpse.move(more, moved.to(trial.flat.dtype))
            trial.forward_passes += 1
            tries, done = tries + 1, k
            if Answer.of(logits, sample).right:
                chosen = ranked.between(0, k)
                patch = Patch.sparse(trial.space, chosen, trial.original[chosen], trial.flat[chosen])
                return Correction(patch, altered=k, steps=tries)
            if k == ranked.count:
                return Correction.failed(f"wrong with all {k:,} weights that have a gradient", tries)
            k = max(k + 1, math.ceil(k * self.growth))


BLOCK = 256  # magnitudes


class Ranking:
    """Indices by falling magnitude, ties by index, of the magnitudes above 0; sorted only as far as asked for."""

    def __init__(self, magnitude: torch.Tensor) -> None:
        self._magnitude = magnitude
        self.count = int(torch.count_nonzero(magnitude))
        self._sorted = torch.empty(0, dtype=torch.long)

    def between(self, start: int, stop: int) -> torch.Tensor:
        """Return the indices (stop - start,) of the ranks from `start`, counted from 0, to before `stop`."""
        if stop > len(self._sorted):
            reach = min(self.count, max(1024, 32 * stop))
            found = (self._magnitude >= self._bound(reach)).nonzero().flatten()
            values = self._magnitude[found]
            kept = values >= values.topk(reach).values[-1]  # with every tie, so that order is total
            order = values[kept].sort(descending=True, stable=True).indices
            self._sorted = found[kept][order]
        return self._sorted[start:stop]

    def _bound(self, reach: int) -> float:
        """Return a value that no fewer than `reach` magnitudes are at or above: what is below need not be sorted.

        `reach` blocks have a maximum at or above the `reach`-th largest of the maxima of blocks.
        """
        blocks = self._magnitude[: len(self._magnitude) // BLOCK * BLOCK].view(-1, BLOCK)
        if len(blocks) < reach:
            return 0.0
        return float(blocks.amax(dim=1).topk(reach).values[-1])
