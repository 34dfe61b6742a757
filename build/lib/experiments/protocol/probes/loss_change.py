"""How the estimated change in training loss is distributed over the weights (section 4.6.2, figure 4.3)."""

from dataclasses import dataclass
from typing import Any

import torch

from bgd.methods.base import Sample, Trial
from bgd.methods.bgd.guard import FORMS, CurvatureGuard, ranked
from experiments.protocol.figures import Summaries

VERSION = 1  # raised whenever the same sample may give other values
BINS_PER_DECADE = 4


@dataclass(frozen=True)
class LossChange:
    """The estimate of `CurvatureGuard`, in each of its forms, as a histogram over the weights.

    Columns, for each form F: `F.exponent` and `F.count`, the number of weights with an estimate in
    [10^(k/4), 10^((k+1)/4)) for each k with any; `F.zero`, how many have an estimate of 0; `F.percentiles`, the
    estimates at `percentiles`; `F.rising`, how many have a signed estimate above 0, so that their update
    would raise the training loss to first order.

    Attributes:
        percentiles: Between 0 and 100. The thesis: 95; the released default: 98.
    """

    percentiles: tuple[float, ...] = (95.0, 98.0)

    def measure(self, trial: Trial, sample: Sample, summaries: Summaries) -> dict[str, list[Any]]:
        """Measure; see `Probe.measure`."""
        gradient = trial.gradient(sample)
        chosen = trial.candidates
        # Both updates go against g: along -1 / g_j and along -g_j. The loss rises where that goes with Gbar.
        rising = int((trial.mean_gradient.sign() * gradient.sign())[chosen].lt(0).sum())
        values: dict[str, list[Any]] = {}
        for form in FORMS:
            estimate = CurvatureGuard(form=form).estimate(trial, gradient)[chosen]
            estimate = estimate.clamp(
                max=torch.finfo(estimate.dtype).max
            )  # 1 / g overflows where g is subnormal
            exponents, counts = _histogram(estimate)
            values[f"{form}.exponent"], values[f"{form}.count"] = exponents, counts
            values[f"{form}.zero"] = [int((estimate == 0).sum())]
            values[f"{form}.percentiles"] = [self._at(estimate, percent) for percent in self.percentiles]
            values[f"{form}.rising"] = [rising]
        return values

    @staticmethod
    def _at(estimate: torch.Tensor, percent: float) -> float:
        """Return the percentile as the guard takes it: the value at the rounded rank."""
        rank = max(1, round(percent / 100 * len(estimate)))
        return float(ranked(estimate, rank))


def _histogram(estimate: torch.Tensor) -> tuple[list[int], list[int]]:
    """Return the bins in which any positive estimate lies, as exponents k, and how many lie in each."""
    positive = estimate[estimate > 0].double()
    bins = (positive.log10() * BINS_PER_DECADE).floor().long()
    lowest = int(bins.min()) if len(bins) else 0
    counts = (bins - lowest).bincount()
    found = counts.nonzero().flatten()
    return (found + lowest).tolist(), counts[found].tolist()
