"""The gradient of one sample's loss, written into a vector that is there already.

A gradient of 11.7 million parameters is 47 MB. Fresh memory of that size costs more than what is written to it, so
the weights of linear layers, nearly all of the parameters, get theirs as the product that it is, straight into place.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.hooks import RemovableHandle

from bgd.methods.layers import known_layers
from bgd.parameters import ParameterSpace

Taps = dict[str, tuple[torch.Tensor, torch.Tensor]]  # by weight: what went into the layer, what came out


def write_gradient(
    network: nn.Module, space: ParameterSpace, image: torch.Tensor, label: torch.Tensor, out: torch.Tensor
) -> torch.Tensor:
    """Write the gradient of the cross-entropy of one sample, in one forward and one backward pass.

    Args:
        network: Any; one that `known_layers` does not know takes longer.
        space: Flat index over its parameters.
        image: The sample (1, ...).
        label: Its class, int64 (1,).
        out: Where to (|W|,).

    Returns:
        `out`.
    """
    taps: Taps = {}
    children = network.named_children() if known_layers(network, space) else ()
    handles = [_tap(name, layer, taps) for name, layer in children if isinstance(layer, nn.Linear)]
    try:
        loss = F.cross_entropy(network(image), label)
    finally:
        for handle in handles:
            handle.remove()
    named = dict(network.named_parameters())
    wanted = [taps[name][1] if name in taps else named[name] for name in space.names]
    found = torch.autograd.grad(loss, wanted)
    for name, shape, gradient in zip(space.names, space.shapes, found, strict=True):
        place = out[space.span(name)].view(shape)
        if name in taps:
            torch.mm(gradient.T, taps[name][0], out=place)
        else:
            place.copy_(gradient)
    return out


def _tap(name: str, layer: nn.Linear, taps: Taps) -> RemovableHandle:
    """Have a layer note what goes through it."""

    def note(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        taps[f"{name}.weight"] = inputs[0].detach(), output

    return layer.register_forward_hook(note)
