"""Noise in training: on inputs, hidden vectors and weights; augmentation of images."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torchvision.transforms import v2

from bgd import rng

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
Transform = Literal["shift", "rotate", "crop", "erase"]


@dataclass(frozen=True)
class Noise:
    """Normal noise, drawn anew in each step.

    Of small deviation s on the weights it adds s^2 E|d y / d W|^2 to a squared error (Bishop 1995).

    Attributes:
        inputs, hidden, weights: Deviations.
        augment: What happens to each image.
    """

    inputs: float = 0.0
    hidden: float = 0.0
    weights: float = 0.0
    augment: tuple[Transform, ...] = ()

    def augmented(self, x: torch.Tensor, stream: np.random.Generator) -> torch.Tensor:
        """Change each image (B, C, H, W), as drawn."""
        if not self.augment:
            return x
        changes = v2.Compose([_transform(name, x.shape[-1]) for name in self.augment])
        with rng.torch_seeded(stream):
            return torch.stack([changes(image) for image in x])


def _transform(name: str, side: int) -> v2.Transform:
    if name == "shift":
        return v2.RandomAffine(0, translate=(2 / side, 2 / side))
    if name == "rotate":
        return v2.RandomAffine(15)
    return v2.RandomCrop(side, padding=2) if name == "crop" else v2.RandomErasing(p=0.5)


def normal(stream: np.random.Generator, shape: tuple[int, ...], std: float) -> Floats:
    """Draw normal numbers of a deviation."""
    return np.float32(std) * stream.standard_normal(shape, dtype=np.float32)


def kept(stream: np.random.Generator, shape: tuple[int, ...], dropped: float) -> Floats:
    """Draw the factors of dropout: 0 with probability `dropped`, else 1 / (1 - dropped)."""
    mask = stream.random(shape, dtype=np.float32) >= dropped
    return mask.astype(np.float32) / np.float32(1 - dropped)
