"""Whether a module computes what its class and its attributes say, and nothing else.

A plain layer is of one of torch's own classes, without a hook and without a forward of its own, and its weight and bias
are its own parameters. Whoever computes a layer's output from its weights, or edits its weights, may do so with a plain
layer alone; every other one is run as it is.
"""

from collections.abc import Callable
from typing import Any

import torch.nn.modules.module as modules
from torch import nn

HOOKS = {
    "_forward_hooks": "forward hook",
    "_forward_pre_hooks": "forward pre-hook",
    "_backward_hooks": "backward hook",
    "_backward_pre_hooks": "backward pre-hook",
}
REWRITTEN = {  # older reparametrisations: ends of the names of the two tensors that they leave behind
    ("_orig", "_mask"): "it is pruned; torch.nn.utils.prune.remove(layer, {!r}) makes it plain",
    ("_v", "_g"): "it has a weight norm; torch.nn.utils.remove_weight_norm(layer, {!r}) makes it plain",
    (
        "_orig",
        "_u",
    ): "it has a spectral norm; torch.nn.utils.remove_spectral_norm(layer, {!r}) makes it plain",
}


def hooked() -> bool:
    """Return whether hooks are registered for all modules of the process."""
    return any(len(vars(modules)[f"_global{attribute}"]) for attribute in HOOKS)


def hook_of(module: nn.Module) -> str:
    """Name the kind of a hook that a module has; nothing where it has none."""
    own = vars(module)
    return next((kind for attribute, kind in HOOKS.items() if own[attribute]), "")


def interferes(module: nn.Module) -> bool:
    """Return whether a call of a module runs more, or something else, than the forward of its class."""
    own = vars(module)
    hooks = own["_forward_hooks"] or own["_forward_pre_hooks"]
    return bool(hooks or own["_backward_hooks"] or own["_backward_pre_hooks"] or "forward" in own)


def obstacle(module: nn.Module) -> str:
    """Say why a layer does something else than the forward of its class, and how to mend it; nothing where not."""
    if "parametrizations" in module._modules:
        return "it is parametrized; torch.nn.utils.parametrize.remove_parametrizations makes it plain"
    for (end, other), reason in REWRITTEN.items():
        for name in module._parameters:
            base = name.removesuffix(end)
            if base != name and (base + other in module._parameters or base + other in module._buffers):
                return reason.format(base)
    if hook := hook_of(module):
        return f"it has a {hook}; remove() of its handle makes it plain"
    if "forward" in vars(module):
        return "it has a forward of its own; deleting that attribute makes it plain"
    return ""


def padding_of(layer: nn.Conv2d) -> tuple[int, int] | None:
    """Return the zeros that a convolution adds on each side of rows and columns; None where sides differ."""
    if not isinstance(layer.padding, str):
        rows, columns = layer.padding
        return rows, columns
    if layer.padding == "valid":
        return 0, 0
    rows, columns = (step * (size - 1) for step, size in zip(layer.dilation, layer.kernel_size, strict=True))
    return None if rows % 2 or columns % 2 else (rows // 2, columns // 2)


def _holds(layer: nn.Linear | nn.Conv2d, shape: tuple[int, ...]) -> bool:
    """Return whether a layer's parameters are a weight of this shape and, maybe, a bias for each output."""
    own = layer._parameters
    weight, bias = own.get("weight"), own.get("bias")
    if weight is None or len(own) != 2 or "bias" not in own or layer._modules:
        return False
    return weight.shape == shape and (bias is None or bias.shape == shape[:1])


def _is_convolution(layer: nn.Conv2d) -> bool:
    shape = (layer.out_channels, layer.in_channels, *layer.kernel_size)
    simple = layer.groups == 1 and layer.padding_mode == "zeros" and padding_of(layer) is not None
    return simple and _holds(layer, shape)


PLAIN: dict[type[nn.Module], Callable[[Any], bool]] = {  # exact types: a subclass may compute anything
    nn.Linear: lambda layer: _holds(layer, (layer.out_features, layer.in_features)),
    nn.Conv2d: _is_convolution,
    nn.ReLU: lambda layer: True,
    nn.Identity: lambda layer: True,
    nn.Dropout: lambda layer: not layer.training,
    nn.MaxPool2d: lambda layer: not layer.return_indices,
    nn.Flatten: lambda layer: (layer.start_dim, layer.end_dim) == (1, -1),
}


def is_plain(module: nn.Module) -> bool:
    """Return whether a module is one of the layers in `PLAIN`, and computes as its class and attributes say."""
    fits = PLAIN.get(type(module))
    return fits is not None and not interferes(module) and fits(module)
