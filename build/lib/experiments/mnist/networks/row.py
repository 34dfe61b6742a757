"""A row of named layers that a network of sizes is built as."""

from collections import OrderedDict
from typing import Any

from torch import nn


class Row(nn.Sequential):
    """`nn.Sequential` for classes whose `__init__` takes sizes.

    `nn.Sequential` makes a slice by calling the class with layers, which such a class does not take.
    """

    def __getitem__(self, idx: Any) -> Any:
        """Return a layer, or for a slice the layers as a plain `nn.Sequential` with their names."""
        if isinstance(idx, slice):
            return nn.Sequential(OrderedDict(list(self._modules.items())[idx]))
        return super().__getitem__(idx)
