"""What is kept of the base network: values at some places, for every image, and what was found for each image.

Values (N, F) of fully connected layers lie in memory unit by unit, so that those of one unit are one stretch; those of
convolutions (N, C, H, W) with the channels of a pixel side by side.
"""

from collections.abc import Iterable, Iterator

import torch

from bgd.evaluation.flow import BATCH, BLOCK, DENSE, LOT, Part, flow, put
from bgd.evaluation.full import Evaluation
from bgd.evaluation.layers import Layers, product
from bgd.evaluation.shelf import Shelf
from bgd.layers import channels_last

REFRESH = 100  # differences added to kept values before they are made again, so that rounding cannot pile up


class Activations:
    """Values of one network at some places; made when first asked for.

    Attributes:
        layers: Of the network.
        values: At each kept place, all N images (N, ...).
        outcome: Of every image, where it is known.
        labels: Of every image (N,).
    """

    def __init__(
        self,
        layers: Layers,
        images: torch.Tensor,
        labels: torch.Tensor,
        batch_size: int,
        shelf: Shelf | None,
    ) -> None:
        self.layers = layers
        self._shelf = shelf
        self.values: dict[int, torch.Tensor] = {}
        self.outcome: Evaluation | None = None
        self.labels = labels
        self._images = images
        self._batch_size = batch_size
        self._added: dict[int, int] = {}  # differences added to the values at a place since they were made
        self._own: set[int] = set()  # places whose values nobody else holds
        self._shelved: dict[int, Shelf] = {}  # places with the very values that lie on a shelf

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def apart(self, layers: Layers, places: set[int]) -> "Activations":
        """Return the same at some places for a network that will go its own way; what is written to is copied."""
        other = Activations.__new__(Activations)
        other.__dict__.update(self.__dict__)
        other.layers, other._shelf, other._own = layers, None, set()
        other.values = {place: values for place, values in self.values.items() if place in places}
        other._added = {place: self._added[place] for place in other.values}
        other._shelved = {**self._shelved}
        return other

    def require(self, places: Iterable[int]) -> None:
        """Make the values at `places` that are not there."""
        for place in sorted(set(places) - set(self.values)):
            size = self.layers.sizes[place] * len(self) * self._images.element_size()
            if self._shelf and size >= self._shelf.least:
                self._shelved[place] = self._shelf
                self.values[place] = self._from_shelf(place)
            else:
                self.values[place] = self._make(place)
            self._added[place] = 0
            self._own.add(place)

    def _from_shelf(self, place: int) -> torch.Tensor:
        return _viewed(self._shelved[place].get(str(place), lambda: _stored(self._make(place))))

    def _make(self, place: int) -> torch.Tensor:
        """Compute the values at a place from the nearest kept ones before it."""
        made: torch.Tensor | None = None
        for numbers, values in self.run(self.layers, self.nearest(place), place):
            if made is None:
                made = _empty(len(self), values)
            put(made, numbers, values)
        assert made is not None, "there are images"
        return made

    @torch.no_grad()
    def run(self, layers: Layers, start: int, stop: int | None = None) -> Iterator[Part]:
        """Run layers over every image.

        Args:
            layers: Of the network, or of a patched one that is the same up to `start`.
            start: A kept place, or 0.
            stop: Where to stop; at the logits for None.

        Yields:
            Images, and their values there.
        """
        yield from flow(layers, self._at(start), start, stop)

    def _at(self, place: int) -> Iterator[Part]:
        """Yield all images with their values at a kept place, or 0."""
        if not self.layers.all_known:
            for block, images in self.batches():
                yield block, self.values[place][block] if place else images
        elif place:
            for block in self.blocks(place):
                yield block, self.values[place][block]
        else:
            step = DENSE.get(self._images.device.type, BATCH)
            for block in stretches(len(self), LOT if self.layers.head <= 1 else step):
                yield block, channels_last(self._images[block])

    def batches(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield the images in the batches of the full evaluator."""
        start = 0
        for images in self._images.split(self._batch_size):
            yield slice(start, start + len(images)), images
            start += len(images)

    def blocks(self, place: int) -> Iterator[slice]:
        """Yield the images to compute together, where values from `place` on are to be computed."""
        if not self.layers.all_known:
            yield from (block for block, _ in self.batches())
            return
        step = BATCH
        if place >= self.layers.head:
            widest = max(self.layers.sizes[place:]) * self._images.element_size()
            step = max(LOT, BLOCK // widest)
        yield from stretches(len(self), step)

    @torch.no_grad()
    def some(self, place: int, rows: torch.Tensor, block: slice) -> torch.Tensor:
        """Return some units or channels (u,) at a place, for a block of images (k, u, ...).

        They are computed where they are not kept: see `Layers.is_cheap`.
        """
        if place in self.values:
            return units(self.values[place][block], rows)
        stage = self.layers.before(place)
        assert stage is not None, "a place that is not kept is cheap"
        values = channels_last(self._images[block])
        for module in self.layers.modules[: stage.at]:
            values = module(values)
        layer = self.layers.layer(stage)
        values = product(layer, layer.weight[rows], values)
        if layer.bias is not None:
            values += layer.bias[rows].view(-1, *[1] * (values.dim() - 2))
        for module in self.layers.modules[stage.at + 1 : place]:
            values = module(values)
        return values

    def change(self, places: Iterable[int]) -> None:
        """Get ready for a difference to be added to the values at some kept places."""
        for place in places:
            if place not in self._own:
                mapped = place in self._shelved  # mapping it again copies what is written to alone
                self.values[place] = self._from_shelf(place) if mapped else self.values[place].clone()
                self._own.add(place)
            self._shelved.pop(place, None)
            self._added[place] += 1

    def drop(self, after: int | None = None) -> None:
        """Forget what lies after a place, and values that too many differences were added to; the network changed."""
        self._shelf = None
        self.values = {
            place: values
            for place, values in self.values.items()
            if (after is None or place <= after) and self._added[place] < REFRESH
        }
        self._own &= set(self.values)
        self._shelved = {place: shelf for place, shelf in self._shelved.items() if place in self.values}

    def nearest(self, place: int) -> int:
        """Return the last kept place up to `place`; 0 where there is none."""
        return max((kept for kept in self.values if kept <= place), default=0)


def stretches(count: int, step: int) -> Iterator[slice]:
    """Yield `count` images in stretches of `step`."""
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def _empty(count: int, like: torch.Tensor) -> torch.Tensor:
    """Return room for the values of `count` images, in the order of memory that this module names."""
    size = _stored(like).shape
    return _viewed(like.new_empty(size[0], count) if like.dim() == 2 else like.new_empty(count, *size[1:]))


def _stored(values: torch.Tensor) -> torch.Tensor:
    """Return values (N, F) or (N, C, H, W) as they lie in memory: (F, N) or (N, H, W, C)."""
    return values.t() if values.dim() == 2 else values.permute(0, 2, 3, 1)


def _viewed(stored: torch.Tensor) -> torch.Tensor:
    """Return a view (N, F) or (N, C, H, W) of values that lie in memory as (F, N) or (N, H, W, C)."""
    return stored.t() if stored.dim() == 2 else stored.permute(0, 3, 1, 2)


def units(values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return some units or channels (u,) of values (N, U, ...), a copy in the same order of memory."""
    return _viewed(_stored(values).index_select(0 if values.dim() == 2 else 3, rows))


def take(values: torch.Tensor, images: torch.Tensor | None) -> torch.Tensor:
    """Return the values of some images (k,), all for None, in the same order of memory."""
    if images is None:
        return values
    return _viewed(_stored(values).index_select(1 if values.dim() == 2 else 0, images))
