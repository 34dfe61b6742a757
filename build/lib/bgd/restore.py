"""The state of a network beside the values of its parameters, to be put back.

Parts, hooks, modes, buffers and plain attributes of every module, and what is set on its parameters. All of it is put
back without a look at whether it differs: that takes some microseconds a module, and comparing takes longer.
"""

from typing import Any

import torch
from torch import nn

Dict = dict[Any, Any]


class ModuleState:
    """A network's structure, hooks, modes, attributes and buffers as they are when this is made.

    Args:
        network: The network. Of the tensors among its buffers and attributes copies are kept.
    """

    def __init__(self, network: nn.Module) -> None:
        self._dicts: list[tuple[Dict, Dict]] = []
        self._tensors: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        for module in network.modules():
            attributes = vars(module)
            # A module's own dictionary comes first: it says which are the others.
            inner = [value for value in attributes.values() if isinstance(value, dict)]
            self._dicts += [(each, each.copy()) for each in (attributes, *inner)]
            for tensor in (*attributes["_buffers"].values(), *attributes.values()):
                if type(tensor) is torch.Tensor:
                    self._tensors.append((tensor, tensor.data, tensor.detach().clone()))
        self._parameters = [(each, each.requires_grad) for each in network.parameters()]

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back."""
        for now, before in self._dicts:
            if now or before:
                if now.keys() != before.keys():
                    now.clear()
                now.update(before)
        for tensor, memory, values in self._tensors:
            if not tensor.is_set_to(memory):
                tensor.data = memory
            tensor.copy_(values)
        for parameter, requires_grad in self._parameters:
            if parameter.requires_grad is not requires_grad:
                parameter.requires_grad_(requires_grad)
            parameter.grad = None
            parameter._backward_hooks = None
