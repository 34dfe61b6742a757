"""The samples of a run: test images that N0 gets wrong, in a fixed order."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from bgd import rng
from bgd.errors import ConfigError
from bgd.methods.base import Sample
from experiments.mnist.sources import MEAN, STD


@dataclass(frozen=True)
class Digit(Sample):
    """A normalised test image (1, 1, 28, 28); `index` is into the test set.

    Attributes:
        mean, std: What its pixels in [0, 1] were normalised with.
    """

    mean: float = MEAN
    std: float = STD


def samples_of(
    images: torch.Tensor,
    labels: torch.Tensor,
    indices: Sequence[int],
    count: int | None = None,
    order: int = 0,
    mean: float = MEAN,
    std: float = STD,
) -> list[Digit]:
    """Return `count` samples from test images and labels.

    Args:
        images: Test images (N, 1, 28, 28).
        labels: Their labels (N,).
        indices: Which of them N0 gets wrong.
        count: The first so many, in their order; all for None.
        order: 0 for the order of `indices`, as the thesis has it; any other number for a permutation of its own.
        mean: Of the pixels in [0, 1] that the images were normalised with.
        std: The same, the deviation.
    """
    chosen = ordered(indices, count, order)
    return [
        Digit(index, images[index : index + 1], labels[index : index + 1], mean=mean, std=std)
        for index in chosen
    ]


def ordered(indices: Sequence[int], count: int | None = None, order: int = 0) -> list[int]:
    """Return the first `count` indices, all for None, in the order that `samples_of` describes.

    Raises:
        ConfigError: There are fewer: a run would claim a number of samples that it does not have.
    """
    if count is not None and count > len(indices):
        raise ConfigError(
            f"scale.samples={count}: N0 gets {len(indices)} test images wrong; choose at most as many, or null for all"
        )
    chosen = indices if order == 0 else rng.stream(order, "order").permutation(indices).tolist()
    return list(chosen[:count])
