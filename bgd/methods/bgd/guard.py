"""Which drawn parameters to avoid: BGD-C redraws those that the training loss is sensitive to (section 4.6)."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch

from bgd.methods.base import Trial

FORMS = ("gradient_product", "second_order_step")
PART = 1 << 18  # values gone through at a time
FEW = 20_000  # values of which numpy finds a rank faster than the bound is found
STRIDE, MARGIN = 251, 0.01  # a bound from one value in so many, by so much of all values below the rank


class Guard(Protocol):
    """Says which parameters are to be drawn again.

    A class that itself has an attribute `of_many`, true, takes the gradients of several samples at once too, and gives
    the mask of each (n, |W|), with the bits that it has alone.
    """

    @property
    def redraws(self) -> int:
        """How often a harmful parameter is drawn again before it is taken all the same."""
        ...

    def harmful(self, trial: Trial, gradient: torch.Tensor) -> torch.Tensor:
        """Return a mask (|W|,) of the parameters to avoid, for a sample's gradient (|W|,)."""
        ...


@dataclass(frozen=True)
class CurvatureGuard:
    """Avoids parameters whose estimated change in training loss is above a percentile.

    Attributes:
        percentile: The threshold tau. The thesis: 95; the released default: 98.
        form: `gradient_product`: |Gbar_j g_j|, the released code;
            `second_order_step`: |Gbar_j dw_j| with dw_j = -1 / g_j, as printed (section 4.6.2).
        redraws: How often a harmful parameter is drawn again before it is taken all the same (released code: 5).
    """

    of_many: ClassVar[bool] = True

    # DEVIATION D4: estimate and percentile differ between the thesis and its code.
    percentile: float = 95.0
    form: str = "gradient_product"
    redraws: int = 5

    def __post_init__(self) -> None:
        if not 0 < self.percentile < 100:
            raise ValueError(f"percentile={self.percentile}: must be between 0 and 100")
        if self.form not in FORMS:
            raise ValueError(f"form={self.form!r}: must be one of {', '.join(FORMS)}")
        if self.redraws < 0:
            raise ValueError(f"redraws={self.redraws}: must be at least 0")

    def estimate(self, trial: Trial, gradient: torch.Tensor) -> torch.Tensor:
        """Return the estimated change in training loss (..., |W|), without its sign; 0 where the gradient is 0.

        That of a single gradient is written over by the next one of the trial.
        """
        mean, out = trial.mean_gradient, trial.scratch("estimate") if gradient.dim() == 1 else None
        if self.form == "gradient_product":
            return torch.mul(mean, gradient, out=out).abs_()
        return torch.div(mean, gradient, out=out).abs_().masked_fill_(gradient == 0, 0)

    def harmful(self, trial: Trial, gradient: torch.Tensor) -> torch.Tensor:
        """Return where the estimate (..., |W|) is above the percentile of the candidates' estimates."""
        estimate, space = self.estimate(trial, gradient), trial.space
        count = space.size
        for name in space.names:
            if name not in space.weights:  # no candidates, and never above
                span = space.span(name)
                estimate[..., span] = -1.0
                count -= span.stop - span.start
        rank = min(count, max(1, round(self.percentile / 100 * count))) + space.size - count
        return estimate > ranked(estimate, rank)


def ranked(values: torch.Tensor, rank: int) -> torch.Tensor:
    """Return the value of a rank (..., 1) along the last dimension, counted from 1 at the smallest.

    `kthvalue`, for many values and a high rank.

    Only what is not below a bound is gone through, the bound being somewhat below the rank of a few of the values. The
    outcome is exact whatever the bound is: it is taken back where it turns out to be too high.
    """
    if not values.is_cuda and values.shape[-1] < FEW:
        return torch.from_numpy(np.partition(values.numpy(), rank - 1)[..., rank - 1 : rank])
    if values.is_cuda:  # where `kthvalue` may be refused, as not deterministic, and sorting takes no time
        return values.sort().values[..., rank - 1 : rank]
    if values.dim() > 1:
        return torch.stack([ranked(each, rank) for each in values])
    few = values[::STRIDE]
    place = int((rank / len(values) - MARGIN) * len(few))
    if place < 1:
        return values.kthvalue(rank, keepdim=True).values
    bound = few.kthvalue(place).values
    # What is no number ranks highest. Part by part, for the masks of all of it would not stay in the cache.
    above = torch.cat([part[~(part < bound)] for part in torch.split(values, PART)])
    rank_above = rank - (len(values) - len(above))
    if rank_above < 1:
        above, rank_above = values, rank
    return above.kthvalue(rank_above, keepdim=True).values
