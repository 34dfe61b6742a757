"""The obvious evaluator: every image through the whole network. The oracle of every faster one."""

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import nn

from bgd.flat import FlatNetwork
from bgd.layers import chain
from bgd.patch import Patch
from experiments.mnist.data import Data
from experiments.records.schema import Figures, finite

VERSION = 3  # raised whenever an evaluation of the same network may give other figures
RELEASED_BATCH = 64  # batch size of the released code's loss accounting (docs/deviations.md, D8)


@dataclass(frozen=True)
class Images:
    """The images that figures are over.

    Attributes:
        train, test: Normalised images (N, 1, 28, 28).
        train_labels, test_labels: int64 (N,).
    """

    train: torch.Tensor
    train_labels: torch.Tensor
    test: torch.Tensor
    test_labels: torch.Tensor

    @classmethod
    def of(cls, data: Data, train: int, test: int, device: torch.device | str = "cpu") -> "Images":
        """Return the first `train` images of D and the first `test` test images."""
        return cls(*data.train.first(train).tensors(device), *data.test.first(test).tensors(device))


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        figures: Losses and accuracies.
        test_predictions: Class predicted for each test image (N,), -1 where a logit is not finite.
    """

    figures: Figures
    test_predictions: torch.Tensor


class Evaluator(Protocol):
    """Evaluates changes of a network."""

    @property
    def base(self) -> Evaluation:
        """Evaluation of the network as it is now."""
        ...

    def after(self, patch: Patch) -> Evaluation:
        """Evaluate the network with `patch` applied; the network stays as it is."""
        ...

    def advance(self, patch: Patch) -> None:
        """Make the patched network the new base."""
        ...


class FullEvaluator:
    """Runs every image through the whole network.

    Args:
        network: Not changed: the evaluator has its own copy.
        images: What to evaluate on.
        batch_size: Images at a time. It changes nothing but speed and the last digits.
        base: Evaluation of `network`, where it is known already.
    """

    def __init__(
        self, network: nn.Module, images: Images, batch_size: int = 100, base: Evaluation | None = None
    ) -> None:
        self._network = FlatNetwork(network, images.train.device)
        links = chain(self._network.module)
        tame = links and all(link.plain and not getattr(link.module, "inplace", False) for link in links)
        self._writes = not tame  # maybe: over the images that go in
        self._images = images
        self._batch_size = batch_size
        self._base = base

    @property
    def base(self) -> Evaluation:
        """Evaluation of the network as it is now, made when first asked for."""
        if self._base is None:
            self._base = self._evaluate()
        return self._base

    def test_logits(self) -> torch.Tensor:
        """Return the logits of the test images (N, C)."""
        return self._logits(self._images.test)

    def after(self, patch: Patch) -> Evaluation:
        """Evaluate the network with `patch` applied."""
        with self._network.patched(patch):
            return self._evaluate()

    def advance(self, patch: Patch) -> None:
        """Make the patched network the new base."""
        patch.apply(self._network.flat)
        self._base = None

    @torch.no_grad()
    def _logits(self, images: torch.Tensor) -> torch.Tensor:
        batches = (batch.clone() if self._writes else batch for batch in images.split(self._batch_size))
        return torch.cat([self._network.module(batch) for batch in batches])

    def _evaluate(self) -> Evaluation:
        return self._summary(self._logits(self._images.train), self._logits(self._images.test))

    def _summary(self, train: torch.Tensor, test: torch.Tensor) -> Evaluation:
        return summarise(train, self._images.train_labels, test, self._images.test_labels)


def summarise(
    train: torch.Tensor, train_labels: torch.Tensor, test: torch.Tensor, test_labels: torch.Tensor
) -> Evaluation:
    """Turn the logits (N, C) of training and test images into an evaluation; losses are summed in float64."""
    return combine(*_per_image(train, train_labels)[:2], *_per_image(test, test_labels))


def combine(
    train_losses: torch.Tensor,
    train_right: torch.Tensor,
    test_losses: torch.Tensor,
    test_right: torch.Tensor,
    test_predictions: torch.Tensor,
) -> Evaluation:
    """Turn what was found for each image into an evaluation.

    Args:
        train_losses: Cross-entropy of each training image, float64 (N,).
        train_right: Whether its prediction is its label, bool (N,).
        test_losses: As `train_losses`, of the test images.
        test_right: As `train_right`.
        test_predictions: Class predicted for each test image (N,), -1 where a logit is not finite.
    """
    size = len(train_losses)
    last = size - (size - 1) % RELEASED_BATCH - 1  # where the last batch begins
    batch_means = [
        *train_losses[:last].view(-1, RELEASED_BATCH).mean(1).tolist(),
        float(train_losses[last:].mean()),
    ]
    figures = Figures(
        train_loss=finite(float(train_losses.mean())),
        train_accuracy=float(train_right.double().mean()),
        test_loss=finite(float(test_losses.mean())),
        test_accuracy=float(test_right.double().mean()),
        released_before=finite(sum(batch_means) / size),
        released_after=finite(batch_means[-1] / size),
    )
    return Evaluation(figures, test_predictions)


def _per_image(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    losses = F.cross_entropy(logits.double(), labels, reduction="none")
    predictions = logits.argmax(1)
    predictions[~torch.isfinite(logits).all(1)] = -1
    return losses, predictions == labels, predictions
