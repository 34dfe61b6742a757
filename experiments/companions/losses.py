"""Losses of one lane's batch, and what counts as right."""

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
import torch.nn.functional as F


class Loss(Protocol):
    """A loss of outputs (B, K) and targets."""

    def each(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Give the loss of each sample (B,)."""
        ...

    def total(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Give the loss of the batch, what is trained on."""
        ...

    def right(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Tell which samples are right (B,)."""
        ...


@dataclass(frozen=True)
class CrossEntropy:
    """Mean cross-entropy of logits; targets are classes (B,).

    Attributes:
        smoothing: e of label smoothing as the notes print it: 1 - e on the class, e / (k - 1) on the others. torch
            spreads over all k classes, so that it is given e k / (k - 1).
    """

    smoothing: float = 0.0

    def each(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """See `Loss.each`."""
        classes = outputs.shape[1]
        spread = self.smoothing * classes / (classes - 1)
        return F.cross_entropy(outputs, targets, reduction="none", label_smoothing=spread)

    def total(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """See `Loss.total`."""
        return self.each(outputs, targets).mean()

    def right(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """See `Loss.right`: the largest logit."""
        return outputs.argmax(1) == targets


@dataclass(frozen=True)
class Squares:
    """Squared errors; targets are numbers (B, K).

    Attributes:
        reduction: Over the samples of a batch.
    """

    reduction: Literal["sum", "mean"] = "mean"

    def each(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """See `Loss.each`."""
        return (outputs - targets).square().sum(1)

    def total(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """See `Loss.total`."""
        errors = self.each(outputs, targets)
        return errors.sum() if self.reduction == "sum" else errors.mean()

    def right(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """See `Loss.right`: equal when rounded, as the dissertation's code counts."""
        return (outputs.round() == targets).all(1)


@dataclass(frozen=True)
class Hinge:
    """Mean of max(0, 1 - t y); targets t are -1 and 1 (B, 1)."""

    def each(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """See `Loss.each`."""
        return (1 - targets * outputs).clamp_min(0).sum(1)

    def total(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """See `Loss.total`."""
        return self.each(outputs, targets).mean()

    def right(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """See `Loss.right`: the same sign."""
        return (outputs * targets > 0).all(1)
