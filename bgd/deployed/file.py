"""A model's file as named tensors, whatever its format, and the same file with some of the values changed.

A format says where its numbers are (`bgd.deployed.numbers`) or how its own library reads and writes them. What they
share is here: a file is told by its content, and a new one is written beside its place, read again, and renamed.
"""

import os
import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack
from math import prod
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

import torch

from bgd.errors import nearest
from bgd.patch.file import check_folder
from bgd.patch.parts import bits, kind

Changes = Mapping[str, tuple[torch.Tensor, torch.Tensor]]
QUANTISED = (
    "is quantised: correct the float model, with where=('int8',) in its goal, and quantise the result again"
)


class FormatError(ValueError):
    """A file is no model that can be read, or holds its weights in a form that cannot be changed."""


class TensorFile(ABC):
    """The tensors of a model's file that hold plain floating-point numbers.

    Attributes:
        kind: Name of the format.
        path: Where the file is.
        unfit: Weights in a form that cannot be changed, by name: why, and what to do, as the end of a sentence.
        rest: Tensors of other numbers, such as permutations and masks: no patch changes them, the model computes with
            them. Of formats that are models of their own it may be empty.
    """

    kind: ClassVar[str]
    path: Path
    unfit: Mapping[str, str]
    rest: Mapping[str, torch.Tensor] = MappingProxyType({})

    @abstractmethod
    def __init__(self, path: Path) -> None: ...

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Names of the tensors."""

    @abstractmethod
    def tensor(self, name: str) -> torch.Tensor:
        """Return a tensor. It is not to be written into."""

    def tied(self, name: str) -> tuple[str, ...]:
        """Names of the tensors that are the same numbers in the file as one of them."""
        return ()

    def users(self, name: str) -> tuple[str, ...]:
        """Names of the operations that use a tensor, where the file tells and they are more than one."""
        return ()

    def rewritten(self, out: str | PathLike[str], changes: Changes, overwrite: bool = False) -> None:
        """Write the file with some values changed: beside its place, read again and compared, then renamed.

        Args:
            out: Where.
            changes: Flat positions (k,), row by row, and the values there (k,), by tensor.
            overwrite: Replace a file that is there; never the file itself.

        Raises:
            FormatError: A tensor has no such place or type, or the new file does not say what it should.
            FileExistsError: There is a file.
        FileNotFoundError: There is no folder for it.
        """
        out = _place(self.path, Path(out), overwrite)
        wanted = {name: self._changed(name, *change) for name, change in changes.items()}
        partial = out.with_name(f"{out.name}.{uuid.uuid4().hex}.partial")
        with ExitStack() as undo:
            undo.callback(partial.unlink, missing_ok=True)
            self._begin(partial, out, undo)
            self._write(partial, changes)
            synced(partial)
            self._compare(type(self)(partial), wanted)
            partial.replace(out)
            undo.pop_all()

    def _begin(self, partial: Path, out: Path, undo: ExitStack) -> None:
        """Make a file with the tensors as they are; what lies beside it is taken away by `undo`."""
        shutil.copyfile(self.path, partial)

    @abstractmethod
    def _write(self, partial: Path, changes: Changes) -> None:
        """Write the changes into a file that holds the tensors as they are."""

    def _changed(self, name: str, indices: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Return a tensor as it has to be afterwards."""
        if name not in self.names:
            raise FormatError(f"{self.path} has no tensor {name!r}: {nearest(name, self.names)}")
        tensor = self.tensor(name).clone(memory_format=torch.contiguous_format)
        if tensor.dtype != values.dtype:
            raise FormatError(f"{name} is {kind(tensor.dtype)} in {self.path}, not {kind(values.dtype)}")
        if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < tensor.numel():
            raise FormatError(f"{name} has {tensor.numel():,} numbers, and a position is outside of them")
        tensor.view(-1)[indices] = values
        return tensor

    def _compare(self, other: "TensorFile", wanted: Mapping[str, torch.Tensor]) -> None:
        """Refuse a new file whose tensors are not the wanted ones, or this file's."""
        wanted = {same: tensor for name, tensor in wanted.items() for same in (name, *self.tied(name))}
        for name in self.names:
            tensor = wanted.get(name, self.tensor(name) if name not in wanted else None)
            if name not in other.names or not equal(other.tensor(name), tensor):
                raise FormatError(
                    f"{name} would not be as it has to be in the new file: it shares memory with another tensor of "
                    f"{self.path}, or the file changed while it was read"
                )


def synced(path: Path) -> None:
    """Wait until a file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def equal(one: torch.Tensor, other: torch.Tensor | None) -> bool:
    """Whether two tensors are the same in shape, type and bits."""
    return (
        other is not None
        and one.shape == other.shape
        and one.dtype == other.dtype
        and torch.equal(bits(one.contiguous().view(-1)), bits(other.contiguous().view(-1)))
    )


def is_quantised(name: str, dtype: str, shape: tuple[int, ...]) -> bool:
    """Whether a tensor that is no plain float is a weight all the same: whole numbers, or floats of 8 bits."""
    return (
        "weight" in name.rpartition(".")[2] and len(shape) > 1 and prod(shape) > 1 and dtype.lower() != "bool"
    )


def _place(source: Path, out: Path, overwrite: bool) -> Path:
    """Return where a new file may be written."""
    if out.exists():
        if out.samefile(source):
            raise FormatError(f"{out} is the file that is read: name another, it is never written over")
        if not overwrite:
            raise FileExistsError(f"{out} is there already: overwrite=True replaces it")
    check_folder(out)
    return out
