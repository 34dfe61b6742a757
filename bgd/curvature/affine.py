"""Linear layers and convolutions as one thing: W h_t + b, at each of T positions.

A linear layer has one position an image, T = 1 (or more, where what goes into it has more dimensions); a convolution
has one for each place that its kernel is put to, and h_t is the patch under it (Grosse & Martens 2016, section 2.3).
The gradient of a loss of one image is then sum_t d_t h_t^T for the weight and sum_t d_t for the bias, with d_t the
gradient by what comes out at t, so that nothing of the size of a weight has to be kept for each image.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.hooks import RemovableHandle

from bgd.curvature.base import CurvatureError
from bgd.layers import entered, hooked, is_plain, padding_of, parameter_of, unwrapped
from bgd.parameters import ParameterSpace
from bgd.progress import followed

FEW = 4  # images that a network is run with to see which of its layers are affine


@dataclass(frozen=True, eq=False)
class Affine:
    """A linear layer or a convolution.

    Attributes:
        module: The layer.
        weight: Name of its weight: (m, n), or (m, channels, height, width) with n their product.
        bias: Name of its bias (m,); None where it has none.
    """

    module: nn.Linear | nn.Conv2d
    weight: str
    bias: str | None

    def inputs(self, values: torch.Tensor) -> torch.Tensor:
        """Return the layer's inputs (B, ...) as the h_t of each image (B, T, n)."""
        if isinstance(self.module, nn.Linear):
            return values.reshape(len(values), -1, values.shape[-1])
        conv = self.module
        rows, columns = cast(tuple[int, int], padding_of(conv))  # the layer is plain
        patches = F.pad(values, (columns, columns, rows, rows))
        for axis in (2, 3):  # strided views and one copy: a tenth of the time of F.unfold
            size, step, dilation = conv.kernel_size[axis - 2], conv.stride[axis - 2], conv.dilation[axis - 2]
            patches = patches.unfold(axis, (size - 1) * dilation + 1, step)[..., ::dilation]
        patches = patches.permute(
            0, 1, 4, 5, 2, 3
        )  # (B, channels, height, width of the kernel, T as rows, columns)
        return patches.reshape(len(values), conv.weight[0].numel(), -1).transpose(1, 2)

    def outputs(self, values: torch.Tensor) -> torch.Tensor:
        """Return the layer's outputs (B, ...), or their gradient, by position (B, T, m)."""
        if isinstance(self.module, nn.Linear):
            return values.reshape(len(values), -1, values.shape[-1])
        return values.flatten(2).transpose(1, 2)


def affine_layers(
    network: nn.Module, space: ParameterSpace, images: torch.Tensor
) -> tuple[list[Affine], list[str]]:
    """Return the affine layers of a network, and the names of the parameters that are in none of them.

    A layer counts where it is plain (`bgd.layers`), none of it is frozen, and gradients are as said above: so they are
    not where it runs twice, or where its weight is used elsewhere too. What is frozen is not among the names: its
    curvature is 0.

    Args:
        network: In eval mode.
        space: Flat index over its parameters.
        images: A few inputs, to run the network with.
    """
    named, prefix = dict(network.named_parameters()), unwrapped(network)[0]
    layers = []
    for name, module in network.named_modules():
        own = [parameter_of(name, part) for part, _ in module.named_parameters(recurse=False)]
        trained = all(each in named and named[each].requires_grad for each in own)
        if "_orig_mod" in name.removeprefix(prefix) or hooked():
            continue  # a module compiled by itself sees no hook that it was not compiled with
        if isinstance(module, nn.Linear | nn.Conv2d) and is_plain(module) and trained:
            weight, *bias = sorted(own, reverse=True)
            layers.append(Affine(module, weight, bias[0] if bias else None))
    layers = _borne_out(network, layers, images)
    inside = {name for layer in layers for name in (layer.weight, layer.bias)}
    return layers, [name for name in space.names if name not in inside and named[name].requires_grad]


