"""The linear layers of a network that a method is told to change, by name."""

from collections.abc import Sequence

import torch
from torch import nn

from bgd.build import ConfigError, nearest
from bgd.layers import linear_layers, plain_linear, running_linears


def chosen_layers(network: nn.Module, names: Sequence[str] | None, key: str) -> dict[str, nn.Linear]:
    """Return the linear layers named, all plain ones for None.

    Args:
        network: The network.
        names: Of linear layers.
        key: The option that names them, for messages.

    Raises:
        ConfigError: There is no linear layer of such a name, it is not plain, or there is none at all.
    """
    layers = linear_layers(network)
    if not layers:
        raise ConfigError(f"{key}={names}: the network has no plain linear layer")
    if names is None:
        return layers
    return {name: _named(network, name, key) for name in names}


def hidden_layer(network: nn.Module, image: torch.Tensor, name: str | None, key: str) -> str:
    """Return the name of a linear layer that runs once for an image; for None of the last but one that runs.

    Args:
        network: In eval mode.
        image: One input (1, ...), to run the network with.
        name: Of the layer.
        key: The option that names it, for messages.

    Raises:
        ConfigError: There is no linear layer of this name, or for None fewer than two that run; or it is not plain, or
            does not run once, on one vector.
    """
    if name is not None:
        _named(network, name, key)
    runs = running_linears(network, image)
    order = [run.name for run in runs]
    if name is None:
        distinct = list(dict.fromkeys(order))
        if len(distinct) < 2:
            raise ConfigError(
                f"{key}=None: the last but one linear layer is meant, and there are {len(distinct)} that run"
            )
        name = distinct[-2]
    layer = plain_linear(network, name)
    vectors = sum(run.entering.numel() for run in runs if run.name == name) / layer.in_features
    if order.count(name) != 1 or vectors != 1:
        raise ConfigError(
            f"{key}={name!r}: the layer runs {order.count(name)} times for an image, on {vectors:g} vectors: must run "
            "once, on one"
        )
    return name


def _named(network: nn.Module, name: str, key: str) -> nn.Linear:
    """Return the plain linear layer of a name that an option gives."""
    known = [each for each, module in network.named_modules() if isinstance(module, nn.Linear)]
    if name not in known:
        raise ConfigError(f"{key}={name!r}: no such linear layer; {nearest(name, known)}")
    return plain_linear(network, name)
