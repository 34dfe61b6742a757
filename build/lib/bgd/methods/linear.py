"""The linear layers of a network that a method is told to change, by name."""

from collections.abc import Sequence

import torch
from torch import nn

from bgd.errors import ConfigError, nearest
from bgd.layers import editable_linear, linear_layers, running_linears


def chosen_layers(network: nn.Module, names: Sequence[str] | None, key: str) -> dict[str, nn.Linear]:
    """Return linear layers by name.

    Args:
        network: The network.
        names: Of linear layers; None for all that may be changed.
        key: The option that names them, for messages.

    Raises:
        ConfigError: There is no linear layer of such a name, it is not plain, or there is none at all.
    """
    every = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not every:
        raise ConfigError(f"{key}={names}: the network has no linear layer")
    for name in names or ():
        if name not in every:
            raise ConfigError(f"{key}={name!r}: no such linear layer; {nearest(name, every)}")
    layers = linear_layers(network) if names is None else {}
    return layers or {name: editable_linear(network, name) for name in names or every}


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
        chosen_layers(network, [name], key)
    runs = running_linears(network, image)
    order = [run.name for run in runs]
    if name is None:
        distinct = list(dict.fromkeys(order))
        if len(distinct) < 2:
            raise ConfigError(
                f"{key}=None: the last but one linear layer is meant, and of linear layers there "
                + (f"runs {distinct[0]!r} alone: name the one to change" if distinct else "runs none")
            )
        name = distinct[-2]
    layer = editable_linear(network, name)
    vectors = sum(run.entering.numel() for run in runs if run.name == name) / layer.in_features
    if order.count(name) != 1 or vectors != 1:
        raise ConfigError(
            f"{key}={name!r}: the layer runs {order.count(name)} times for an image, on {vectors:g} vectors: must run "
            "once, on one"
        )
    return name
