"""A program of torch.export as a network with layers: methods look for `nn.Linear`, a program calls functions.

A parameter keeps its name, so that patches of the network are those of the program and of the network that it was
exported from.
"""

from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from bgd.errors import first_line
from bgd.flat import NetworkError

LINEAR = torch.ops.aten.linear.default
CALL = "call_module"


def read_program(path: Path) -> nn.Module:
    """Return the network of a file of torch.export, its linear layers as modules.

    Raises:
        NetworkError: It cannot be read, or takes a fixed number of inputs.
    """
    try:
        with path.open("rb") as file:  # a path has to end in .pt2
            program = torch.export.load(file)
    except Exception as error:  # of any kind: a version, a custom operator, damage
        raise NetworkError(f"{path} cannot be read by torch.export: {first_line(error)}") from error
    for node in program.graph.nodes:
        if node.name in program.graph_signature.user_inputs and isinstance(
            rows := node.meta["val"].shape[0], int
        ):
            raise NetworkError(
                f"{path} takes {rows} inputs at a time, no other number: torch.export.export(model, (x,), "
                'dynamic_shapes=({0: torch.export.Dim("n")},)) makes one that takes any'
            )
    return with_linears(program.module())


def with_linears(network: Any) -> nn.Module:
    """Have a graph call an `nn.Linear` wherever it applies one; a weight that other calls read as well stays so."""
    for node in list(network.graph.nodes):
        place = _place(node)
        if place and type(network.get_submodule(place)) is nn.Module:
            owner, _, name = place.rpartition(".")
            network.get_submodule(owner)._modules[name] = _linear(network.get_submodule(place))
        if place and isinstance(network.get_submodule(place), nn.Linear):
            with network.graph.inserting_before(node):
                call = network.graph.call_module(place, node.args[:1])
            node.replace_all_uses_with(call)
            network.graph.erase_node(node)
    for name in ("train", "eval"):  # they raise: a program computes in either mode as it was exported
        vars(network).pop(name, None)
    network.graph.eliminate_dead_code()
    network.recompile()
    made: nn.Module = network
    return made


def _place(node: fx.Node) -> str:
    """Return the name of the module whose weight and bias a node applies; nothing where it applies others."""
    if node.op != "call_function" or node.target is not LINEAR or node.kwargs:
        return ""
    weight, *bias = node.args[1:]
    names = [each.target for each in (weight, *bias) if isinstance(each, fx.Node) and each.op == "get_attr"]
    place = str(names[0]).rpartition(".")[0] if names else ""
    own = [f"{place}.weight", f"{place}.bias"][: 1 + sum(each is not None for each in bias)]
    return place if names == own else ""


def _linear(holder: nn.Module) -> nn.Module:
    """Return the linear layer with the parameters that a module holds; the module itself where it holds others."""
    weight, bias = holder._parameters.get("weight"), holder._parameters.get("bias")
    if weight is None or holder._modules or len(holder._parameters) != 1 + (bias is not None):
        return holder
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    layer.weight = weight
    if bias is not None:
        layer.bias = bias
    return layer
