"""The head: the linear layer whose outputs are the network's own, found by running the network.

How a network is written does not matter then: layers in a row, a forward function, sequences in sequences. The layer's
outputs are replaced by others; where just these come out of the network, nothing follows the layer.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from bgd.layers.chain import unwrapped
from bgd.layers.named import LayerError, editable_linear, parameter_of
from bgd.layers.plain import hook_of

PROBE = (-900.0, 1100.0)  # outputs put in place of a layer's: unlike logits, and with a mean other than 0


@dataclass(frozen=True)
class Seen:
    """One call of a linear layer.

    Attributes:
        name: Of the layer.
        entering: What went in.
        leaving: What came out.
    """

    name: str
    entering: torch.Tensor
    leaving: torch.Tensor


@torch.no_grad()
def running_linears(network: nn.Module, images: torch.Tensor) -> list[Seen]:
    """Run a network and return the calls of its linear layers, in order.

    It gets copies, here and below: it may write over what goes in.
    """
    seen: list[Seen] = []

    def note(name: str) -> Callable[..., None]:
        return lambda _, given, named, leaving: seen.append(Seen(name, entered(given, named), leaving))

    linears = {name: each for name, each in network.named_modules() if isinstance(each, nn.Linear)}
    with _noting({linears[name]: note(name) for name in linears}):
        unwrapped(network)[1](images.clone())
    return seen


@torch.no_grad()
def output_layer(network: nn.Module, image: torch.Tensor) -> str:
    """Return the name of the linear layer that gives a network's outputs.

    Args:
        network: In eval mode. It is run a few times.
        image: One input (1, ...).

    Raises:
        LayerError: There is no such layer, it is not plain, or its inputs depend on its own parameters.
    """
    core = unwrapped(network)[1]
    calls, logits = running_linears(network, image), core(image.clone())
    if not isinstance(logits, torch.Tensor) or logits.dim() != 2:
        raise LayerError("the network's outputs are no logits (N, C): a method of the last layer needs them")
    often = [call.name for call in calls]
    for call in reversed(calls):
        fits = call.leaving.shape == logits.shape and often.count(call.name) == 1
        if fits and _gives_outputs(core, network.get_submodule(call.name), image, logits):
            editable_linear(network, call.name)
            _refuse_tied(network, call.name, image)
            return call.name
    last = f"the last one that runs is {often[-1]!r}" if often else "none of them runs"
    if isinstance(core, torch.jit.ScriptModule):
        last = "a TorchScript network shows none; load its weights into its source, export it, or take bgd_ii"
    hook = hook_of(network) or hook_of(core)
    raise LayerError(
        "the network's outputs are those of no nn.Linear that runs once: a method of the last layer needs one to end "
        f"in; {last}{f', and the network has a {hook}' if hook else ''}"
    )


def _gives_outputs(core: nn.Module, layer: nn.Module, image: torch.Tensor, logits: torch.Tensor) -> bool:
    """Return whether the network's outputs are a layer's: put others in their place and see what comes out."""
    probe = torch.linspace(*PROBE, logits.shape[1], device=logits.device).to(logits.dtype).expand_as(logits)
    with _noting({layer: lambda *_: probe}):
        found = core(image.clone())
    return found.shape == probe.shape and bool((found == probe).all())


@torch.enable_grad()
def _refuse_tied(network: nn.Module, name: str, image: torch.Tensor) -> None:
    """Refuse a head whose parameters also act on what goes into it."""
    prefix, core = unwrapped(network)
    place, layer = name.removeprefix(prefix), network.get_submodule(name)
    copies = {part: tensor.detach().clone().requires_grad_() for part, tensor in layer.named_parameters()}
    with watched(network, name) as into:
        functional_call(
            core, {parameter_of(place, part): each for part, each in copies.items()}, (image.clone(),)
        )
    if not into[0].requires_grad:
        return
    found = torch.autograd.grad(into[0].sum(), list(copies.values()), allow_unused=True)
    if any(gradient is not None for gradient in found):
        raise LayerError(f"layer {name!r} shares its parameters with what comes before it: no plain head")


@contextmanager
def watched(network: nn.Module, name: str) -> Iterator[list[torch.Tensor]]:
    """Give a list that the inputs of a linear layer are added to, call by call, inside the block."""
    found: list[torch.Tensor] = []
    layer = network.get_submodule(name)
    with _noting({layer: lambda _, given, named, __: found.append(entered(given, named))}):
        yield found


@torch.no_grad()
def entering(network: nn.Module, name: str, images: torch.Tensor, batch: int) -> torch.Tensor:
    """Return the inputs (N, D) of a linear layer that runs once, for images (N, ...), `batch` at a time."""
    core = unwrapped(network)[1]
    with watched(network, name) as found:
        for some in torch.split(images, batch):
            core(some.clone())
    return torch.cat(found)


@contextmanager
def _noting(notes: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Have modules call forward hooks inside the block, after those they have."""
    handles = [module.register_forward_hook(note, with_kwargs=True) for module, note in notes.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def entered(given: tuple[Any, ...], named: dict[str, Any]) -> torch.Tensor:
    """Return the input of a call `layer(x)` or `layer(input=x)`, from the arguments that a hook gets."""
    values: torch.Tensor = given[0] if given else named["input"]
    return values
