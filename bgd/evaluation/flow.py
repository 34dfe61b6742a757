"""Running layers over many images, as fast as the machine does it.

Where every layer is known, convolutions take few images at a time, with the channels of a pixel side by side, and fully
connected layers many, with the values of a unit side by side. Where nobody asks for what lies between, a maximum over
pixels comes before the ReLU in front of it, which then has fewer values to look at, and a ReLU writes over its input.
Where a layer is not known, the layers get the batches that the full evaluator gives them, in the usual order of memory:
such a layer may look across images.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import nn

from bgd.evaluation.layers import Layers

# Images in the convolutions together in a pass from the images on. On the CPU what they make stays in the cache; a card
# wants to be full (docs/performance.md).
DENSE = {"cpu": 25, "cuda": 4000}
BATCH = 100  # images in the convolutions together: what they make stays in the cache (scripts/bench)
LOT = 1000  # images in the fully connected layers together: the weights are read once for all of them
BLOCK = (
    2**22
)  # bytes of the widest values of fully connected layers computed together, where that is more images

Numbers = slice | torch.Tensor  # which images, of all: a stretch, or their numbers (k,)
Part = tuple[Numbers, torch.Tensor]  # some images, and their values at one place (k, ...)
Visit = Callable[[int, Numbers, torch.Tensor], None]  # is told a place, images, and their values there


def flow(
    layers: Layers, parts: Iterable[Part], start: int, stop: int | None = None, visit: Visit | None = None
) -> Iterator[Part]:
    """Run layers over parts, in order.

    Args:
        layers: Of the network.
        parts: Some images and their values at place `start`.
        start: The first place.
        stop: Where to stop; at the logits for None.
        visit: Is told what comes out of every layer.

    Yields:
        Images and their values at `stop`; parts of images may have been put together.
    """
    stop = len(layers.modules) if stop is None else stop
    if not layers.all_known:
        for numbers, values in parts:
            yield numbers, _through(layers, range(start, stop), numbers, values.contiguous(), visit)
        return
    middle = min(max(start, layers.head), stop)
    if start < middle:
        first = range(start, middle)
        parts = ((numbers, _through(layers, first, numbers, values, visit)) for numbers, values in parts)
        if middle >= layers.head:
            parts = _together(parts)
    for numbers, values in parts:
        yield numbers, _through(layers, range(middle, stop), numbers, values, visit)


def _through(
    layers: Layers, places: range, numbers: Numbers, values: torch.Tensor, visit: Visit | None
) -> torch.Tensor:
    if visit is None and layers.all_known:
        return _unseen(_swapped([layers.modules[place] for place in places]), values)
    for place in places:
        module = layers.modules[place]
        linear = isinstance(module, nn.Linear) and layers.all_known
        values = _linear(module, values) if linear else layers.run(place, values)
        if visit:
            visit(place + 1, numbers, values)
    return values


def _unseen(modules: Sequence[nn.Module], values: torch.Tensor) -> torch.Tensor:
    """Run known layers one after the other; nobody sees what lies between them."""
    own = False  # whether the values were made here, and may be written over
    for module in modules:
        if isinstance(module, nn.ReLU) and own:
            values.relu_()
            continue
        values = _linear(module, values) if isinstance(module, nn.Linear) else module(values)
        own |= not isinstance(
            module, nn.Flatten | nn.Dropout | nn.Identity
        )  # those give a view, or what they got
    return values


def _swapped(modules: list[nn.Module]) -> list[nn.Module]:
    """Return layers with each maximum over pixels before the ReLU in front of it: the same values come out."""
    modules = [*modules]
    for at in range(len(modules) - 1):
        if isinstance(modules[at], nn.ReLU) and isinstance(modules[at + 1], nn.MaxPool2d):
            modules[at : at + 2] = modules[at + 1], modules[at]
    return modules


def _linear(module: nn.Module, values: torch.Tensor) -> torch.Tensor:
    """Run a fully connected layer; what comes out lies unit by unit, whatever the order so far."""
    assert isinstance(module, nn.Linear)
    product = module.weight @ values.t()
    return (product if module.bias is None else product.add_(module.bias[:, None])).t()


def _together(parts: Iterable[Part]) -> Iterator[Part]:
    """Put parts together until they are a lot."""
    waiting: list[Part] = []
    for part in parts:
        waiting.append(part)
        if sum(len(values) for _, values in waiting) >= LOT:
            yield _joined(waiting)
            waiting = []
    if waiting:
        yield _joined(waiting)


def _joined(parts: list[Part]) -> Part:
    if len(parts) == 1:
        return parts[0]
    values = torch.cat([values for _, values in parts])
    return joined([numbers for numbers, _ in parts], values.device), values


def joined(numbers: Sequence[Numbers], device: torch.device) -> Numbers:
    """Return several lots of images as one: a stretch where stretches follow each other."""
    end, follow = None, True
    for each in numbers:
        follow = follow and isinstance(each, slice) and end in (None, each.start)
        end = each.stop if isinstance(each, slice) else None
    first = numbers[0]
    if follow and isinstance(first, slice):
        return slice(first.start, end)
    return torch.cat([listed(each, device) for each in numbers])


def listed(numbers: Numbers, device: torch.device) -> torch.Tensor:
    """Return the numbers of images one by one (k,)."""
    return (
        numbers
        if isinstance(numbers, torch.Tensor)
        else torch.arange(numbers.start, numbers.stop, device=device)
    )


def put(target: torch.Tensor, numbers: Numbers, values: torch.Tensor) -> None:
    """Write the values of some images (k, ...) over those kept of all (N, ...)."""
    if isinstance(numbers, slice):
        target[numbers] = values
    elif target.dim() == 2:
        target.t().index_copy_(1, numbers, values.t())
    else:
        target.permute(0, 2, 3, 1).index_copy_(0, numbers, values.permute(0, 2, 3, 1).contiguous())
