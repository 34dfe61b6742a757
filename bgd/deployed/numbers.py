"""The numbers of a tensor inside a file: where they are, read and written there, every other byte left alone."""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch

from bgd.patch.parts import bits

Bytes = bytes | bytearray | mmap.mmap


@dataclass(frozen=True)
class Numbers:
    """Where a file holds a row of numbers, little-endian.

    Attributes:
        dtype: Their type.
        runs: Runs of numbers without a gap: the first byte of each, and how many numbers it has.
    """

    dtype: torch.dtype
    runs: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return sum(count for _, count in self.runs)

    def read(self, content: Bytes, shape: tuple[int, ...]) -> torch.Tensor:
        """Return the numbers as a tensor in memory of its own."""
        size = self.dtype.itemsize
        whole = np.empty(prod(shape), f"=i{size}")
        at = 0
        for first, count in self._filled():
            whole[at : at + count] = np.frombuffer(content, f"<i{size}", count, first)
            at += count
        return torch.from_numpy(whole).view(self.dtype).view(shape)

    def write(self, content: bytearray | mmap.mmap, positions: torch.Tensor, values: torch.Tensor) -> None:
        """Write values (k,) over the numbers at some positions (k,)."""
        places, new = positions.numpy(), bits(values).numpy()
        at = 0
        for first, count in self._filled():
            inside = (places >= at) & (places < at + count)
            run = np.frombuffer(content, f"<i{new.itemsize}", count, first)
            run[places[inside] - at] = new[inside]
            at += count

    def _filled(self) -> Iterator[tuple[int, int]]:
        return ((first, count) for first, count in self.runs if count)


@contextmanager
def mapped(path: Path) -> Iterator[Bytes]:
    """Give the bytes of a file, read where they are used."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield content


@contextmanager
def writable(path: Path) -> Iterator[mmap.mmap]:
    """Give the bytes of a file to be written over; at the end they are on the disk's side."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
        yield content
        content.flush()
