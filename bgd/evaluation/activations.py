"""What is kept of the base network: values at some places, for every image, and what was found for each image.

Values (N, F) of fully connected layers lie in memory unit by unit, so that those of one unit are one stretch.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from bgd.evaluation.full import Images
from bgd.evaluation.layers import Layers

REFRESH = 50  # differences added to kept values before they are made again, so that rounding cannot pile up


@dataclass(frozen=True)
class Outcome:
    """What was found for each image, training images first.

    Attributes:
        losses: Cross-entropy, float64 (N,).
        predictions: Class, -1 where a logit is not finite (N,).
    """

    losses: torch.Tensor
    predictions: torch.Tensor

    @classmethod
    def of(cls, logits: torch.Tensor, labels: torch.Tensor) -> "Outcome":
        """Return the outcome of logits (N, C): `cross_entropy` in float64, quick where classes lie in stretches."""
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
    def cat(cls, parts: Sequence["Outcome"]) -> "Outcome":
        """Return the outcome of several lots of images, one after the other."""
        return cls(
            torch.cat([part.losses for part in parts]), torch.cat([part.predictions for part in parts])
        )

    def with_images(self, images: torch.Tensor, found: "Outcome") -> "Outcome":
        """Return a copy with other findings for the images of these numbers (k,)."""
        return Outcome(
            self.losses.index_copy(0, images, found.losses),
            self.predictions.index_copy(0, images, found.predictions),
        )


class Activations:
    """Values of one network at some places; made when first asked for.

    Attributes:
        values: At each kept place, all N images (N, ...), training images first.
        outcome: Of every image, where it is known.
        labels: Of every image (N,).
    """

    def __init__(self, layers: Layers, images: Images, batch_size: int) -> None:
        self.values: dict[int, torch.Tensor] = {}
        self.outcome: Outcome | None = None
        self.labels = torch.cat([images.train_labels, images.test_labels])
        self._layers = layers
        self._parts = (images.train, images.test)
        self._batch_size = batch_size
        self._added: dict[int, int] = {}  # differences added to the values at a place since they were made
        self._own: set[int] = set()  # places whose values nobody else holds

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def apart(self, layers: Layers) -> "Activations":
        """Return the same for a network that will go its own way; values are copied when they are written to."""
        other = Activations.__new__(Activations)
        other.__dict__.update(self.__dict__)
        other._layers, other.values, other._added, other._own = (
            layers,
            {**self.values},
            {**self._added},
            set(),
        )
        return other

    def require(self, places: Iterable[int]) -> None:
        """Make the values at `places` that are not there."""
        for place in sorted(set(places) - set(self.values)):
            self.values[place] = self._make(place)
            self._added[place] = 0
            self._own.add(place)

    def _make(self, place: int) -> torch.Tensor:
        """Compute the values at a place from the nearest kept ones before it."""
        made: torch.Tensor | None = None
        for batch, values in self.run(self.nearest(place), place):
            if made is None:
                made = _empty(len(self), values)
            made[batch] = values
        assert made is not None, "there are images"
        return made

    @torch.no_grad()
    def run(self, start: int, stop: int | None = None) -> Iterator[tuple[slice, torch.Tensor]]:
        """Run layers over every image, in the batches and by the operations of the full evaluator.

        Args:
            start: A kept place, or 0.
            stop: Where to stop; at the logits for None.

        Yields:
            Which images, and their values there.
        """
        if all(start <= stage.at for stage in self._layers.stages):
            start = 0  # as good as the images themselves, which lie in memory image by image
        for batch, images in self._batches():
            values = images if start == 0 else self.values[start][batch].contiguous()
            for module in self._layers.modules[start:stop]:
                values = module(values)
            yield batch, values

    def _batches(self) -> Iterator[tuple[slice, torch.Tensor]]:
        start = 0
        for part in self._parts:
            for images in part.split(self._batch_size):
                yield slice(start, start + len(images)), images
                start += len(images)

    def batches(self) -> Iterator[slice]:
        """Yield the images of each batch of the full evaluator."""
        for batch, _ in self._batches():
            yield batch

    def change(self, places: Iterable[int]) -> None:
        """Get ready for a difference to be added to the values at some kept places."""
        for place in places:
            if place not in self._own:
                self.values[place] = self.values[place].clone()
                self._own.add(place)
            self._added[place] += 1

    def drop(self, after: int) -> None:
        """Forget what lies after a place, and values that too many differences were added to."""
        self.values = {
            place: values
            for place, values in self.values.items()
            if place <= after and self._added[place] < REFRESH
        }
        self._own &= set(self.values)

    def nearest(self, place: int) -> int:
        """Return the last kept place up to `place`; 0 where there is none."""
        return max((kept for kept in self.values if kept <= place), default=0)


def _empty(count: int, like: torch.Tensor) -> torch.Tensor:
    """Return room for the values of `count` images, unit by unit where an image has a vector of them."""
    if like.dim() == 2:
        return like.new_empty(like.shape[1], count).t()
    return like.new_empty(count, *like.shape[1:])


def units(values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return some units or channels (u,) of values (N, U, ...), a copy in the same order of memory."""
    return values.t().index_select(0, rows).t() if values.dim() == 2 else values.index_select(1, rows)


def take(values: torch.Tensor, images: torch.Tensor | None) -> torch.Tensor:
    """Return the values of some images (k,), all for None, in the same order of memory."""
    if images is None:
        return values
    return values.t().index_select(1, images).t() if values.dim() == 2 else values.index_select(0, images)
