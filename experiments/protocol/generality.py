"""Whether a correction holds for what is like the sample: the sample moved, turned and with noise.

Work on model editing asks for generality (Yao et al., EMNLP 2023, "generalization") beside the success on the sample
itself and the locality that `experiments.protocol.bystanders` counts.
"""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F

from bgd import rng
from bgd.flat import FlatNetwork
from bgd.methods.base import Sample
from bgd.patch import Patch
from experiments.records.schema import Generality

SHIFTS = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right)  # pixels
ANGLES = (-10.0, -5.0, 5.0, 10.0)  # degrees, anticlockwise
DRAWS = 8  # of noise
NOISE = 0.3  # standard deviation in normalised pixels: 0.09 of the way from black to white on MNIST

# How many images of each kind, in the order of `variants`.
KINDS = {"shifts": len(SHIFTS), "rotations": len(ANGLES), "noise": DRAWS}


def variants(sample: Sample) -> torch.Tensor:
    """Return the sample's variants (20, C, H, W): 8 shifts, 4 rotations, 8 draws of noise.

    What comes in at the edges is background: the image's least value. They are made on the CPU, and their noise is of
    a stream of the sample's index alone: every method, seed and device meets the same images.
    """
    image = sample.image.detach().cpu()
    framed = _framed(image)
    made = [*(_window(framed, *by) for by in SHIFTS), *(rotated(image, angle) for angle in ANGLES)]
    noise = rng.stream(0, "generality", sample.index).normal(0.0, NOISE, (DRAWS, *image.shape[1:]))
    noisy = image + torch.from_numpy(noise).to(image.dtype)
    return torch.cat([*made, noisy]).to(sample.image.device)


def shifted(image: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """Return an image (1, C, H, W) moved by at most a pixel each way, background coming in."""
    return _window(_framed(image), down, right)


def _framed(image: torch.Tensor) -> torch.Tensor:
    """Return an image (1, C, H, W) with a pixel of background on each side."""
    return F.pad(image, (1, 1, 1, 1), value=float(image.min()))


def _window(framed: torch.Tensor, down: int, right: int) -> torch.Tensor:
    height, width = framed.shape[2] - 2, framed.shape[3] - 2
    return framed[:, :, 1 - down : 1 - down + height, 1 - right : 1 - right + width]


def rotated(image: torch.Tensor, degrees: float) -> torch.Tensor:
    """Return an image (1, C, H, W) turned anticlockwise about its middle: bilinear, background coming in."""
    background = image.min()
    grid = _grid(image.shape[2], image.shape[3], image.dtype, degrees)
    inside = F.grid_sample(image - background, grid, "bilinear", "zeros", align_corners=False)
    return inside + background


@lru_cache
def _grid(height: int, width: int, dtype: torch.dtype, degrees: float) -> torch.Tensor:
    """Return the place that each pixel of a turned image shows (1, H, W, 2), as `grid_sample` takes it."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    # From a place to the one that it shows, in units of half a width and half a height.
    turn = [[cosine, -sine * height / width, 0.0], [sine * width / height, cosine, 0.0]]
    return F.affine_grid(torch.tensor([turn], dtype=dtype), [1, 1, height, width], align_corners=False)


class Variations:
    """Measures corrections of samples of one N0; what N0 says of a sample's variants is asked once."""

    def __init__(self) -> None:
        self._before: dict[int, list[int]] = {}

    def measure(
        self, network: FlatNetwork, sample: Sample, patch: Patch, same_confusion: list[int]
    ) -> Generality:
        """Return the generality of a correction.

        Args:
            network: N0; it is as before at the end.
            sample: The sample.
            patch: Corrects it.
            same_confusion: What goes into the record, from `experiments.protocol.bystanders`.
        """
        images = variants(sample)
        if sample.index not in self._before:
            self._before[sample.index] = _right(network, images, sample)
        with network.patched(patch):
            after = _right(network, images, sample)
        counts = zip(KINDS.values(), self._before[sample.index], after, strict=True)
        shifts, rotations, noise = map(list, counts)
        return Generality(shifts, rotations, noise, same_confusion)


@torch.no_grad()
def _right(network: FlatNetwork, images: torch.Tensor, sample: Sample) -> list[int]:
    """Return how many variants of each kind a network gets right, with finite logits."""
    logits = network.module(images)
    right = (logits.argmax(1) == sample.label) & torch.isfinite(logits).all(1)
    return [int(part.sum()) for part in right.split(list(KINDS.values()))]
