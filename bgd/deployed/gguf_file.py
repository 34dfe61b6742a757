"""A GGUF file: its tensors of plain floats lie in one region, and are written where they are.

Weights in blocks of a few bits stay as they are, and beside them a converter leaves biases, normalisations and often
the layer of the classes in float32. Source: docs/gguf.md of the repository ggml-org/ggml.
"""

import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch

from bgd.deployed.file import QUANTISED, FormatError
from bgd.deployed.numbers import Bytes, Numbers, mapped
from bgd.deployed.region_file import Places, RegionFile
from bgd.errors import first_line

VERSIONS = (2, 3)
FLOATS = {0: torch.float32, 1: torch.float16, 28: torch.float64, 30: torch.bfloat16}
WHOLE = (24, 25, 26, 27)  # types of tensors of whole numbers
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes, by the type of a value
TEXT, ARRAY = 8, 9
ALIGNED = 32  # bytes that numbers begin at a multiple of, where the file names none


class GgufFile(RegionFile):
    """A GGUF file, see `TensorFile`. A shape is as torch has it, the other way round than in the file."""

    kind = "GGUF"

    def __init__(self, path: Path) -> None:
        self.path = path
        with mapped(path) as content:
            try:
                self._tensors, self.unfit = _Header(content).tensors()
            except ValueError as error:
                raise FormatError(f"{path} cannot be read as GGUF: {first_line(error)}") from error


@dataclass
class _Header:
    """Reads what comes before the numbers, from a byte on."""

    content: Bytes
    at: int = 4  # behind the mark

    def tensors(self) -> tuple[Places, dict[str, str]]:
        """Return shape and place of each tensor of floats, and why others cannot be changed."""
        if (version := self._number("I")) not in VERSIONS:
            raise ValueError(f"its version is {version}, and {' and '.join(map(str, VERSIONS))} are known")
        count, values = self._number("Q"), self._number("Q")
        step = max([self._alignment() for _ in range(values)], default=0) or ALIGNED
        told = [self._tensor() for _ in range(count)]
        if len({name for name, *_ in told}) < count:
            raise ValueError("two of its tensors have one name")
        start = -(-self.at // step) * step
        places = {
            name: (shape, Numbers(FLOATS[kind], ((start + offset, prod(shape)),)))
            for name, shape, kind, offset in told
            if kind in FLOATS
        }
        for name, (_, numbers) in places.items():
            if numbers.runs[0][0] + numbers.count * numbers.dtype.itemsize > len(self.content):
                raise ValueError(f"the numbers of {name} end behind the file")
        return places, {name: QUANTISED for name, _, kind, _ in told if kind not in (*FLOATS, *WHOLE)}

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        """Read name, shape, type and first byte of a tensor, counted from where the numbers begin."""
        name = self._text().decode()
        sizes = [self._number("Q") for _ in range(self._number("I"))]
        return name, tuple(sizes[::-1]), self._number("I"), self._number("Q")

    def _alignment(self) -> int:
        """Go past a key and its value; return the value where it is the alignment, 0 where not."""
        key, kind = self._text(), self._number("I")
        if key == b"general.alignment":
            return self._number("I")
        if kind == ARRAY:
            kind, count = self._number("I"), self._number("Q")
        else:
            count = 1
        if kind == TEXT:
            for _ in range(count):
                self._text()
        elif kind in SIZES:
            self._taken(count * SIZES[kind])
        else:
            raise ValueError(f"it has a value of type {kind}, and there is none such")
        return 0

    def _number(self, form: str) -> int:
        """Read a number, as `struct` has it."""
        (value,) = struct.unpack(f"<{form}", self._taken(struct.calcsize(f"<{form}")))
        return int(value)

    def _text(self) -> bytes:
        return self._taken(self._number("Q"))

    def _taken(self, count: int) -> bytes:
        """Read some bytes."""
        if count > len(self.content) - self.at:
            raise ValueError("its header ends behind the file")
        self.at += count
        return bytes(self.content[self.at - count : self.at])
