"""Gradients of a network's loss, those of linear layers as the products that they are.

The gradient of a linear layer's weight by n images is D^T H, with what comes back to the layer (n, out) and what went
in (n, in). A gradient of 11.7 million parameters is 47 MB, and fresh memory of that size costs more than what is
written to it: so the product is written straight into place, or never, where its factors are enough
(`bgd.methods.momentum`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.hooks import RemovableHandle

from bgd.curvature.affine import Affine
from bgd.methods.layers import has, known_layers
from bgd.methods.sample import Sample
from bgd.parameters import ParameterSpace


@dataclass(frozen=True)
class Product:
    """The gradient D^T H of a linear layer's weight.

    Attributes:
        back: D, the gradient of the loss by what comes out of the layer (n, out).
        entering: H, what went into it (n, in).
    """

    back: torch.Tensor
    entering: torch.Tensor


Gradient = Mapping[str, torch.Tensor | Product]  # by parameter, of its shape or factored
Visit = Callable[[str, Product, bool], torch.Tensor | None]  # see `Pass.back`


@dataclass(frozen=True)
class _Cut:
    """Where a pass went through a linear layer.

    Attributes:
        layer: The layer.
        entering: What went in, with its graph (n, in).
        leaving: What came out, a leaf (n, out).
    """

    layer: nn.Linear
    entering: torch.Tensor
    leaving: torch.Tensor


def plus(one: torch.Tensor | Product, other: torch.Tensor | Product) -> torch.Tensor | Product:
    """Return the sum of two gradients of one parameter."""
    if isinstance(one, Product) and isinstance(other, Product):
        return Product(torch.cat([one.back, other.back]), torch.cat([one.entering, other.entering]))
    return whole(one) + whole(other)


def whole(gradient: torch.Tensor | Product) -> torch.Tensor:
    """Return the gradient of a parameter, in its shape."""
    return gradient.back.T @ gradient.entering if isinstance(gradient, Product) else gradient


class Pass:
    """A forward pass that its gradient may be asked for.

    The graph of gradients is cut behind each of the linear layers named: the way back through one is two products with
    its weight, which whoever asks may take together with what else it does to that weight.

    Args:
        network: Any.
        images: Its input (n, ...).
        linear: Names of linear layers that run once, on vectors (n, in): `linear_layers_of` gives them.
    """

    def __init__(self, network: nn.Module, images: torch.Tensor, linear: Iterable[str]) -> None:
        self._cuts: dict[str, _Cut] = {}
        handles = [_cut(name, network.get_submodule(name), self._cuts) for name in linear]
        try:
            self.outputs: torch.Tensor = network(images)
        finally:
            for handle in handles:
                handle.remove()

    def gradient(self, loss: torch.Tensor, named: Mapping[str, nn.Parameter]) -> Gradient:
        """Return the gradient of a loss () of the outputs by some parameters, 0 where it does not lead there."""
        found: dict[str, torch.Tensor | Product] = {}

        def visit(name: str, product: Product, further: bool) -> torch.Tensor | None:
            found[f"{name}.weight"], found[f"{name}.bias"] = product, product.back.sum(0)
            return product.back @ self._cuts[name].layer.weight.detach() if further else None

        found.update(self.back(loss, named, visit))
        return {name: found[name] for name in named}

    def back(
        self, loss: torch.Tensor, named: Mapping[str, nn.Parameter], visit: Visit
    ) -> dict[str, torch.Tensor]:
        """Go back from a loss () of the outputs to the parameters, the linear layers from the last to the first.

        Args:
            loss: The loss.
            named: The parameters.
            visit: Is told a linear layer, the gradient of its weight, and whether parameters lie before it; returns the
                gradient by what went in where they do, taken with the weight of the pass.

        Returns:
            The gradient by those parameters that are of none of the linear layers.
        """
        rest = {name: each for name, each in named.items() if name.rpartition(".")[0] not in self._cuts}
        value, seed, layers = loss, None, list(self._cuts)
        for at, name in reversed(list(enumerate(layers))):
            cut = self._cuts[name]
            (back,) = torch.autograd.grad(value, cut.leaving, seed, materialize_grads=True)
            before = rest or any(
                f"{layer}.{part}" in named for layer in layers[:at] for part in ("weight", "bias")
            )
            seed, value = visit(name, Product(back, cut.entering.detach()), bool(before)), cut.entering
            if not before:
                return {}
        found = torch.autograd.grad(value, list(rest.values()), seed, materialize_grads=True)
        return dict(zip(rest, found, strict=True))


def linear_layers_of(network: nn.Module, space: ParameterSpace) -> tuple[str, ...]:
    """Name the linear layers of a network that is a row of known layers; none of any other one."""
    layers = known_layers(network, space)
    return tuple(name for name, layer in layers.items() if isinstance(layer, nn.Linear))


def unfrozen(network: nn.Module, space: ParameterSpace) -> dict[str, nn.Parameter]:
    """Return the parameters that are not frozen, by name."""
    return {name: tensor for name, tensor in network.named_parameters() if name not in space.frozen}


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
    named = unfrozen(network, space)
    straight = out.dtype == next(iter(named.values())).dtype
    linear = linear_layers_of(network, space) if straight else ()
    run = Pass(network, sample.image, linear)
    loss = F.cross_entropy(sample.judged(run.outputs), sample.label)
    if space.frozen or not loss.requires_grad:
        out.zero_()
    if not loss.requires_grad:
        return out
    if not any(f"{name}.weight" in named for name in linear):
        _stream(loss, named, space, out)
        return out
    for name, gradient in run.gradient(loss, named).items():
        place = _place(name, space, out)
        if isinstance(gradient, Product):
            torch.mm(gradient.back.T, gradient.entering, out=place)
        else:
            place.copy_(gradient)
    return out


def write_gradients(
    network: nn.Module, space: ParameterSpace, samples: Sequence[Sample], out: torch.Tensor
) -> None:
    """Write the gradient of the cross-entropy of each sample, in one forward and one backward pass of all of them.

    What is frozen counts as everything else. A batch rounds otherwise than one sample: so these are the gradients of
    `write_gradient` but for the last bits.

    Args:
        network: One that `known_layers` knows.
        space: Flat index over its parameters.
        samples: The samples (n), with images of one shape.
        out: Where to (n, |W|).
    """
    values = torch.cat([sample.image for sample in samples]).requires_grad_()
    seen = []
    for name, layer in known_layers(network, space).items():
        entering, values = values, layer(values)
        if isinstance(layer, nn.Linear | nn.Conv2d):
            bias = f"{name}.bias" if has(layer, "bias") else None
            seen.append((Affine(layer, f"{name}.weight", bias), entering.detach(), values))
    judged = torch.cat([sample.judged(each) for sample, each in zip(samples, values.split(1), strict=True)])
    loss = F.cross_entropy(judged, torch.cat([sample.label for sample in samples]), reduction="sum")
    backs = torch.autograd.grad(loss, [leaving for *_, leaving in seen])
    for (affine, entering, _), back in zip(seen, backs, strict=True):
        d, h = affine.outputs(back), affine.inputs(entering)
        place = out[:, space.span(affine.weight)]
        torch.bmm(d.transpose(1, 2), h, out=place.view(len(d), d.shape[2], h.shape[2]))
        if affine.bias is not None:
            torch.sum(d, dim=1, out=out[:, space.span(affine.bias)])


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
    named = unfrozen(network, space)
    found = torch.autograd.grad(value, list(named.values()), materialize_grads=True)
    return dict(zip(named, found, strict=True))


def _cut(name: str, layer: nn.Module, cuts: dict[str, _Cut]) -> RemovableHandle:
    """Have a layer note what goes through it, and what lies behind it begin a graph of its own."""
    assert isinstance(layer, nn.Linear)

    def note(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        leaving = output.detach().requires_grad_()
        cuts[name] = _Cut(layer, inputs[0], leaving)
        return leaving

    return layer.register_forward_hook(note)
