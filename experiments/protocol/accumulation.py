"""How far corrections in a row lead a network away from N0, and how many of them last."""

from collections.abc import Sequence

import torch

from bgd.flat import FlatNetwork
from bgd.methods.base import Sample
from bgd.patch import Patch
from experiments.records.schema import Accumulated, finite

PART = 1 << 18  # parameters that are compared together: what is made of them stays in the cache


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
        drift = _distance(self._network.flat, self._origin)
        right = int(right_of(self._network, earlier).sum())
        return Accumulated(len(earlier), right, self._union, finite(drift))


def _distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the L2 norm of the difference of two vectors, in float64; no difference of all of them is made."""
    pairs = zip(torch.split(one, PART), torch.split(other, PART), strict=True)
    norms = [torch.linalg.vector_norm(x - y, dtype=torch.float64) for x, y in pairs]
    return float(torch.linalg.vector_norm(torch.stack(norms)))


@torch.no_grad()
def right_of(network: FlatNetwork, samples: Sequence[Sample]) -> torch.Tensor:
    """Return whether a network gets each of the samples (N,) right, with finite logits."""
    if not samples:
        return torch.zeros(0, dtype=torch.bool)
    logits = network.module(torch.cat([sample.image for sample in samples]))
    labels = torch.cat([sample.label for sample in samples])
    right: torch.Tensor = (logits.argmax(1) == labels) & torch.isfinite(logits).all(1)
    return right
