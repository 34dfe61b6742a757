"""The gradient of one sample's loss, written into a vector that is there already.

A gradient of 11.7 million parameters is 47 MB. Fresh memory of that size costs more than what is written to it, so
the weights of linear layers, nearly all of the parameters, get theirs as the product that it is, straight into place.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.hooks import RemovableHandle

from bgd.methods.layers import known_layers
from bgd.methods.sample import Sample
from bgd.parameters import ParameterSpace

Taps = dict[str, tuple[torch.Tensor, torch.Tensor]]  # by weight: what went into the layer, what came out


def write_gradient(
    network: nn.Module, space: ParameterSpace, sample: Sample, out: torch.Tensor
) -> torch.Tensor:
    """Write the gradient of the cross-entropy of one sample, in one forward and one backward pass.

    It is 0 at what is frozen and at what does not lead to the outputs.

    Args:
        network: Any; one that `known_layers` does not know takes longer.
        space: Flat index over its parameters.
        sample: The sample.
        out: Where to (|W|,); of another type than the network's it takes longer.

    Returns:
        `out`.
    """
    taps: Taps = {}
    named = {name: tensor for name, tensor in network.named_parameters() if name not in space.frozen}
    straight = out.dtype == next(iter(named.values())).dtype and known_layers(network, space)
    layers = [
        (name, layer)
        for name, layer in (network.named_children() if straight else ())
        if isinstance(layer, nn.Linear) and f"{name}.weight" in named
    ]
    handles = [_tap(name, layer, taps) for name, layer in layers]
    try:
        loss = F.cross_entropy(sample.judged(network(sample.image)), sample.label)
    finally:
        for handle in handles:
            handle.remove()
    if space.frozen or not loss.requires_grad:
        out.zero_()
    if not loss.requires_grad:
        return out
    if not taps:
        _stream(loss, named, space, out)
        return out
    wanted = [taps[name][1] if name in taps else tensor for name, tensor in named.items()]
    found = torch.autograd.grad(loss, wanted, materialize_grads=True)
    for name, gradient in zip(named, found, strict=True):
        place = _place(name, space, out)
        if name in taps:
            torch.mm(gradient.T, taps[name][0], out=place)
        else:
            place.copy_(gradient)
    return out


def _stream(
    loss: torch.Tensor, named: dict[str, nn.Parameter], space: ParameterSpace, out: torch.Tensor
) -> None:
    """Write the gradient of each parameter when the backward pass has it, and let it go: never two of all of it."""
    missing = set(named)

    def write(name: str, parameter: torch.Tensor) -> None:
        assert parameter.grad is not None, "it has just been accumulated"
        _place(name, space, out).copy_(parameter.grad)
        parameter.grad = None
        missing.discard(name)

    for parameter in named.values():
        parameter.grad = None
    handles = [
        parameter.register_post_accumulate_grad_hook(partial(write, name))
        for name, parameter in named.items()
    ]
    try:
        torch.autograd.backward(loss, inputs=list(named.values()))
    finally:
        for handle in handles:
            handle.remove()
    for name in missing:
        _place(name, space, out).zero_()


def _place(name: str, space: ParameterSpace, out: torch.Tensor) -> torch.Tensor:
    return out[space.span(name)].view(space.shapes[space.names.index(name)])


def gradients(value: torch.Tensor, network: nn.Module, space: ParameterSpace) -> dict[str, torch.Tensor]:
    """Return the gradient of a value () by every parameter that is not frozen, 0 where it does not lead there."""
    named = {name: tensor for name, tensor in network.named_parameters() if name not in space.frozen}
    found = torch.autograd.grad(value, list(named.values()), materialize_grads=True)
    return dict(zip(named, found, strict=True))


def _tap(name: str, layer: nn.Linear, taps: Taps) -> RemovableHandle:
    """Have a layer note what goes through it."""

    def note(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        taps[f"{name}.weight"] = inputs[0].detach(), output

    return layer.register_forward_hook(note)
