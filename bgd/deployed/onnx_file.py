"""An ONNX file: initializers, Constant nodes and external data, written where their numbers are.

The package onnx reads the graph, and `bgd.deployed.wire` finds the numbers in the file, so every other byte stays, also
where another writer than onnx's ordered them. A file is written anew, with the same graph, in two cases: it has
external data, whose copies get names of their own, or 16-bit floats that are stored as whole numbers of any length.
"""

import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bgd.deployed.file import Changes, FormatError, TensorFile, synced
from bgd.deployed.graph import embed, named, tensors
from bgd.deployed.numbers import mapped, writable
from bgd.deployed.packages import needed
from bgd.deployed.places import beside, places
from bgd.errors import first_line

if TYPE_CHECKING:
    import onnx


class OnnxFile(TensorFile):
    """An ONNX file, see `TensorFile`.

    A tensor has the name of its initializer, or of its Constant node's output; inside a subgraph the names of the node
    and of its attribute come before it, as in `If_3/then_branch/weight`.
    """

    kind = "ONNX"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._model = _parsed(path)
        with mapped(path) as content:
            try:
                self._places, self.unfit = places(self._model, content, path.parent)
            except ValueError as error:
                raise FormatError(f"{path} cannot be read as ONNX: {first_line(error)}") from error

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tensors, in the order of the graph."""
        return tuple(self._places)

    @property
    def external(self) -> bool:
        """Whether numbers of it are in other files."""
        return any(tensor.data_location == tensor.EXTERNAL for tensor in tensors(self._model))

    def tensor(self, name: str) -> torch.Tensor:
        """Return a tensor, read from the file."""
        place = self._places[name]
        with mapped(place.location or self.path) as content:
            return place.read(content)

    def users(self, name: str) -> tuple[str, ...]:
        """Names of the nodes that use a tensor, where they are more than one; an output of the graph counts."""
        users = self._places[name].users
        return users if len(users) > 1 else ()

    def embedded(self, changes: Changes) -> bytes:
        """Return the model with some values changed; their tensors lie in it, also where they are external here."""
        model = self._copy()
        for name, proto in named(model).items():
            if name in changes and not self._places[name].in_place:
                embed(proto, self.tensor(name))
        content = bytearray(model.SerializeToString())
        inside = places(model, content, self.path.parent)[0]
        for name, (indices, values) in changes.items():
            self._changed(name, indices, values)  # refuses what is outside of the tensor
            inside[name].write(content, indices, values)
        return bytes(content)

    def _copy(self) -> "onnx.ModelProto":
        model = type(self._model)()
        model.CopyFrom(self._model)
        return model

    def _begin(self, partial: Path, out: Path, undo: ExitStack) -> None:
        if not self.external and all(place.numbers for place in self._places.values()):
            return super()._begin(partial, out, undo)
        model, copies = self._copy(), dict[str, str]()
        for tensor in tensors(model):
            for entry in tensor.external_data:
                if entry.key == "location" and tensor.data_location == tensor.EXTERNAL:
                    number = f".{len(copies)}" if copies else ""
                    entry.value = copies.setdefault(entry.value, f"{out.name}{number}.data")
        for name, proto in named(model).items():
            if name in self._places and not self._places[name].numbers:
                embed(proto, self.tensor(name))
        for location, copy in copies.items():
            target, source = out.with_name(copy), beside(self.path.parent, location)
            if source is None:
                raise FormatError(f"{self.path} has external data in {location}, which is not beside it")
            if target.exists():
                raise FileExistsError(f"{target} is there already, and the external data would be called so")
            undo.callback(target.unlink, missing_ok=True)
            shutil.copyfile(source, target)
            synced(target)
        partial.write_bytes(model.SerializeToString())

    def _write(self, partial: Path, changes: Changes) -> None:
        copy = type(self)(partial)
        for name, (indices, values) in changes.items():
            place = copy._places[name]
            with writable(place.location or partial) as content:
                place.write(content, indices, values)


def _parsed(path: Path) -> "onnx.ModelProto":
    """Return the message in a file, without its external data.

    Raises:
        FormatError: It is none.
        ModuleNotFoundError: The package onnx is not installed.
    """
    package = needed("onnx")
    try:
        model: onnx.ModelProto = package.load(os.fspath(path), format="protobuf", load_external_data=False)
    except OSError:
        raise
    except Exception as error:  # of the protobuf library's own kinds
        raise FormatError(f"{path} cannot be read as ONNX: {first_line(error)}") from error
    if not model.HasField("graph") or not model.graph.node:
        raise FormatError(f"{path} cannot be read as ONNX: it has no graph")
    return model
