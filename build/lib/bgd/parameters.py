"""The flat view of a network's parameters: one index for every weight and bias."""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import prod

import numpy as np
import torch
from torch import nn


def wide(values: torch.Tensor) -> torch.Tensor:
    """Return values in a type to calculate in: float32 for those of 16 bits, their own otherwise."""
    return values.float() if values.element_size() < 4 else values


@dataclass(frozen=True)
class ParameterSpace:
    """Flat index over all parameters of a network, in the order of `named_parameters`.

    Attributes:
        names: Name of each parameter tensor.
        shapes: Its shape.
        frozen: Names of those that do not require a gradient: a correction leaves them alone.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    frozen: tuple[str, ...] = ()

    @classmethod
    def of(cls, network: nn.Module) -> "ParameterSpace":
        """Return the space of a network."""
        named = dict(network.named_parameters())
        frozen = (name for name, parameter in named.items() if not parameter.requires_grad)
        return cls(tuple(named), tuple(tuple(parameter.shape) for parameter in named.values()), tuple(frozen))

    @cached_property
    def bounds(self) -> tuple[int, ...]:
        """First flat index of each tensor, and the total number of parameters |W| at the end."""
        return (0, *accumulate(prod(shape) for shape in self.shapes))

    @property
    def size(self) -> int:
        """Number of parameters |W|: weights and biases."""
        return self.bounds[-1]

    @cached_property
    def free(self) -> int:
        """Number of parameters that are not frozen."""
        return self.size - sum(prod(self.shapes[self.names.index(name)]) for name in self.frozen)

    def span(self, name: str) -> slice:
        """Return the flat positions of one tensor.

        Raises:
            KeyError: There is no tensor of this name.
        """
        if name not in self.names:
            raise KeyError(f"no parameter {name!r}; there are {', '.join(self.names)}")
        place = self.names.index(name)
        return slice(self.bounds[place], self.bounds[place + 1])

    def locate(self, index: int) -> tuple[str, tuple[int, ...]]:
        """Return the tensor that a flat index lies in, and where in it, one number a dimension."""
        at = bisect_right(self.bounds, index) - 1
        place = np.unravel_index(index - self.bounds[at], self.shapes[at])
        return self.names[at], tuple(int(number) for number in place)

    def is_weight(self, name: str) -> bool:
        """Return whether a tensor is a weight: two or more dimensions. A bias has one."""
        return len(self.shapes[self.names.index(name)]) > 1

    @cached_property
    def weights(self) -> tuple[str, ...]:
        """Names of the weights that are not frozen, the tensors that a correction may change."""
        # DEVIATION D2: candidates are the weights, no biases, as in the released code; the thesis does not say.
        return tuple(name for name in self.names if self.is_weight(name) and name not in self.frozen)

    @cached_property
    def candidates(self) -> torch.Tensor:
        """Mask (|W|,) of the parameters that a correction may change: the weights."""
        mask = torch.zeros(self.size, dtype=torch.bool)
        for name in self.weights:
            mask[self.span(name)] = True
        return mask

    def drop_biases(self, values: torch.Tensor) -> torch.Tensor:
        """Set the values (|W|,) of everything that is no candidate to 0, in place; return `values`."""
        for name in set(self.names) - set(self.weights):
            values[self.span(name)] = 0
        return values
