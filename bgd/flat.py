"""A private copy of a network whose parameters are views into one flat vector."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from bgd.layers import tamed
from bgd.parameters import ParameterSpace
from bgd.patch import Patch


class FlatNetwork:
    """A copy of a network, changed through one vector.

    Writing `flat[indices] = values` edits the network; no tensor by tensor bookkeeping.

    Attributes:
        space: Flat index over the parameters.
        module: The copy, in eval mode.
        flat: All its parameters (|W|,), sharing their memory.
    """

    def __init__(self, network: nn.Module, device: torch.device | str = "cpu") -> None:
        self.space = ParameterSpace.of(network)
        self.module = tamed(copy.deepcopy(network).to(device).eval())
        self.flat = torch.cat([p.detach().reshape(-1) for p in self.module.parameters()])
        for parameter, name, shape in zip(
            self.module.parameters(), self.space.names, self.space.shapes, strict=True
        ):
            parameter.data = self.flat[self.space.span(name)].view(shape)

    @contextmanager
    def patched(self, patch: Patch) -> Iterator[None]:
        """Apply a patch inside the block and revert it at the end."""
        patch.apply(self.flat)
        try:
            yield
        finally:
            patch.revert(self.flat)
