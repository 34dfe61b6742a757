"""Dense changes that are few outer products: gradient steps on one sample.

The gradient of one sample's loss by the weights of a fully connected layer is an outer product, that of its
pre-activations' gradient and its inputs; s steps, with momentum or without, change the weights by a matrix of rank s
at the most, but for the rounding of each weight.
"""

from dataclasses import dataclass

import torch

RANK = 16  # the largest that is looked for
LEAST = 2**16  # weights in a change from which on looking costs less than what it saves
ROUNDINGS = 2.0  # of the layer's largest weight by which an entry may be off: as much as the change itself is
OWN = 64.0  # roundings in float64 of the change's largest entry that the arithmetic here may add


@dataclass(frozen=True)
class Factors:
    """A matrix (u, j) as `left` (u, r) times `right` (r, j)."""

    left: torch.Tensor
    right: torch.Tensor

    def __matmul__(self, values: torch.Tensor) -> torch.Tensor:
        """Return the matrix times values (j, n): (u, n)."""
        return self.left @ (self.right @ values)


def factors_of(change: torch.Tensor, largest: float) -> Factors | None:
    """Return a change (u, j) as factors; None where it is small, or of a higher rank.

    Args:
        change: New minus old weights.
        largest: The layer's largest weight, without its sign: what an entry of the change is rounded by.
    """
    rank = min(RANK, min(change.shape) // 4)
    if change.numel() < LEAST or not rank:
        return None
    exact = change.double()
    probes = exact[exact.square().sum(1).topk(rank).indices]  # rows of the change itself: nothing is drawn
    left = torch.linalg.qr(exact @ probes.t()).Q
    right = left.t() @ exact
    off = torch.addmm(exact, left, right, alpha=-1).abs().max()
    own = OWN * torch.finfo(torch.float64).eps * exact.abs().max()
    if not off <= ROUNDINGS * torch.finfo(change.dtype).eps * largest + own:  # NaN is not
        return None
    return Factors(left.to(change.dtype), right.to(change.dtype))
