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
from importlib import import_module
from math import prod
from os import PathLike
from pathlib import Path
from typing import ClassVar

import torch

from bgd.errors import nearest
from bgd.patch.parts import bits, kind

Changes = Mapping[str, tuple[torch.Tensor, torch.Tensor]]
QUANTISED = (
    "is quantised: correct the float model, with where=('int8',) in its goal, and quantise the result again"
)
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how torch.save began before it wrote zip archives
KINDS = "safetensors, a state dict of torch.save, TorchScript, .pt2 of torch.export, ONNX"
REFUSED = {  # by the first bytes: the offset, the mark, what to do instead
    (
        0,
        b"GGUF",
    ): "is GGUF, whose weights are packed in blocks: correct the float model, and convert it again",
    (4, b"ORTM"): "is in ONNX Runtime's own format: write into the .onnx file, and convert it again",
    (
        4,
        b"TFL3",
    ): "is TensorFlow Lite, whose weights are packed: correct the float model, and convert it again",
    (0, b"\x89HDF"): f"is HDF5: save the weights as one of {KINDS}",
}


class FormatError(ValueError):
    """A file is no model that can be read, or holds its weights in a form that cannot be changed."""


class TensorFile(ABC):
    """The tensors of a model's file that hold plain floating-point numbers.

    Attributes:
        kind: Name of the format.
        path: Where the file is.
        unfit: Weights in a form that cannot be changed, by name: why, and what to do, as the end of a sentence.
    """

    kind: ClassVar[str]
    path: Path
    unfit: Mapping[str, str]

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
        """
        out = _place(self.path, Path(out), overwrite)
        wanted = {name: self._changed(name, *change) for name, change in changes.items()}
        partial = out.with_name(f"{out.name}.{uuid.uuid4().hex}.partial")
        with ExitStack() as undo:
            undo.callback(partial.unlink, missing_ok=True)
            self._begin(partial, out, undo)
            self._write(partial, changes)
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
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


def open_tensors(path: str | PathLike[str]) -> TensorFile:
    """Open a model's file. Its format is told by its content, not by its suffix.

    Raises:
        FormatError: It is none of the formats, damaged, or has no weights that can be changed.
        ModuleNotFoundError: It is an ONNX file, and the package onnx is not installed.
        OSError: It cannot be read.
    """
    path = Path(path)
    if not path.is_file() and path.exists():
        raise FormatError(f"{path} is no plain file")
    with path.open("rb") as file:
        head = file.read(64)
    for (at, mark), why in REFUSED.items():
        if head[at:].startswith(mark):
            raise FormatError(f"{path} {why}")
    opened = _format(head, path)(path)
    if not opened.names:
        first = next(iter(opened.unfit.items()), None)
        why = f"{first[0]} {first[1]}" if first else "it holds no floating-point tensor"
        raise FormatError(f"{path} has no weights that a patch could change: {why}")
    return opened


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


def _format(head: bytes, path: Path) -> type[TensorFile]:
    """Return the reader of a file that begins with `head`; what it needs is imported now."""
    if head.startswith(b"PK\x03\x04") or head.startswith(LEGACY):
        module = import_module("bgd.deployed.torch_files")
        found: type[TensorFile] = module.reader(path, zipped=not head.startswith(LEGACY))
    elif head[4:9] == b"\0\0\0\0{":  # the length of a header, the header in JSON
        found = import_module("bgd.deployed.safetensors_file").SafetensorsFile
    elif head[:1] == b"\x08" or path.suffix == ".onnx":  # an ONNX file begins with its version, field 1
        found = import_module("bgd.deployed.onnx_file").OnnxFile
    else:
        raise FormatError(f"{path} is none of {KINDS}")
    return found


def _place(source: Path, out: Path, overwrite: bool) -> Path:
    """Return where a new file may be written."""
    if out.exists():
        if out.samefile(source):
            raise FormatError(f"{out} is the file that is read: name another, it is never written over")
        if not overwrite:
            raise FileExistsError(f"{out} is there already: overwrite=True replaces it")
    return out
