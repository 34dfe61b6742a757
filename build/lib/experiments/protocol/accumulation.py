"""How far corrections in a row lead a network away from N0, and how many of them last."""

from collections.abc import Sequence

import torch

from bgd.flat import FlatNetwork
from bgd.methods.base import Sample
from bgd.patch import Patch
from experiments.records.schema import Accumulated, finite


class Accumulation:
    """The corrections so far of a network that keeps them.

    Args:
        network: As N0 is; it is looked at, never changed.
    """

    def __init__(self, network: FlatNetwork) -> None:
        self._network = network
        self._origin = network.flat.clone()
        self._changed = torch.zeros_like(self._origin, dtype=torch.bool)
        self._union = 0
        self._corrected: list[Sample] = []

    def add(self, sample: Sample, patch: Patch) -> None:
        """Take note of a correction that the network has had."""
        self._changed[patch.indices] = True
        self._union = int(self._changed.sum())
        self._corrected.append(sample)

    @property
    def changed(self) -> torch.Tensor:
        """Mask (|W|,) of the parameters that any correction so far has changed."""
        return self._changed

    def restore(self, corrected: Sequence[Sample], changed: torch.Tensor) -> None:
        """Take note of corrections that the network has had, of which only the sum is known."""
        self._corrected = list(corrected)
        self._changed = changed.to(self._origin.device)
        self._union = int(self._changed.sum())

    def state(self, sample: Sample) -> Accumulated:
        """Return how far the network is from N0 after the turn of `sample`, which is not among the earlier ones."""
        earlier = [other for other in self._corrected if other.index != sample.index]
        drift = torch.linalg.vector_norm(self._network.flat - self._origin, dtype=torch.float64)
        right = int(right_of(self._network, earlier).sum())
        return Accumulated(len(earlier), right, self._union, finite(float(drift)))


@torch.no_grad()
def right_of(network: FlatNetwork, samples: Sequence[Sample]) -> torch.Tensor:
    """Return whether a network gets each of the samples (N,) right, with finite logits."""
    if not samples:
        return torch.zeros(0, dtype=torch.bool)
    logits = network.module(torch.cat([sample.image for sample in samples]))
    labels = torch.cat([sample.label for sample in samples])
    right: torch.Tensor = (logits.argmax(1) == labels) & torch.isfinite(logits).all(1)
    return right
