"""The obvious evaluator: every image through the whole network. The oracle of every faster one."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol, Self, runtime_checkable

import torch
import torch.nn.functional as F
from torch import nn

from bgd.flat import FlatNetwork
from bgd.layers import chain
from bgd.patch import Patch


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a network says of each image.

    Attributes:
        losses: Cross-entropy in nats, float64 (N,).
        predictions: Class, -1 where a logit is not finite (N,).
    """

    losses: torch.Tensor
    predictions: torch.Tensor

    @classmethod
    def of(cls, logits: torch.Tensor, labels: torch.Tensor) -> Self:
        """Return the evaluation of logits (N, C): `cross_entropy` in float64, quick where classes lie in stretches."""
        by_class = logits.t().contiguous()
        top, predictions = by_class.max(0)
        wide = by_class.to(torch.float64, copy=True).sub_(top.double())  # the logits may be kept values
        losses = -wide.gather(0, labels[None])[0]
        losses += wide.exp_().sum(0).log_()
        sound = torch.isfinite(by_class.sum(0))
        if not sound.all():  # a sum may overflow where no logit does
            predictions[~torch.isfinite(by_class).all(0)] = -1
        return cls(losses, predictions)

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """Return the evaluation of several lots of images, one after the other."""
        return cls(*(torch.cat([getattr(part, each.name) for part in parts]) for each in fields(cls)))

    def with_images(self, images: torch.Tensor, found: Self) -> Self:
        """Return a copy with other findings for the images of these numbers (k,)."""
        names = [each.name for each in fields(self)]
        return type(self)(
            *(getattr(self, name).index_copy(0, images, getattr(found, name)) for name in names)
        )


class Evaluator(Protocol):
    """Evaluates changes of a network on images, one by one: whoever wants a mean takes it."""

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


@runtime_checkable
class ForkingEvaluator(Evaluator, Protocol):
    """An evaluator that keeps things of its network, which others of the same network may share."""

    def fork(self, memory: int | None = None) -> Self:
        """Return an evaluator of the same network; the two share what is kept until one of them advances.

        Args:
            memory: Bytes for what the other keeps for itself once it advances; None for as much as this one.
        """
        ...


class FullEvaluator:
    """Runs every image through the whole network.

    Args:
        network: Not changed: the evaluator has its own copy.
        images: What to evaluate on (N, ...), on the device to evaluate on.
        labels: The right classes, int64 (N,).
        batch_size: Images at a time. It changes nothing but speed and the last digits.
        base: Evaluation of `network`, where it is known already.
    """

    def __init__(
        self,
        network: nn.Module,
        images: torch.Tensor,
        labels: torch.Tensor,
        batch_size: int = 100,
        base: Evaluation | None = None,
    ) -> None:
        self._network = FlatNetwork(network, images.device)
        links = chain(self._network.module)
        tame = links and all(link.plain and not getattr(link.module, "inplace", False) for link in links)
        self._writes = not tame  # maybe: over the images that go in
        self._images, self._labels = images, labels
        self._batch_size = batch_size
        self._base = base

    @property
    def base(self) -> Evaluation:
        """Evaluation of the network as it is now, made when first asked for."""
        if self._base is None:
            self._base = self._evaluate()
        return self._base

    def after(self, patch: Patch) -> Evaluation:
        """Evaluate the network with `patch` applied."""
        with self._network.patched(patch):
            return self._evaluate()

    def advance(self, patch: Patch) -> None:
        """Make the patched network the new base."""
        patch.apply(self._network.flat)
        self._base = None

    @torch.no_grad()
    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits (N, C) of any images (N, ...), of the network as it is now."""
        batches = (batch.clone() if self._writes else batch for batch in images.split(self._batch_size))
        return torch.cat([self._network.module(batch) for batch in batches])

    def _evaluate(self) -> Evaluation:
        return evaluation_of(self.logits(self._images), self._labels)


def evaluation_of(logits: torch.Tensor, labels: torch.Tensor) -> Evaluation:
    """Return the evaluation of logits (N, C), as torch computes the loss: the oracle of `Evaluation.of`."""
    losses = F.cross_entropy(logits.double(), labels, reduction="none")
    predictions = logits.argmax(1)
    predictions[~torch.isfinite(logits).all(1)] = -1
    return Evaluation(losses, predictions)
