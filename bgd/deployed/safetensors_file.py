"""A safetensors file: its numbers lie in one region, and are written where they are."""

from math import prod
from pathlib import Path

import torch

from bgd.deployed.file import QUANTISED, FormatError, is_quantised
from bgd.deployed.numbers import Bytes, Numbers, mapped
from bgd.deployed.region_file import Places, RegionFile
from bgd.patch.container import METADATA, TYPES, brief, check_gapless, json_header
from bgd.patch.file import FLOATS
from bgd.patch.parts import PatchError

READ = {**TYPES, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool}


class SafetensorsFile(RegionFile):
    """A safetensors file, see `TensorFile`. Tensors in other types than plain floats stay as they are."""

    kind = "safetensors"

    def __init__(self, path: Path) -> None:
        self.path = path
        with mapped(path) as content:
            try:
                self._tensors, whole, self.unfit = _entries(content)
            except PatchError as error:
                raise FormatError(f"{path} cannot be read: {error}") from error
            self.rest = {name: numbers.read(content, shape) for name, (shape, numbers) in whole.items()}


def _entries(content: Bytes) -> tuple[Places, Places, dict[str, str]]:
    """Return where tensors of floats are, and others that are no weights; and why other weights cannot be changed."""
    entries, start = json_header(content)
    entries.pop(METADATA, None)
    spans = {name: _span(name, entry, len(content) - start) for name, entry in entries.items()}
    check_gapless({name: span[2:] for name, span in spans.items()}, len(content) - start)
    places = {
        name: (shape, Numbers(READ[dtype], ((start + first, prod(shape)),)))
        for name, (dtype, shape, first, _) in spans.items()
        if dtype in READ
    }
    tensors = {name: place for name, place in places.items() if place[1].dtype in FLOATS}
    unfit = {
        name: QUANTISED
        for name, (dtype, shape, *_) in spans.items()
        if name not in tensors and is_quantised(name, dtype, shape)
    }
    whole = {name: place for name, place in places.items() if name not in tensors and name not in unfit}
    return tensors, whole, unfit


def _span(name: str, entry: object, most: int) -> tuple[str, tuple[int, ...], int, int]:
    """Return type, shape, first byte and the one after the last, as the header has them."""
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(first), int(last)]} if (
            all(type(size) is int and size >= 0 for size in (*shape, first, last)) and first <= last <= most
        ):
            if dtype not in READ or last - first == prod(shape) * READ[dtype].itemsize:
                return dtype, tuple(shape), first, last
            raise PatchError(f"{brief(name)} has the shape {shape} in {dtype}, and {last - first:,} bytes")
    raise PatchError(f"{brief(name)} has no type, shape and place in the file")
