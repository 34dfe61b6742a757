"""The test images as bystanders: what a correction does to those it is not about."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.records.schema import Baseline, SideEffects, finite

CLOSE = 10  # the test images are close in the tenth of them with the smallest margins


@dataclass(frozen=True, eq=False)
class Bystanders:
    """Test images (N), what N0 says of them, and which of them are close or untouched.

    Attributes:
        labels: int64 (N,).
        predictions: N0's classes, -1 where a logit is not finite (N,).
        margins: Difference of N0's two largest logits, infinite where one is not finite (N,).
        untouched: Whether an image is no sample of the run (N,).
        classes: How many there are.
    """

    labels: torch.Tensor
    predictions: torch.Tensor
    margins: torch.Tensor
    untouched: torch.Tensor
    classes: int

    @classmethod
    def of(
        cls, logits: torch.Tensor, predictions: torch.Tensor, labels: torch.Tensor, samples: Sequence[int]
    ) -> "Bystanders":
        """Return the bystanders of a run.

        Args:
            logits: Of N0 on the test images (N, C).
            predictions: N0's classes (N,), as the evaluator has them.
            labels: The right ones (N,).
            samples: Indices into the test set of the samples to correct; those from N on are no bystanders.
        """
        largest = logits.topk(2, dim=1).values
        margins = largest[:, 0] - largest[:, 1]
        margins[~torch.isfinite(logits).all(1)] = torch.inf
        untouched = torch.ones(len(labels), dtype=torch.bool, device=labels.device)
        untouched[[index for index in samples if index < len(labels)]] = False
        return cls(labels, predictions, margins, untouched, logits.shape[1])

    @cached_property
    def close(self) -> torch.Tensor:
        """Whether an image is among the tenth with the smallest margins (N,)."""
        close = torch.zeros_like(self.untouched)
        close[self.margins.argsort(stable=True)[: len(self.labels) // CLOSE]] = True
        return close

    @cached_property
    def _before(self) -> NDArray[np.int64]:
        """What is known of each image before a correction, as one number (N,): that of its cell in `_table`."""
        kind = self.labels * (self.classes + 1) + self.predictions + 1
        kind = (kind * 2 + self.close) * 2 + self.untouched
        return (kind * (self.classes + 1) + 1).cpu().numpy()

    def _table(self, predictions: torch.Tensor) -> NDArray[np.int64]:
        """Count images by label, N0's prediction, whether they are close, whether untouched, and prediction.

        The first place for a prediction is for -1: (C, C + 1, 2, 2, C + 1).
        """
        shape = (self.classes, self.classes + 1, 2, 2, self.classes + 1)
        counts = np.bincount(self._before + predictions.cpu().numpy(), minlength=math.prod(shape))
        return counts.reshape(shape)

    @cached_property
    def baseline(self) -> Baseline:
        """How N0 does on them."""
        margins = self.margins[self.close]
        return Baseline(
            close_images=int(self.close.sum()),
            close_margin=finite(float(margins.max())) if len(margins) else None,
            untouched_images=int(self.untouched.sum()),
            untouched_right=int(((self.predictions == self.labels) & self.untouched).sum()),
            confusion=_cells(self._table(self.predictions).sum((1, 2, 3))),
        )

    def side_effects(self, predictions: torch.Tensor) -> SideEffects:
        """Count how a network's predictions (N,), -1 where a logit is not finite, differ from those of N0."""
        table = self._table(predictions)
        counts, label = table.sum((2, 3)), np.arange(self.classes)
        was_right, is_right = counts[label, label + 1], counts[label, :, label + 1]
        still = was_right[label, label + 1].sum()
        return SideEffects(
            broken=int(was_right.sum() - still),
            fixed=int(is_right.sum() - still),
            agreeing=int(counts.trace(axis1=1, axis2=2).sum()),
            agreeing_close=int(table[:, :, 1].sum(2).trace(axis1=1, axis2=2).sum()),
            untouched_right=int(table[:, :, :, 1].sum(2)[label, :, label + 1].sum()),
            confusion=_cells(counts.sum(1) - counts.sum(2)),
        )

    def same_confusion(self, index: int, label: int, mistaken: int, predictions: torch.Tensor) -> list[int]:
        """Return how many other images N0 mistakes as it does a sample, 0, and how many are right afterwards.

        Args:
            index: The sample's, into the test set; it may lie beyond these images.
            label: The right class.
            mistaken: The class that N0 takes it for, -1 where a logit is not finite; not the right one.
            predictions: Of the corrected network (N,).
        """
        alike = (self.labels == label) & (self.predictions == mistaken)
        alike[index : index + 1] = False  # nothing where there is no such image
        return [int(alike.sum()), 0, int((alike & (predictions == self.labels)).sum())]


def _cells(counts: NDArray[np.int64]) -> list[list[int]]:
    """Return `[label, prediction, count]` for each cell (C, C + 1) that is not 0."""
    places = counts.nonzero()
    labels, predictions = (place.tolist() for place in places)
    found = zip(labels, predictions, counts[places].tolist(), strict=True)
    return [[label, prediction - 1, count] for label, prediction, count in found]
