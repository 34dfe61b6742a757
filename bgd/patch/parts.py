"""The change of one tensor: what a patch consists of wherever there is no flat vector, in a model and in a file."""

import hashlib
import sys
from dataclasses import dataclass

import torch

LONG = 1 << 17  # numbers; fewer are compared in a millisecond


class PatchError(ValueError):
    """A patch does not fit the network or the patch that it meets, or its file is not as it was written."""


@dataclass(frozen=True, eq=False)
class Part:
    """The change of one tensor.

    Attributes:
        name: The tensor's name in the network.
        shape: Its shape.
        indices: Positions in the flattened tensor, row by row, ascending, int64 (k,).
        old: Values before, in the tensor's type (k,).
        new: Values after (k,).
        sha256: SHA-256 of the whole tensor before the change, see `sha256`; empty where nobody took it.
    """

    name: str
    shape: tuple[int, ...]
    indices: torch.Tensor
    old: torch.Tensor
    new: torch.Tensor
    sha256: str = ""

    def place(self, at: int) -> tuple[int, ...]:
        """Index, one number a dimension, of the `at`-th changed value."""
        return tuple(int(index) for index in unravelled(self.indices[at], self.shape)) if self.shape else ()

    def changes_as(self, other: "Part") -> bool:
        """Whether two parts make the same change, bit for bit, of whatever tensors."""
        return (
            torch.equal(self.indices, other.indices)
            and torch.equal(bits(self.old), bits(other.old))
            and torch.equal(bits(self.new), bits(other.new))
        )


def bits(values: torch.Tensor) -> torch.Tensor:
    """Return values (k,) as whole numbers of the same bits: NaN equals itself there, and -0 is not 0."""
    return values.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[values.element_size()])


def differing(before: torch.Tensor, after: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return where two vectors (n,) differ, ascending, int64 (k,), and the values before and after there (k,).

    NaN that stays the same NaN does not differ, nor does 0 from -0.
    """
    if before.device.type == "cpu" and before.element_size() >= 4 and len(before) >= LONG:
        from bgd.patch import compiled  # numba takes a third of a second to import

        found = compiled.differing(before.numpy(), after.numpy())
        indices, old, new = map(torch.from_numpy, found)
        return indices, old, new
    indices = (before != after).nonzero().flatten()
    old, new = before[indices], after[indices]
    kept = bits(old) != bits(new)
    return indices[kept], old[kept], new[kept]


def unravelled(indices: torch.Tensor, shape: tuple[int, ...]) -> tuple[torch.Tensor, ...]:
    """Return flat positions as one index a dimension; a number without dimensions counts as a row of one."""
    places = []
    for size in reversed(shape or (1,)):  # torch.unravel_index takes half a second to load what it needs
        places.append(indices % size)
        indices = indices // size
    return tuple(reversed(places))


def sha256(tensor: torch.Tensor) -> str:
    """Return the SHA-256, in 64 hexadecimal digits, of a tensor's bytes: row by row, little-endian."""
    values = bits(tensor.detach().cpu().contiguous().view(-1)).numpy()
    return hashlib.sha256((values if sys.byteorder == "little" else values.byteswap()).data).hexdigest()


def kind(dtype: torch.dtype) -> str:
    """Name of a type, as in float32."""
    return str(dtype).removeprefix("torch.")
