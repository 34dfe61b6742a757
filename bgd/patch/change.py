"""The change itself: some parameters with their old and their new values.

Applying writes the new values and reverting writes the old ones: no arithmetic, so a revert is bit for bit. Values are
compared by their bits: NaN equals itself, and -0 is not 0.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import TYPE_CHECKING

import torch
from torch import nn

from bgd.parameters import ParameterSpace
from bgd.patch import file, model as models
from bgd.patch.merge import Changes, Conflict, joint_hashes
from bgd.patch.model import Verdict
from bgd.patch.parts import Part, PatchError, bits, differing, sha256
from bgd.patch.table import table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Patch:
    """A change of the parameters of a network.

    A trailing underscore marks what changes a model in place, as in torch. `apply` and `revert` do the same to a flat
    vector: searches and evaluators edit networks through one, see `bgd.flat.FlatNetwork`.

    Attributes:
        space: The parameters that `indices` point into: the network's, or the changed tensors alone where the patch
            comes from a file.
        indices: Flat positions, ascending, int64 (k,).
        old: Values before, in the network's type (k,).
        new: Values after (k,).
        metadata: What the maker wants to say of it, in words: method, options, seed. `dataclasses.replace` sets it.
        hashes: SHA-256 of changed tensors as a whole before the change, by name; `hashed` takes them. They tell apart
            networks that agree at `indices` and nowhere else. A correction leaves them out: that of 38 million
            parameters takes a tenth of a second, as long as some corrections.
    """

    space: ParameterSpace
    indices: torch.Tensor
    old: torch.Tensor
    new: torch.Tensor
    metadata: Mapping[str, str] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def between(cls, space: ParameterSpace, before: torch.Tensor, after: torch.Tensor) -> "Patch":
        """Return the patch that leads from one flat parameter vector (|W|,) to another."""
        return cls(space, *differing(before, after))

    @classmethod
    def sparse(
        cls, space: ParameterSpace, indices: torch.Tensor, old: torch.Tensor, new: torch.Tensor
    ) -> "Patch":
        """Return the patch for values at `indices` in any order; positions that keep their value are left out."""
        kept = (old != new).nonzero().flatten()
        kept = kept[indices[kept].argsort()]
        return cls(space, indices[kept], old[kept].clone(), new[kept].clone())

    @classmethod
    def of_parts(cls, parts: Sequence[Part], metadata: Mapping[str, str]) -> "Patch":
        """Return the patch that changes each tensor as its part says: over these tensors alone."""
        space = ParameterSpace(tuple(part.name for part in parts), tuple(part.shape for part in parts))
        return cls(
            space,
            torch.cat([part.indices + space.span(part.name).start for part in parts]),
            torch.cat([part.old for part in parts]),
            torch.cat([part.new for part in parts]),
            metadata,
            {part.name: part.sha256 for part in parts if part.sha256},
        )

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "Patch":
        """Read a patch from its file. No network is needed: `apply_` compares it with one.

        Raises:
            PatchError: The file is not whole, or no patch. The message says what is wrong.
            OSError: The file cannot be read.
        """
        return cls.of_parts(*file.read(path))

    def save(self, path: str | PathLike[str], base: nn.Module | None = None, overwrite: bool = False) -> None:
        """Write the patch into one safetensors file, whole or not at all: see docs/patch-format.md.

        Args:
            path: Where.
            base: The network that the patch starts from. With it, the file knows the changed tensors as a whole, and
                is refused by a network that differs in them beside the changed places.
            overwrite: Replace a file that is there.

        Raises:
            PatchError: `base` is another network, the patch is empty, or a text of it cannot be written.
            FileExistsError: There is a file, and `overwrite` is False.
        """
        patch = self if base is None else self.hashed(base)
        file.write(path, patch.parts(), patch.metadata, overwrite)

    def __len__(self) -> int:
        """Number of parameters whose value differs: L0 of the change."""
        return len(self.indices)

    def __repr__(self) -> str:
        return f"Patch({len(self):,} parameters of {', '.join(self.tensors) or 'nothing'})"

    @property
    def tensors(self) -> list[str]:
        """Names of the tensors with a changed value."""
        return list(self._spans())

    def parts(self) -> list[Part]:
        """Return the change tensor by tensor.

        Raises:
            PatchError: The indices do not ascend, or are outside the space.
        """
        ends = torch.tensor([-1, self.space.size], device=self.indices.device)
        if not bool((torch.cat([ends[:1], self.indices, ends[1:]]).diff() > 0).all()):
            raise PatchError(
                f"the patch's indices do not ascend from 0 or more to less than {self.space.size:,}"
            )
        return [
            Part(
                name,
                self.space.shapes[self.space.names.index(name)],
                self.indices[span] - self.space.span(name).start,
                self.old[span],
                self.new[span],
                self.hashes.get(name, ""),
            )
            for name, span in self._spans().items()
        ]

    def layers(self) -> dict[str, list[float]]:
        """Return, for each tensor with a changed value, how many differ and L2 and Linf of the change, in float64."""
        found = {}
        for name, span in self._spans().items():
            change = self.new[span].double().sub_(self.old[span])
            found[name] = [len(change), float(change.norm()), float(change.abs_().max())]
        return found

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
        change = self.new.double().sub_(self.old).abs_()
        if not len(change):
            return 0.0, 0.0, 0.0
        return float(change.sum()), float(change.norm()), float(change.max())

    def to_frame(self) -> "pd.DataFrame":
        """Return a row for each changed parameter, as a pandas DataFrame.

        Its columns: `parameter` (the tensor), `index` (where in it, one number a dimension), `flat` (its position in
        the flattened tensor, as in the patch's file), `old`, `new` and `change` (new - old, in float64).

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        return table(self.parts())

    def over(self, space: ParameterSpace) -> "Patch":
        """Return the same patch with indices into other parameters: `ParameterSpace.of(network)` for an evaluator.

        Raises:
            PatchError: A changed tensor is not among them, or has another shape.
        """
        if space == self.space:
            return self
        parts = self.parts()
        names = models.names([part.name for part in parts], space.names)
        for part, name in zip(parts, names, strict=True):
            shape = space.shapes[space.names.index(name)]
            if part.shape != shape:
                raise PatchError(f"{part.name} has the shape {shape} there, {part.shape} in the patch")
        starts = [space.span(name).start for name in names]
        moved = [part.indices + start for part, start in zip(parts, starts, strict=True)]
        indices = torch.cat([self.indices[:0], *moved])
        order = indices.argsort()
        hashes = {name: part.sha256 for name, part in zip(names, parts, strict=True) if part.sha256}
        return replace(
            self,
            space=space,
            indices=indices[order],
            old=self.old[order],
            new=self.new[order],
            hashes=hashes,
        )

    def inverse(self) -> "Patch":
        """Return the patch that leads back: what `revert_` does, as a patch of its own. It has no metadata."""
        return Patch(self.space, self.indices, self.new, self.old)

    def then(self, other: "Patch") -> "Patch":
        """Return the patch that does what this one does and then the other: from this one's base to the other's end.

        What they change back and forth is left out, and so are both patches' metadata.

        Raises:
            PatchError: The other does not start where this one leads to.
        """
        changes = Changes.of([self, other])
        changes.check_turn()
        untouched = {name: digest for name, digest in other.hashes.items() if name not in self.tensors}
        return _named(Patch(changes.space, *changes.merged()), {**untouched, **self.hashes})

    @staticmethod
    def compose(patches: Sequence["Patch"]) -> tuple["Patch", list[Conflict]]:
        """Return the union of patches that start from the same network, and where they contradict each other.

        Where several change a parameter the last one's value stands, as where each is written in turn over the one
        before. Each value that another one overwrites is reported. The union has no metadata.

        Raises:
            PatchError: They start from different networks, or there are none.
        """
        if not patches:
            raise PatchError("there is no patch to compose")
        changes = Changes.of(patches)
        changes.check_base()
        return _named(Patch(changes.space, *changes.merged()), joint_hashes(patches)), changes.conflicts()

    def hashed(self, base: nn.Module) -> "Patch":
        """Return the patch with the SHA-256 of each changed tensor of the network that it starts from.

        Raises:
            PatchError: The network is another one.
        """
        sites = models.find(base, self.parts())
        models.check(sites, "old", strict=True)
        return replace(self, hashes={site.part.name: sha256(site.parameter) for site in sites})

    def verify(self, model: nn.Module, strict: bool = True) -> Verdict:
        """Say whether a model is the base, the patched one or neither, and why; it is left as it is.

        Args:
            model: Any.
            strict: Compare changed tensors as a whole where the patch knows their SHA-256, not the changed places
                alone.
        """
        return models.verdict(model, self.parts(), strict)

    def apply_(self, model: nn.Module, strict: bool = True) -> dict[str, str]:
        """Write the new values into a model, in place: all of them or none.

        Args:
            model: One with the changed tensors, by name: prefixes of wrappers (`module.`, `_orig_mod.`, `model.`) may
                differ. Tied tensors are one.
            strict: Compare changed tensors as a whole where the patch knows their SHA-256, not the changed places
                alone. False applies patches of one base in turn.

        Returns:
            The tensors that the model has under another name: the patch's name -> the model's.

        Raises:
            PatchError: The model is not the one that the patch starts from. Nothing is written.
        """
        return models.write(models.find(model, self.parts()), "new", strict)

    def revert_(self, model: nn.Module) -> dict[str, str]:
        """Write the old values back, in place: all of them or none, whatever else has changed since.

        Returns:
            The tensors that the model has under another name: the patch's name -> the model's.

        Raises:
            PatchError: The model does not hold the new values. Nothing is written.
        """
        return models.write(models.find(model, self.parts()), "old", strict=False)

    @contextmanager
    def applied(self, model: nn.Module, strict: bool = True) -> Iterator[None]:
        """Apply the patch to a model inside the block and revert it at the end, also after an exception.

        Raises:
            PatchError: See `apply_`; at the end, the block itself wrote over the new values.
        """
        self.apply_(model, strict)
        try:
            yield
        finally:
            self.revert_(model)

    def apply(self, flat: torch.Tensor) -> None:
        """Write the new values into a flat parameter vector (|W|,).

        Raises:
            PatchError: The values there are not the old ones, or the vector has another size. Nothing is written.
        """
        self._write(flat, self.old, self.new)

    def revert(self, flat: torch.Tensor) -> None:
        """Write the old values back into a flat parameter vector (|W|,).

        Raises:
            PatchError: The values there are not the new ones. Nothing is written.
        """
        self._write(flat, self.new, self.old)

    def _write(self, flat: torch.Tensor, expected: torch.Tensor, values: torch.Tensor) -> None:
        if isinstance(flat, nn.Module):
            raise TypeError(
                "apply and revert take a flat vector: a model has apply_ and revert_, with an underscore"
            )
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


def _named(patch: Patch, hashes: Mapping[str, str]) -> Patch:
    """Return a patch with the hashes of the tensors that it changes."""
    return replace(patch, hashes={name: hashes[name] for name in patch.tensors if name in hashes})
