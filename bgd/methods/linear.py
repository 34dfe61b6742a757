"""The linear layers of a network, by name."""

from collections.abc import Sequence

from torch import nn

from bgd.build import ConfigError, nearest


def linear_layers(network: nn.Module) -> dict[str, nn.Linear]:
    """Return the linear layers of a network by name, in the order of its modules."""
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Linear)}


def chosen_layers(network: nn.Module, names: Sequence[str] | None, key: str) -> dict[str, nn.Linear]:
    """Return the linear layers named, all for None.

    Args:
        network: The network.
        names: Of linear layers.
        key: The option that names them, for messages.

    Raises:
        ConfigError: There is no linear layer of such a name, or none at all.
    """
    layers = linear_layers(network)
    if not layers:
        raise ConfigError(f"{key}={names}: the network has no linear layer")
    for name in names or ():
        if name not in layers:
            raise ConfigError(f"{key}={name!r}: no such linear layer; {nearest(name, layers)}")
    return layers if names is None else {name: layers[name] for name in names}


def hidden_layer(network: nn.Module, name: str | None, key: str) -> tuple[str, nn.Linear]:
    """Return a linear layer and its name, the last but one for None.

    Raises:
        ConfigError: There is no linear layer of this name, or for None fewer than two.
    """
    if name is not None:
        return name, chosen_layers(network, [name], key)[name]
    layers = list(linear_layers(network).items())
    if len(layers) < 2:
        raise ConfigError(f"{key}=None: the last but one linear layer is meant, and there are {len(layers)}")
    return layers[-2]
