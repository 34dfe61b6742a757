"""A safetensors file: its numbers lie in one region, and are written where they are."""

from math import prod
from pathlib import Path

import torch

from bgd.deployed.file import QUANTISED, Changes, FormatError, TensorFile, is_quantised
from bgd.deployed.numbers import Bytes, Numbers, mapped, writable
from bgd.patch.container import METADATA, TYPES, brief, check_gapless, json_header
from bgd.patch.file import FLOATS
from bgd.patch.parts import PatchError


class SafetensorsFile(TensorFile):
    """A safetensors file, see `TensorFile`. Tensors in other types than plain floats stay as they are."""

    kind = "safetensors"

    def __init__(self, path: Path) -> None:
        self.path = path
        with mapped(path) as content:
            try:
                self._tensors, self.unfit = _entries(content)
            except PatchError as error:
                raise FormatError(f"{path} cannot be read: {error}") from error

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tensors, in the order of the header."""
        return tuple(self._tensors)

    def tensor(self, name: str) -> torch.Tensor:
        """Return a tensor, read from the file."""
        shape, numbers = self._tensors[name]
        with mapped(self.path) as content:
            return numbers.read(content, shape)

    def _write(self, partial: Path, changes: Changes) -> None:
        with writable(partial) as content:
            for name, (indices, values) in changes.items():
                self._tensors[name][1].write(content, indices, values)


def _entries(content: Bytes) -> tuple[dict[str, tuple[tuple[int, ...], Numbers]], dict[str, str]]:
    """Return shape and place of each tensor of floats, and why others of the weights cannot be changed."""
    entries, start = json_header(content)
    entries.pop(METADATA, None)
    spans = {name: _span(name, entry, len(content) - start) for name, entry in entries.items()}
    check_gapless({name: span[2:] for name, span in spans.items()}, len(content) - start)
    tensors = {
        name: (shape, Numbers(TYPES[dtype], ((start + first, prod(shape)),)))
        for name, (dtype, shape, first, _) in spans.items()
        if TYPES.get(dtype) in FLOATS
    }
    rest = {
        name: QUANTISED
        for name, (dtype, shape, *_) in spans.items()
        if name not in tensors and is_quantised(name, dtype, shape)
    }
    return tensors, rest


def _span(name: str, entry: object, most: int) -> tuple[str, tuple[int, ...], int, int]:
    """Return type, shape, first byte and the one after the last, as the header has them."""
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(first), int(last)]} if (
            all(type(size) is int and size >= 0 for size in (*shape, first, last)) and first <= last <= most
        ):
            if dtype not in TYPES or last - first == prod(shape) * TYPES[dtype].itemsize:
                return dtype, tuple(shape), first, last
            raise PatchError(f"{brief(name)} has the shape {shape} in {dtype}, and {last - first:,} bytes")
    raise PatchError(f"{brief(name)} has no type, shape and place in the file")
