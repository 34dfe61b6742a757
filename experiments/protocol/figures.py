"""Evaluations in the figures of the thesis: mean loss and accuracy over D and over the test images."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from bgd.evaluation import Evaluation, Evaluator, ForkingEvaluator, FullEvaluator
from bgd.patch import Patch
from experiments.mnist.data import Data
from experiments.protocol.stratified import Part, Values
from experiments.records.schema import Figures, finite

VERSION = 3  # raised whenever an evaluation of the same network may give other figures
RELEASED_BATCH = 64  # batch size of the released code's loss accounting (docs/deviations.md, D8)


@dataclass(frozen=True, eq=False)
class Control:
    """N0 on all of D, where a network is evaluated on a part of D.

    Attributes:
        part: Which images of D are in it, of how many.
        losses, right: N0's loss of each image of the part (n,), and 1 where it is right, else 0.
        loss, accuracy: Their means over all of D.
    """

    part: Part
    losses: Values
    right: Values
    loss: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class Images:
    """The images that figures are over, those of D first.

    Attributes:
        images: Normalised (N, 1, 28, 28).
        labels: int64 (N,).
        size: How many are of D; the others are test images.
        control: What the rest of D is known by, where those here are a part of it; None where they are all of it.
    """

    images: torch.Tensor
    labels: torch.Tensor
    size: int
    control: Control | None = None

    @classmethod
    def joined(
        cls, train: torch.Tensor, train_labels: torch.Tensor, test: torch.Tensor, test_labels: torch.Tensor
    ) -> "Images":
        """Join images of D and test images."""
        return cls(torch.cat([train, test]), torch.cat([train_labels, test_labels]), len(train))

    @classmethod
    def of(
        cls,
        data: Data,
        train: int,
        test: int,
        device: torch.device | str = "cpu",
        by_pixel: bool = False,
    ) -> "Images":
        """Take the first `train` images of D and the first `test` test images.

        Args:
            data: Where they are from.
            train: How many.
            test: How many.
            device: Where they go.
            by_pixel: Whether a pixel of all images lies in one stretch of memory, and not an image: networks without
                convolutions are evaluated pixel by pixel, and need no copy then.
        """
        splits = data.train.first(train), data.test.first(test)
        size, count, shape = len(splits[0]), sum(map(len, splits)), splits[0].images.shape[1:]
        images = torch.empty(count, 1, *shape)
        if by_pixel:
            images = torch.empty(math.prod(shape), count).t().view(images.shape)
        splits[0].write(images[:size])
        splits[1].write(images[size:])
        labels = torch.from_numpy(np.concatenate([split.labels for split in splits]).astype(np.int64))
        return cls(images.to(device), labels.to(device), size)

    def part(self, base: Evaluation, count: int) -> "tuple[Images, Evaluation]":
        """Keep a stratified part of D and every test image.

        Args:
            base: Evaluation of N0 on these images.
            count: Images of D to keep.

        Returns:
            The images, and the evaluation of N0 on them.
        """
        losses, right = base.losses[: self.size], base.predictions[: self.size] == self.train_labels
        known, hits = _numbers(losses), _numbers(right)
        labels = self.train_labels.cpu().numpy()
        part = Part.drawn(labels, known, count, certain=_last_batch(self.size))
        control = Control(
            part, known[part.images], hits[part.images], float(known.mean()), float(hits.mean())
        )
        chosen = torch.from_numpy(part.images).to(self.labels.device)
        kept = torch.cat([chosen, torch.arange(self.size, len(self.labels), device=chosen.device)])
        images = Images(self.images[kept], self.labels[kept], len(chosen), control)
        return images, replace(base, losses=base.losses[kept], predictions=base.predictions[kept])

    @property
    def train(self) -> torch.Tensor:
        """The images of D."""
        return self.images[: self.size]

    @property
    def train_labels(self) -> torch.Tensor:
        """Their labels."""
        return self.labels[: self.size]

    @property
    def test(self) -> torch.Tensor:
        """The test images."""
        return self.images[self.size :]

    @property
    def test_labels(self) -> torch.Tensor:
        """Their labels."""
        return self.labels[self.size :]


@dataclass(frozen=True, eq=False)
class Summary:
    """An evaluation in figures.

    Attributes:
        figures: Losses and accuracies.
        test_predictions: Class predicted for each test image (N,), -1 where a logit is not finite.
    """

    figures: Figures
    test_predictions: torch.Tensor


class Summaries:
    """Summaries of a network and of changes of it.

    Args:
        evaluator: Evaluates the network on `images`.
        images: The images of D and the test images.
    """

    def __init__(self, evaluator: Evaluator, images: Images) -> None:
        self._evaluator, self._images = evaluator, images
        self._base: tuple[Evaluation, Summary] | None = None

    @property
    def base(self) -> Summary:
        """Summary of the network as it is now."""
        evaluation = self._evaluator.base
        if self._base is None or self._base[0] is not evaluation:
            self._base = evaluation, summarised(evaluation, self._images)
        return self._base[1]

    def after(self, patch: Patch) -> Summary:
        """Summarise the network with `patch` applied; the network stays as it is."""
        evaluation = self._evaluator.after(patch)
        if self._base and self._base[0] is evaluation:
            return self._base[1]
        return summarised(evaluation, self._images)

    def advance(self, patch: Patch) -> None:
        """Make the patched network the new base."""
        self._evaluator.advance(patch)

    def fork(self, memory: int) -> "Summaries":
        """Return summaries of the same network that go their own way: see `ForkingEvaluator.fork`."""
        assert isinstance(self._evaluator, ForkingEvaluator), "no other has anything to share"
        return Summaries(self._evaluator.fork(memory), self._images)


def full(network: torch.nn.Module, images: Images, batch_size: int = 100) -> Summaries:
    """Return summaries by the obvious evaluator."""
    return Summaries(FullEvaluator(network, images.images, images.labels, batch_size), images)


def summarised(evaluation: Evaluation, images: Images) -> Summary:
    """Return the figures of an evaluation; losses are summed in float64."""
    size, control = images.size, images.control
    losses, right = evaluation.losses, evaluation.predictions == images.labels
    train = losses[:size], right[:size]
    figures = Figures(
        **(_of_all(*train) if control is None else _of_part(*train, control)),
        test_loss=finite(float(losses[size:].mean())),
        test_accuracy=int(right[size:].count_nonzero()) / (len(right) - size),
    )
    return Summary(figures, evaluation.predictions[size:])


def _of_all(losses: torch.Tensor, right: torch.Tensor) -> dict[str, Any]:
    """Return the figures over D, by the loss of each of its images (N,) and whether it is right."""
    size = len(losses)
    last = size - _last_batch(size)
    whole, rest = float(losses[:last].view(-1, RELEASED_BATCH).sum(1).sum()), float(losses[last:].sum())
    return {
        "train_loss": finite((whole + rest) / size),
        "train_accuracy": int(right.count_nonzero()) / size,
        **_released(whole, rest, size),
    }


def _of_part(losses: torch.Tensor, right: torch.Tensor, control: Control) -> dict[str, Any]:
    """Estimate the same by a part of D (n,), whose last images are the last batch of D."""
    part, size = control.part, int(control.part.sizes.sum())
    loss = part.mean(_numbers(losses), control.losses, control.loss)
    accuracy = part.mean(_numbers(right), control.right, control.accuracy)
    rest = float(losses[-_last_batch(size) :].sum())
    return {
        "train_loss": finite(loss.mean),
        "train_loss_error": finite(loss.error),
        "train_accuracy": accuracy.mean,
        "train_accuracy_error": accuracy.error,
        **_released(loss.mean * size - rest, rest, size),
    }


def _released(whole: float, rest: float, size: int) -> dict[str, float | None]:
    """Return the released code's losses, by the sum over D without its last batch and that over it."""
    final = rest / _last_batch(size)
    return {
        "released_before": finite((whole / RELEASED_BATCH + final) / size),
        "released_after": finite(final / size),
    }


def _last_batch(size: int) -> int:
    """Count the images in the last batch of D."""
    return (size - 1) % RELEASED_BATCH + 1


def _numbers(values: torch.Tensor) -> Values:
    """Take the values of a tensor (n,) out of torch, as float64."""
    return values.double().cpu().numpy()