@torch.enable_grad()
def _borne_out(network: nn.Module, layers: Sequence[Affine], images: torch.Tensor) -> list[Affine]:
    """Return the layers that run once, and whose weight's gradient is sum_t d_t h_t^T, as autograd has it."""
    with _tapped(layers) as taps:
        logits = unwrapped(network)[1](images.clone())
    taps = [tap for tap in taps if len(tap.seen) == 1]
    if not torch.isfinite(logits).all() or not taps:
        return [tap.layer for tap in taps]  # `passes` names the image
    value = (logits * torch.linspace(-1, 2, logits.shape[1]).to(logits)).sum()
    weights, outputs = [tap.layer.module.weight for tap in taps], [tap.output() for tap in taps]
    found = torch.autograd.grad(value, [*weights, *outputs], allow_unused=True, materialize_grads=True)
    kept = []
    for tap, gradient, leaving in zip(taps, found, found[len(taps) :], strict=False):
        h, d = tap.layer.inputs(tap.input()), tap.layer.outputs(leaving)
        off = float((gradient.flatten(1) - torch.einsum("btm,btn->mn", d, h)).abs().max())
        rounding = torch.finfo(h.dtype).eps ** (1 / 3) * float(
            torch.einsum("btm,btn->mn", d.abs(), h.abs()).max()
        )
        if not off > rounding:  # what is not finite is said elsewhere
            kept.append(tap.layer)
    return kept


@dataclass(frozen=True, eq=False)
class Pass:
    """What went through a network with some images.

    Attributes:
        part: Which of all the images they are.
        logits: (B, C), finite, without a graph.
    """

    part: slice
    logits: torch.Tensor
    _layers: Sequence[Affine]
    _inputs: list[torch.Tensor]
    _outputs: list[torch.Tensor]
    _logits: torch.Tensor

    def inputs(self) -> Iterator[torch.Tensor]:
        """Give what went into each affine layer (B, T, n), one after another: patches of one layer at a time."""
        return (layer.inputs(values) for layer, values in zip(self._layers, self._inputs, strict=True))

    def output_gradients(self, vector: torch.Tensor) -> list[torch.Tensor]:
        """Return the gradients of sum v . logits by what came out of each affine layer (B, T, m), for v (B, C).

        Row b is the gradient of image b alone, since images are independent. Of the weights none is computed.
        """
        if not self._outputs:
            return []
        found = torch.autograd.grad(
            self._logits, self._outputs, vector, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return [layer.outputs(gradient) for layer, gradient in zip(self._layers, found, strict=True)]


def passes(
    network: nn.Module, layers: Sequence[Affine], images: torch.Tensor, batch_size: int
) -> Iterator[Pass]:
    """Put images (N, ...) through a network, batch by batch.

    Raises:
        CurvatureError: Logits are not finite, or a layer does not run exactly once.
    """
    for start in followed("batches of training inputs", range(0, len(images), batch_size)):
        part = slice(start, start + batch_size)
        with _tapped(layers) as taps:
            logits = unwrapped(network)[1](images[part].clone())  # it may write over them
        if not torch.isfinite(logits).all():
            bad = int((~torch.isfinite(logits).all(dim=1)).nonzero()[0]) + start
            raise CurvatureError(f"the logits of image {bad} are not finite: there is no curvature there")
        inputs, outputs = [tap.input() for tap in taps], [tap.output() for tap in taps]
        yield Pass(part, logits.detach(), layers, inputs, outputs, logits)


@contextmanager
def _tapped(layers: Sequence[Affine]) -> Iterator[list["_Tap"]]:
    """Note what goes through layers inside the block."""
    taps = [_Tap(layer) for layer in layers]
    try:
        yield taps
    finally:
        for tap in taps:
            tap.handle.remove()


class _Tap:
    """Notes what goes through a layer."""

    def __init__(self, layer: Affine) -> None:
        self.layer = layer
        self.handle: RemovableHandle = layer.module.register_forward_hook(self._note, with_kwargs=True)
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def _note(
        self,
        _: nn.Module,
        given: tuple[torch.Tensor, ...],
        named: dict[str, torch.Tensor],
        output: torch.Tensor,
    ) -> torch.Tensor:
        self.seen.append((entered(given, named).detach(), output))
        return output.clone()  # what follows may work in place, and must not write to what is noted

    def input(self) -> torch.Tensor:
        return self._only()[0]

    def output(self) -> torch.Tensor:
        return self._only()[1]

    def _only(self) -> tuple[torch.Tensor, torch.Tensor]:
        if len(self.seen) != 1:
            raise CurvatureError(
                f"the layer of {self.layer.weight!r} ran {len(self.seen)} times in a forward pass: must run once"
            )
        return self.seen[0]
