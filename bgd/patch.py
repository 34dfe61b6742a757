"""A patch: an immutable change of some parameters, with the old and the new values.

Applying writes the new values and reverting writes the old ones: no arithmetic, so a revert is bit for bit.
"""

from dataclasses import dataclass

import torch

from bgd.parameters import ParameterSpace


class PatchError(ValueError):
    """The network is not the one that the patch was made for."""


@dataclass(frozen=True, eq=False)
class Patch:
    """A change of the parameters at some flat indices.

    Attributes:
        space: The parameters that `indices` point into.
        indices: Flat positions, ascending, int64 (k,).
        old: Values before, in the network's type (k,).
        new: Values after (k,).
    """

    space: ParameterSpace
    indices: torch.Tensor
    old: torch.Tensor
    new: torch.Tensor

    @classmethod
    def between(cls, space: ParameterSpace, before: torch.Tensor, after: torch.Tensor) -> "Patch":
        """Return the patch that leads from one flat parameter vector (|W|,) to another."""
        indices = (before != after).nonzero().flatten()
        return cls(space, indices, before[indices].clone(), after[indices].clone())

    @classmethod
    def sparse(
        cls, space: ParameterSpace, indices: torch.Tensor, old: torch.Tensor, new: torch.Tensor
    ) -> "Patch":
        """Return the patch for values at `indices` in any order; positions that keep their value are left out."""
        kept = (old != new).nonzero().flatten()
        kept = kept[indices[kept].argsort()]
        return cls(space, indices[kept], old[kept].clone(), new[kept].clone())

    def __len__(self) -> int:
        """Number of parameters whose value differs: L0 of the change."""
        return len(self.indices)

    @property
    def tensors(self) -> list[str]:
        """Names of the tensors with a changed value."""
        return list(self._spans())

    def layers(self) -> dict[str, list[float]]:
        """Return, for each tensor with a changed value, how many differ and L2 and Linf of the change, in float64."""
        change = self.new.double() - self.old.double()
        parts = {name: change[span] for name, span in self._spans().items()}
        return {
            name: [len(part), float(part.norm()), float(part.abs().max())] for name, part in parts.items()
        }

    def _spans(self) -> dict[str, slice]:
        """Return the places of `indices` that lie in each tensor that has any."""
        bounds = torch.tensor(self.space.bounds, device=self.indices.device)
        edges = torch.searchsorted(self.indices, bounds).tolist()
        spans = map(slice, edges, edges[1:])
        return {
            name: span for name, span in zip(self.space.names, spans, strict=True) if span.start < span.stop
        }

    def norms(self) -> tuple[float, float, float]:
        """Return L1, L2 and Linf of the change, in float64."""
        change = self.new.double() - self.old.double()
        if not len(change):
            return 0.0, 0.0, 0.0
        return float(change.abs().sum()), float(change.norm()), float(change.abs().max())

    def apply(self, flat: torch.Tensor) -> None:
        """Write the new values into a flat parameter vector (|W|,).

        Raises:
            PatchError: The values there are not the old ones, or the vector has another size. Nothing is written.
        """
        self._write(flat, self.old, self.new)

    def revert(self, flat: torch.Tensor) -> None:
        """Write the old values back.

        Raises:
            PatchError: The values there are not the new ones. Nothing is written.
        """
        self._write(flat, self.new, self.old)

    def _write(self, flat: torch.Tensor, expected: torch.Tensor, values: torch.Tensor) -> None:
        if flat.shape != (self.space.size,):
            raise PatchError(f"patch is for {self.space.size:,} parameters, the network has {flat.numel():,}")
        indices, expected = self.indices.to(flat.device), expected.to(flat.device)
        different = bits(flat[indices]) != bits(expected)
        if different.any():
            wrong = int(different.sum())
            raise PatchError(
                f"{wrong:,} of {len(self):,} parameters do not hold the values the patch starts from"
            )
        flat[indices] = values.to(flat.device)


def bits(values: torch.Tensor) -> torch.Tensor:
    """Return values (k,) as whole numbers of the same bits: NaN equals itself there, and -0 is not 0."""
    return values.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[values.element_size()])
