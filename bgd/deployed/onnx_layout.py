"""The head of an ONNX graph as a network, and patches of the one in the names and shapes of the other.

The network is `nn.Linear` with a row a class, the file may hold the transpose. Where the file has a single column, z,
before a sigmoid, the network has two classes with the logits (0, z): softmax of these is (1 - sigmoid(z), sigmoid(z)),
and arg-max is the threshold 1/2. Only the difference of the two rows matters, so a change of either comes into the
file as a change of the difference.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace

import torch
from torch import nn

from bgd.deployed.onnx_product import GraphHead
from bgd.parameters import ParameterSpace
from bgd.patch import Patch, PatchError
from bgd.patch.parts import sha256

LAYER = "onnx_head"  # unlike any name in a file


@dataclass(frozen=True, eq=False)
class Layout:
    """Carries values between a file and the network that is made of its head."""

    head: GraphHead

    @property
    def binary(self) -> bool:
        """Whether the file has one column for two classes."""
        return self.head.weight.value.shape[0 if self.head.by_class else 1] == 1

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """What the file holds, by its names."""
        return {each.name: each.value for each in (self.head.weight, self.head.bias) if each is not None}

    def network(self, tensors: dict[str, torch.Tensor]) -> nn.Sequential:
        """Return the network (N, D) -> (N, C) of the file's tensors."""
        rows = self._turned(tensors[self.head.weight.name])
        bias = None if self.head.bias is None else tensors[self.head.bias.name].reshape(-1)
        if self.binary:
            rows = torch.cat([torch.zeros_like(rows), rows])
            bias = None if bias is None else torch.cat([torch.zeros_like(bias), bias])
        layer = nn.Linear(rows.shape[1], len(rows), bias is not None, dtype=rows.dtype)
        with torch.no_grad():
            layer.weight.copy_(rows)
            if bias is not None:
                layer.bias.copy_(bias)
        return nn.Sequential(OrderedDict({LAYER: layer})).eval()

    def stored(self, patch: Patch) -> Patch:
        """Return a patch of the network as one of the file's tensors.

        Raises:
            PatchError: It does not start from the network.
        """
        network = self.network(self.tensors)
        patch.apply_(network)
        return replace(_between(self.tensors, self._of(network)), metadata=patch.metadata)

    def loaded(self, patch: Patch) -> Patch:
        """Return a patch of the file's tensors as one of the network.

        Raises:
            PatchError: It does not start from the file's values, or changes other tensors of the file.
        """
        before, after = (self.network(each).state_dict() for each in (self.tensors, self.patched(patch)))
        return replace(_between(before, after), metadata=patch.metadata)

    def patched(self, patch: Patch) -> dict[str, torch.Tensor]:
        """Return the file's tensors with a patch of the network, or of the file, applied.

        Raises:
            PatchError: It does not start from them, or changes other tensors of the file.
        """
        own = self.stored(patch) if all(name.startswith(f"{LAYER}.") for name in patch.tensors) else patch
        before = [name for name in own.tensors if name not in self.tensors]
        if before:
            raise PatchError(
                f"the patch changes {', '.join(before)}, and an ONNX file is run with changes of its head alone, "
                f"{', '.join(self.tensors)}: any tensor can be written into it"
            )
        space, flat = _space(self.tensors), _flat(self.tensors)
        own.over(space).apply(flat)
        return {
            name: flat[space.span(name)].view(shape)
            for name, shape in zip(space.names, space.shapes, strict=True)
        }

    def _turned(self, weight: torch.Tensor) -> torch.Tensor:
        return weight if self.head.by_class else weight.t()

    def _of(self, network: nn.Module) -> dict[str, torch.Tensor]:
        """Return the parameters of a network as the file has them."""
        found = {}
        layer = network.get_submodule(LAYER)
        for stored, name in ((self.head.weight, "weight"), (self.head.bias, "bias")):
            if stored is None:
                continue
            values = layer.get_parameter(name).detach()
            if self.binary:
                values = (values[1:].double() - values[:1].double()).to(values.dtype)
            found[stored.name] = (self._turned(values) if name == "weight" else values).reshape(
                stored.value.shape
            )
        return found


def _space(tensors: dict[str, torch.Tensor]) -> ParameterSpace:
    return ParameterSpace(tuple(tensors), tuple(tuple(each.shape) for each in tensors.values()))


def _flat(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([each.detach().reshape(-1) for each in tensors.values()])


def _between(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> Patch:
    """Return the patch between tensors, each known as a whole by its SHA-256."""
    patch = Patch.between(_space(before), _flat(before), _flat(after))
    return replace(patch, hashes={name: sha256(before[name]) for name in patch.tensors})
