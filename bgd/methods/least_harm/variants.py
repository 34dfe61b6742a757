"""Copies of images, moved, turned and scaled a little: more of a keep-set than there is."""

import math

import numpy as np
import torch
import torch.nn.functional as F

# Degrees, scale, and columns and rows to move by, in pixels: small enough for a digit to stay what it is.
MOVES = (
    (0.0, 1.0, 1.0, 0.0),
    (0.0, 1.0, -1.0, 0.0),
    (0.0, 1.0, 0.0, 1.0),
    (0.0, 1.0, 0.0, -1.0),
    (8.0, 1.0, 0.0, 0.0),
    (-8.0, 1.0, 0.0, 0.0),
    (0.0, 1.08, 0.0, 0.0),
    (0.0, 0.93, 0.0, 0.0),
)


def variants(images: torch.Tensor) -> torch.Tensor:
    """Return images (N, c, h, w) and their copies (9 N, c, h, w): all images first, then all copies of one kind.

    What comes in from outside has the image's smallest value.
    """
    return torch.cat([images, *(_moved(images, *move) for move in MOVES)])


def likenesses(
    image: torch.Tensor, count: int, degrees: float, noise: float, stream: np.random.Generator
) -> torch.Tensor:
    """Draw images like one image (1, c, h, w): turned and noisy ones in turn (count, c, h, w).

    Args:
        image: The image.
        count: How many.
        degrees: The most that one is turned by, either way.
        noise: Standard deviation of what is added to each value.
        stream: Random numbers.
    """
    made = []
    for place in range(count):
        if place % 2:
            drawn = torch.from_numpy(stream.normal(0.0, noise, image.shape)).to(image)
            made.append(image + drawn)
        else:
            made.append(_moved(image, float(stream.uniform(-degrees, degrees)), 1.0, 0.0, 0.0))
    return torch.cat(made) if made else image[:0]


def _moved(images: torch.Tensor, degrees: float, scale: float, right: float, down: float) -> torch.Tensor:
    count, _, height, width = images.shape
    cos, sin = math.cos(math.radians(degrees)) / scale, math.sin(math.radians(degrees)) / scale
    matrix = torch.tensor(
        [[cos, -sin, -2 * right / width], [sin, cos, -2 * down / height]],
        dtype=images.dtype,
        device=images.device,
    )
    grid = F.affine_grid(matrix.expand(count, 2, 3), list(images.shape), align_corners=False)
    ground = images.amin((1, 2, 3), keepdim=True)
    return F.grid_sample(images - ground, grid, align_corners=False) + ground
