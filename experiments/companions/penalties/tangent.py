"""Tangent prop (Simard et al. 1992): outputs should not change along directions that keep the class."""

from dataclasses import dataclass

import torch
from torch.func import jvp

from experiments.companions.penalties.base import Penalty, View


@dataclass(frozen=True)
class Tangent(Penalty):
    """(1/B) sum_i sum_v |d g(x_i) v|^2 over tangents v of images (B, C, H, W): translations by a pixel, down and right.

    Tangents are central differences, with what leaves the image coming back at the other side.
    """

    def value(self, view: View) -> torch.Tensor:
        """See `Penalty.value`."""
        changes = [jvp(view.logits, (view.x,), (along,))[1] for along in tangents(view.x)]
        return torch.stack([change.square().sum(1).mean() for change in changes]).sum()


def tangents(images: torch.Tensor) -> list[torch.Tensor]:
    """Give the change of images (..., H, W) by a translation of one pixel along each axis."""
    return [(images.roll(1, axis) - images.roll(-1, axis)) / 2 for axis in (-2, -1)]
