"""Which drawn parameters to avoid: BGD-C redraws those that the training loss is sensitive to (section 4.6)."""

from dataclasses import dataclass
from typing import Protocol

import torch

from bgd.methods.base import Trial

FORMS = ("gradient_product", "second_order_step")


class Guard(Protocol):
    """Says which parameters are to be drawn again."""

    redraws: int

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
        """Return the estimated change in training loss (|W|,), without its sign; 0 where the gradient is 0."""
        mean = trial.mean_gradient
        if self.form == "gradient_product":
            return (mean * gradient).abs()
        return torch.where(gradient == 0, torch.zeros_like(gradient), (mean / gradient).abs())

    def harmful(self, trial: Trial, gradient: torch.Tensor) -> torch.Tensor:
        """Return where the estimate is above the percentile of the candidates' estimates."""
        estimate = self.estimate(trial, gradient)
        among = estimate[trial.candidates]
        rank = max(1, round(self.percentile / 100 * len(among)))
        return estimate > among.kthvalue(rank).values
