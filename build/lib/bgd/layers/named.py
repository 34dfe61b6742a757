"""Layers by their names, or a sentence that says why not and how to mend it: one for whoever needs a plain layer."""

from collections.abc import Iterator

from torch import nn

from bgd.errors import ConfigError, nearest
from bgd.layers.plain import hook_of, hooked, is_plain, obstacle


class LayerError(ConfigError):
    """A method needs a plain layer where the network has none."""


def parameter_of(layer: str, part: str) -> str:
    """Return the name of a parameter of a layer by the layer's name, which is empty for the network itself."""
    return f"{layer}.{part}" if layer else part


def linear_layers(network: nn.Module) -> dict[str, nn.Linear]:
    """Return the linear layers of a network that may be edited (`editable_linear`), by name."""
    named = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Linear)}
    return {name: layer for name, layer in named.items() if not any(_reasons(network, name, layer))}


def plain_layer(network: nn.Module, name: str) -> nn.Linear | nn.Conv2d:
    """Return the linear layer or convolution of a name, if it is plain.

    Raises:
        LayerError: There is none, or it is not plain.
    """
    layer = dict(network.named_modules()).get(name)
    if not isinstance(layer, nn.Linear | nn.Conv2d):
        known = [
            each for each, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)
        ]
        kind = "no module" if layer is None else f"a {type(layer).__name__}"
        raise LayerError(f"layer {name!r} is {kind}, no nn.Linear or nn.Conv2d; {nearest(name, known)}")
    for reason in _obstacles(layer):
        raise LayerError(f"layer {name!r} is not plain: {reason}")
    return layer


def editable_linear(network: nn.Module, name: str) -> nn.Linear:
    """Return the linear layer of a name whose weights may be edited with a known effect on the network.

    Raises:
        LayerError: There is none, it is not plain, a module around it has a hook, it is frozen, or another module has a
            parameter of it.
    """
    layer = plain_layer(network, name)
    if not isinstance(layer, nn.Linear):
        raise LayerError(f"layer {name!r} is a {type(layer).__name__}, no nn.Linear")
    for reason in _reasons(network, name, layer):
        raise LayerError(f"layer {name!r} may not be changed: {reason}")
    return layer


def _reasons(network: nn.Module, name: str, layer: nn.Linear) -> Iterator[str]:
    """Say why a linear layer may not be edited."""
    yield from _obstacles(layer)
    around = name
    while around:
        around = around.rpartition(".")[0]
        if hook := hook_of(network.get_submodule(around)):
            place = f"module {around!r} around it" if around else "the network"
            yield f"{place} has a {hook}; remove() of its handle makes it plain"
    if not all(tensor.requires_grad for tensor in layer.parameters()):
        yield "it is frozen; requires_grad_(True) lets it be changed"
    own = {id(tensor) for tensor in layer.parameters()}
    for each, module in network.named_modules():
        if module is not layer and any(id(tensor) in own for tensor in module._parameters.values()):
            yield f"it shares a parameter with module {each!r}; one of its own lets it be changed"


def _obstacles(layer: nn.Module) -> Iterator[str]:
    """Say why a layer is not plain."""
    if hooked():
        yield "hooks are registered for all modules; remove() of their handles makes it plain"
    if reason := obstacle(layer):
        yield reason
    elif not is_plain(layer):
        yield (
            f"it is a {type(layer).__name__}({layer.extra_repr()}) with the parameters {', '.join(layer._parameters)}"
        )
