"""The modes of torch that a caller may be in: a correction is the same whatever block it is asked for in."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

LOWERED = ("cpu", "cuda")  # devices whose autocast may be on


@contextmanager
def ordinary() -> Iterator[None]:
    """Compute with gradients, and in the network's own types, inside the block.

    A correction takes gradients where `torch.no_grad` and `torch.inference_mode` rule them out, and it is of the
    network itself where `torch.autocast` runs a copy of its weights with fewer bits.
    """
    with ExitStack() as modes:
        modes.enter_context(torch.inference_mode(False))
        modes.enter_context(torch.enable_grad())
        for device in filter(torch.is_autocast_enabled, LOWERED):
            modes.enter_context(torch.autocast(device, enabled=False))
        yield


@contextmanager
def training_mode(network: nn.Module) -> Iterator[None]:
    """Have a network in training mode inside the block, and in eval mode behind it.

    Modules with buffers of their own stay in eval mode: batch normalisation keeps its statistics in them, which one
    sample has not, and a patch cannot hold.
    """
    for module in network.modules():
        module.training = not any(True for _ in module.buffers(recurse=False))
    try:
        yield
    finally:
        network.eval()


def ordinary_tensor(values: torch.Tensor) -> torch.Tensor:
    """Return values that gradients may be taken through, copied where `torch.inference_mode` made them."""
    with torch.inference_mode(False):
        return values.clone() if values.is_inference() else values


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A mode that is told every operation of torch, and leaves torch's compiler alone.

    Torch keeps its compiler from looking into a mode by a decorator that imports it: two seconds and 145 MB for each
    process. The networks in here run as they were written (`bgd.layers.tamed`), so it never looks.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
