"""A file whose header says where the numbers of each tensor are: read from there, and written over in place."""

from pathlib import Path

import torch

from bgd.deployed.file import Changes, TensorFile
from bgd.deployed.numbers import Numbers, mapped, writable

Places = dict[str, tuple[tuple[int, ...], Numbers]]


class RegionFile(TensorFile):
    """A file with its tensors' numbers in one region, see `TensorFile`; a format reads its header into `_tensors`."""

    _tensors: Places

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
