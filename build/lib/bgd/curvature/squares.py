"""Sums of squared per-sample gradients, without keeping the gradient of a sample."""

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from bgd.curvature.affine import FEW, Affine, Pass, affine_layers, passes
from bgd.curvature.base import finite, zeros
from bgd.layers import unwrapped
from bgd.parameters import ParameterSpace

CACHE = 2**20  # numbers of per-sample gradients at a time: they are summed while they are in the cache

Vectors = Callable[[Pass], torch.Tensor]
Tensors = dict[str, torch.Tensor]
Product = Callable[[Tensors, torch.Tensor, torch.Tensor], torch.Tensor]
Gradients = Callable[[Tensors, torch.Tensor, torch.Tensor], Tensors]


def mean_squares(
    network: nn.Module, space: ParameterSpace, images: torch.Tensor, vectors: Vectors, batch_size: int
) -> torch.Tensor:
    """Return the mean over images of sum_k (J_n^T v_nk)^2 (|W|,), with J_n = dz_n/dw of the logits z_n of image n.

    For a layer with one position an image that is a product of two matrices, sum_n (d_n^2) (h_n^2)^T.

    Args:
        network: In eval mode.
        space: Flat index over its parameters.
        images: (N, ...).
        vectors: Gives the v_k (K, B, C) of some of the images.
        batch_size: Images at a time.

    Raises:
        CurvatureError: Logits or squares overflow, or a layer does not run once for all images as for the first.
    """
    layers, rest = affine_layers(network, space, images[:FEW])
    total = zeros(network, space)
    for batch in passes(network, layers, images, batch_size):
        chosen = vectors(batch)
        gradients = [batch.output_gradients(vector) for vector in chosen]
        for layer, inputs, *outputs in zip(layers, batch.inputs(), *gradients, strict=True):
            _add(total, space, layer, inputs, outputs)
        add_rest(total, network, space, rest, images[batch.part], chosen)
    return finite(total / len(images), space, "the mean of squared gradients")


def _add(
    total: torch.Tensor, space: ParameterSpace, layer: Affine, h: torch.Tensor, d: Sequence[torch.Tensor]
) -> None:
    """Add the squares of one layer, for inputs (B, T, n) and K gradients of outputs (B, T, m)."""
    if h.shape[1] == 1:
        squares = torch.stack([each[:, 0].square() for each in d]).sum(dim=0)
        weight, bias = squares.T @ h[:, 0].square(), squares.sum(dim=0)
    else:
        weight = sum((_summed_squares(h, each) for each in d), start=h.new_zeros(()))
        bias = sum((each.sum(dim=1).square().sum(dim=0) for each in d), start=h.new_zeros(()))
    total[space.span(layer.weight)] += weight.flatten()
    if layer.bias is not None:
        total[space.span(layer.bias)] += bias


def _summed_squares(h: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
    """Return sum_b (sum_t d_bt h_bt^T)^2 (m, n), a few images at a time."""
    size = max(1, CACHE // (h.shape[-1] * d.shape[-1]))
    total = h.new_zeros(d.shape[-1], h.shape[-1])
    for inputs, outputs in zip(torch.split(h, size), torch.split(d, size), strict=True):
        total += torch.bmm(outputs.transpose(1, 2), inputs).square_().sum(dim=0)
    return total


@torch.no_grad()
def add_rest(
    total: torch.Tensor,
    network: nn.Module,
    space: ParameterSpace,
    names: Sequence[str],
    images: torch.Tensor,
    vectors: torch.Tensor,
) -> None:
    """Add the squares of any parameters at all to `total` (|W|,), by per-sample gradients of `torch.func`.

    No graph is kept: `grad` of `torch.func` has its own, also where there is to be none outside.

    Args:
        total: Is added to.
        network: In eval mode.
        space: Flat index over its parameters.
        names: Of the parameters.
        images: (B, ...).
        vectors: The v_k (K, B, C) of the images.
    """
    if not names:
        return
    prefix, core = unwrapped(network)
    every = {name.removeprefix(prefix): each.detach() for name, each in network.named_parameters()}
    chosen = {name.removeprefix(prefix): every[name.removeprefix(prefix)] for name in names}

    def product(some: Tensors, image: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = functional_call(core, {**every, **some}, (image[None].clone(),))
        return (logits[0] * vector).sum()

    each = _per_sample(product, chosen, images, vectors[0])
    size = max(1, CACHE // sum(parameter.numel() for parameter in chosen.values()))
    for vector in vectors:
        for few, matching in zip(torch.split(images, size), torch.split(vector, size), strict=True):
            for name, gradient in each(chosen, few, matching).items():
                total[space.span(prefix + name)] += gradient.square().sum(dim=0).flatten()
    core(images[:1].clone())  # a pruned layer keeps the weight it computed last: not one of `vmap`


def _per_sample(product: Product, chosen: Tensors, images: torch.Tensor, vectors: torch.Tensor) -> Gradients:
    """Return the function of per-image gradients of a product: of all images at once, or one by one.

    `vmap` does not know every layer (a GRU, a backward hook); a try with two images decides.
    """
    together: Gradients = vmap(grad(product), in_dims=(None, 0, 0))
    try:
        together(chosen, images[:1].repeat_interleave(2, 0), vectors[:1].repeat_interleave(2, 0))
    except RuntimeError:
        return lambda some, few, matching: _stacked(
            [_gradient(product, some, *pair) for pair in zip(few, matching, strict=True)]
        )
    return together


@torch.enable_grad()
def _gradient(product: Product, chosen: Tensors, image: torch.Tensor, vector: torch.Tensor) -> Tensors:
    free = {name: tensor.detach().requires_grad_() for name, tensor in chosen.items()}
    value = product(free, image, vector)
    found = torch.autograd.grad(value, list(free.values()), materialize_grads=True)
    return dict(zip(free, found, strict=True))


def _stacked(gradients: Sequence[Tensors]) -> Tensors:
    return {name: torch.stack([each[name] for each in gradients]) for name in gradients[0]}
