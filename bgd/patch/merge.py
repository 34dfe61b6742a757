"""Several patches as one: their changes side by side, sorted by the parameter."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from bgd.parameters import ParameterSpace
from bgd.patch.parts import PatchError, bits, kind

if TYPE_CHECKING:
    from bgd.patch.change import Patch


@dataclass(frozen=True)
class Conflict:
    """Two patches of one base that give a parameter different values.

    Attributes:
        parameter: The tensor.
        index: Where in it, one number a dimension.
        patches: Numbers of the earlier and the later patch, in the order given.
        values: The value of each. The later one's stands.
    """

    parameter: str
    index: tuple[int, ...]
    patches: tuple[int, int]
    values: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Changes:
    """The changes of several patches, sorted by parameter; at one parameter in the order of the patches.

    Attributes:
        space: The parameters that `indices` point into: those of every patch.
        indices: Flat positions, ascending, some more than once (n,).
        old: Values before, as each patch has them (n,).
        new: Values after (n,).
        patch: Number of the patch that each is of (n,).
    """

    space: ParameterSpace
    indices: torch.Tensor
    old: torch.Tensor
    new: torch.Tensor
    patch: torch.Tensor

    @classmethod
    def of(cls, patches: Sequence["Patch"]) -> "Changes":
        """Return the changes of some patches, on the first one's device.

        Raises:
            PatchError: A tensor has several shapes or types among them.
        """
        space, device = joint([patch.space for patch in patches]), patches[0].indices.device
        types = [kind(patch.new.dtype) for patch in patches]
        if len(set(types)) > 1:
            raise PatchError(
                f"the patches are of networks in {' and '.join(dict.fromkeys(types))}: one type is needed"
            )
        over = [patch.over(space) for patch in patches]
        indices = torch.cat([patch.indices.to(device) for patch in over])
        number = [torch.full_like(patch.indices, at, device=device) for at, patch in enumerate(over)]
        order = indices.argsort(stable=True)
        return cls(
            space,
            indices[order],
            torch.cat([patch.old.to(device) for patch in over])[order],
            torch.cat([patch.new.to(device) for patch in over])[order],
            torch.cat(number)[order],
        )

    def again(self) -> torch.Tensor:
        """Entries whose parameter the entry before them changes too (m,)."""
        return (self.indices[1:] == self.indices[:-1]).nonzero().flatten() + 1

    def merged(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return indices, the first value before and the last one after, of each parameter that changes at all."""
        first, last = (
            torch.ones_like(self.indices, dtype=torch.bool),
            torch.ones_like(self.indices, dtype=torch.bool),
        )
        first[self.again()], last[self.again() - 1] = False, False
        indices, old, new = self.indices[first], self.old[first], self.new[last]
        kept = bits(old) != bits(new)
        return indices[kept], old[kept], new[kept]

    def check_turn(self) -> None:
        """Refuse a patch that does not start from the values that the one before it leads to.

        Raises:
            PatchError: Names the first such parameter.
        """
        after = self.again()
        wrong = after[bits(self.old[after]) != bits(self.new[after - 1])]
        if len(wrong):
            at = int(wrong[0])
            name, place = self.space.locate(int(self.indices[at]))
            raise PatchError(
                f"{name}: {len(wrong):,} of {len(after):,} values that both patches change differ, the first at "
                f"{place}: one leads to {self.new[at - 1].item()}, the other starts from {self.old[at].item()}"
            )

    def check_base(self) -> None:
        """Refuse patches that do not start from the same values.

        Raises:
            PatchError: Names the first parameter that two of them start from differently.
        """
        after = self.again()
        wrong = after[bits(self.old[after]) != bits(self.old[after - 1])].tolist()
        if wrong:
            at = wrong[0]
            name, place = self.space.locate(int(self.indices[at]))
            raise PatchError(
                f"{name} at {place}: patch {int(self.patch[at - 1])} starts from {self.old[at - 1].item()}, "
                f"patch {int(self.patch[at])} from {self.old[at].item()}: they are of different networks"
            )

    def conflicts(self) -> list[Conflict]:
        """Return each change that overwrites the different one of an earlier patch."""
        after = self.again()
        return [
            Conflict(
                *self.space.locate(int(self.indices[at])),
                patches=(int(self.patch[at - 1]), int(self.patch[at])),
                values=(self.new[at - 1].item(), self.new[at].item()),
            )
            for at in after[bits(self.new[after]) != bits(self.new[after - 1])].tolist()
        ]


def joint(spaces: Sequence[ParameterSpace]) -> ParameterSpace:
    """Return the space with the tensors of all, in the order of their first appearance.

    Raises:
        PatchError: A tensor has several shapes.
    """
    if all(space == spaces[0] for space in spaces):
        return spaces[0]
    shapes: dict[str, tuple[int, ...]] = {}
    for space in spaces:
        for name, shape in zip(space.names, space.shapes, strict=True):
            if shapes.setdefault(name, shape) != shape:
                raise PatchError(f"{name} has the shape {shapes[name]} in one patch, {shape} in another")
    return ParameterSpace(tuple(shapes), tuple(shapes.values()))


def joint_hashes(patches: Sequence["Patch"]) -> dict[str, str]:
    """Return the SHA-256 of the tensors of patches of one base.

    Raises:
        PatchError: Two of them have different ones of a tensor.
    """
    hashes: dict[str, str] = {}
    for patch in patches:
        for name, digest in patch.hashes.items():
            if hashes.setdefault(name, digest) != digest:
                raise PatchError(f"{name}: the patches are of different networks, by its SHA-256")
    return hashes
