"""Data drawn from formulas: the dissertation's Synthetic, and two Gaussians in the plane."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from bgd.rng import stream
from experiments.companions.data.pool import Part, Pool, Split


@dataclass(frozen=True)
class Synthetic:
    """y = a sin(x W) + a x B + noise, centred on its mean over all samples; the same for every seed.

    x is uniform on (0, `reach`), W and B on (0, `slope`): the values of the dissertation's code.

    Attributes:
        samples, inputs: Their numbers.
        train: Samples that are trained on; the rest is tested on.
        amplitude, reach, slope, noise: a, b, c and the deviation of the noise.
        drawn: Seed of the data.
    """

    samples: int = 2000
    inputs: int = 256
    train: int = 1600
    amplitude: float = 1.0
    reach: float = 2.0
    slope: float = 1.0
    noise: float = 1.0
    drawn: int = 0

    def pool(self, root: Path) -> Pool:
        """See `Task.pool`."""
        draws = stream(self.drawn, "companions", "synthetic")
        x = draws.uniform(0, self.reach, (self.samples, self.inputs))
        inner, linear = (draws.uniform(0, self.slope, (self.inputs, 1)) for _ in range(2))
        y = self.amplitude * (np.sin(x @ inner) + x @ linear)
        y += draws.normal(0, self.noise, y.shape)
        return Pool(torch.from_numpy(x).float(), torch.from_numpy(y - y.mean()).float())

    def split(self, pool: Pool, seed: int) -> Split:
        """See `Task.split`."""
        rows = torch.arange(self.samples)
        return Split(Part(rows[: self.train]), Part(rows[self.train :]))


@dataclass(frozen=True)
class Gaussians:
    """Two normal clouds in the plane, at (-1, -1) and (1, 1) times `apart`: the lecture's homework.

    Attributes:
        samples: Of both together, of each part.
        apart: Distance of a centre from the origin, along each axis.
        std: Deviation along each axis.
        targets: Signs (N, 1), or classes 0 and 1 (N,).
    """

    samples: int = 200
    apart: float = 1.0
    std: float = 1.0
    targets: Literal["signs", "classes"] = "signs"

    def pool(self, root: Path) -> Pool:
        """See `Task.pool`."""
        draws = stream(0, "companions", "gaussians")
        signs = np.where(np.arange(2 * self.samples) % 2 == 0, -1.0, 1.0)
        x = self.apart * signs[:, None] + self.std * draws.normal(size=(2 * self.samples, 2))
        told = torch.from_numpy(signs).float()
        return Pool(
            torch.from_numpy(x).float(), (told > 0).long() if self.targets == "classes" else told[:, None]
        )

    def split(self, pool: Pool, seed: int) -> Split:
        """See `Task.split`."""
        rows = torch.arange(2 * self.samples)
        return Split(Part(rows[: self.samples]), Part(rows[self.samples :]))
