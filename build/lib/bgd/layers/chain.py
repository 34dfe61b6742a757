"""A network as a row of layers, each fed by the one before it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from bgd.layers.plain import hook_of, hooked, interferes, is_plain


@dataclass(frozen=True)
class Link:
    """One layer of a row.

    Attributes:
        name: Of the module in the network.
        module: The layer.
        plain: Whether it is plain (`bgd.layers.plain`) and no other layer has one of its parameters. A layer that is
            not may do anything with what goes in.
    """

    name: str
    module: nn.Module
    plain: bool


def unwrapped(network: nn.Module) -> tuple[str, nn.Module]:
    """Return the network inside `DataParallel` and `torch.compile`, and the prefix of its names."""
    prefix = ""
    while _is_plain_wrapper(network):
        inside = "module" if type(network) is nn.DataParallel else "_orig_mod"
        network, prefix = network.get_submodule(inside), f"{prefix}{inside}."
    return prefix, network


def chain(network: nn.Module) -> list[Link]:
    """Return the layers of a network in the order they run; none where it is no row of layers.

    Sequences inside sequences are opened. A module with a hook, or with a forward of its own, is not.
    """
    prefix, core = unwrapped(network)
    if hooked() or not _is_row(core):
        return []
    layers = list(_opened(core, prefix))
    parameters = [_tensors(layer) for _, layer in layers]
    owners = Counter(tensor for tensors in parameters for tensor in tensors)
    return [
        Link(name, layer, is_plain(layer) and all(owners[tensor] == 1 for tensor in tensors))
        for (name, layer), tensors in zip(layers, parameters, strict=True)
    ]


def tamed(network: nn.Module) -> nn.Module:
    """Prepare a private copy of a network to be looked into, and return it; what it computes stays the same.

    Compiled modules run as they were written: they do not see a hook that is registered after their first run. Layers
    of a row do not write over what goes into them.
    """
    for module in network.modules():
        if _is_compiled(module):
            module.forward = module.get_submodule("_orig_mod").__call__
    for link in chain(network):
        if getattr(link.module, "inplace", False) is True:
            setattr(link.module, "inplace", False)  # noqa: B010  # no attribute that mypy knows
    return network


def _opened(row: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    for name, module in row._modules.items():
        assert module is not None, "a sequence runs all its modules"
        inside, core = unwrapped(module)
        if _is_row(core):
            yield from _opened(core, f"{prefix}{name}.{inside}")
        else:
            yield f"{prefix}{name}.{inside}"[:-1], core


def _tensors(layer: nn.Module) -> list[int]:
    """Return which parameters a layer has, each as often as it has it."""
    modules = layer.modules() if layer._modules else (layer,)
    return [id(tensor) for each in modules for tensor in each._parameters.values() if tensor is not None]


def _is_row(module: nn.Module) -> bool:
    kind = type(module)
    own = isinstance(module, nn.Sequential) and kind.forward is nn.Sequential.forward
    return own and kind.__call__ is nn.Module.__call__ and not interferes(module)


def _is_compiled(module: nn.Module) -> bool:
    kind = type(module)  # by name: importing torch._dynamo takes seconds
    return kind.__name__ == "OptimizedModule" and kind.__module__.startswith("torch._dynamo")


def _is_plain_wrapper(module: nn.Module) -> bool:
    return (_is_compiled(module) or type(module) is nn.DataParallel) and not hook_of(module)
