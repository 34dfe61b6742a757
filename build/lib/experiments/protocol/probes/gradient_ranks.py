"""Each of the weights with the largest gradients updated alone (section 4.8.1, tables 4.9 and 4.10)."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from bgd.methods.base import Answer, Sample, Trial
from bgd.methods.bgd.update import SecondOrder, Update
from bgd.methods.glimpse import Edits, Glimpse
from bgd.methods.top_k import Ranking
from bgd.patch import Patch
from experiments.protocol.figures import Summaries
from experiments.records.schema import finite

VERSION = 1  # raised whenever the same sample may give other values
FIGURES = ("train_loss", "train_accuracy", "test_accuracy")


@dataclass(frozen=True)
class GradientRanks:
    """The second-order update of one weight at a time, by falling |g|.

    Columns, a value per gradient rank from 1: `parameter` (flat index), `gradient`, `corrected` (1 where the
    sample comes out right), `sample_loss`, and where it is corrected `train_loss`, `train_accuracy` and
    `test_accuracy` of the network, else None.

    Attributes:
        count: How many ranks. The thesis: 100.
        update: How far the weight moves.
    """

    count: int = 100
    update: Update = field(default_factory=SecondOrder)

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count={self.count}: must be at least 1")

    def measure(self, trial: Trial, sample: Sample, summaries: Summaries) -> dict[str, list[Any]]:
        """Measure; see `Probe.measure`."""
        gradient = trial.gradient(sample)
        ranking = Ranking(trial.space.drop_biases(gradient.abs()))
        ranked = ranking.between(0, min(self.count, ranking.count))
        each = range(len(ranked))
        old = trial.original[ranked]
        new = old + torch.cat([self.update.change(gradient, ranked[k : k + 1]) for k in each])
        looks = self._looks(trial, sample, ranked, new)
        patches = [Patch.sparse(trial.space, ranked[k : k + 1], old[k : k + 1], new[k : k + 1]) for k in each]
        figures = [summaries.after(patches[k]).figures if looks[k].right else None for k in each]
        return {
            "parameter": ranked.tolist(),
            "gradient": gradient[ranked].tolist(),
            "corrected": [int(look.right) for look in looks],
            "sample_loss": [finite(look.loss) for look in looks],
            **{name: [found and getattr(found, name) for found in figures] for name in FIGURES},
        }

    @staticmethod
    def _looks(trial: Trial, sample: Sample, ranked: torch.Tensor, new: torch.Tensor) -> list[Answer]:
        """Look at the sample with each of the weights at its new value, one at a time."""
        glimpse = Glimpse(trial.network, trial.space, trial.flat, sample.image)
        count = len(ranked)
        logits = glimpse.of(Edits(count, np.arange(count), ranked.cpu().numpy(), new))
        trial.forward_passes += count
        return [Answer.of(logits[k : k + 1], sample) for k in range(count)]
