"""How large the gradient is in each layer, before and after normalisation (section 4.8.2, figure 4.13)."""

from dataclasses import dataclass
from typing import Any

from bgd.methods.base import Sample, Trial
from bgd.methods.bgd.prior import LayerNormalisedPrior, Magnitude
from experiments.protocol.figures import Summaries

VERSION = 1  # raised whenever the same sample may give other values


@dataclass(frozen=True)
class LayerGradients:
    """Sums and maxima of |g| over each weight tensor, and of the layer-normalised prior as a probability.

    Columns, a value per weight tensor: `layer`, `size`, `nonzero`, `magnitude` (sum of |g|), `largest`
    (max |g|), `normalised` (the tensor's share of the normalised prior), `normalised_largest`.
    """

    def measure(self, trial: Trial, sample: Sample, summaries: Summaries) -> dict[str, list[Any]]:
        """Measure; see `Probe.measure`."""
        space = trial.space
        magnitudes = Magnitude(trial.gradient(sample), space)
        magnitude = magnitudes.part(0, space.size)
        prior = LayerNormalisedPrior().weights(magnitudes).whole()
        total = max(float(prior.sum()), 1e-30)  # 0 where every gradient is: then every share is 0
        before = [magnitude[space.span(name)] for name in space.weights]
        after = [prior[space.span(name)] for name in space.weights]
        return {
            "layer": list(space.weights),
            "size": [len(part) for part in before],
            "nonzero": [int((part > 0).sum()) for part in before],
            "magnitude": [float(part.double().sum()) for part in before],
            "largest": [float(part.max()) for part in before],
            "normalised": [float(part.double().sum()) / total for part in after],
            "normalised_largest": [float(part.max()) / total for part in after],
        }
