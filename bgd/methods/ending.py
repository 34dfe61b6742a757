"""The last operation of a pass: probabilities look like other positive numbers, and a softmax does not."""

from typing import Any

import torch
from torch import nn
from torch.utils.weak import WeakTensorKeyDictionary

from bgd.modes import Watch


@torch.no_grad()
def ending(network: nn.Module, image: torch.Tensor) -> tuple[Any, str]:
    """Pass an image through a network.

    A graph of gradients would tell the operation too, and hold every value on the way, as much as the gradient itself
    takes.

    Returns:
        What the network gives, and the name of the operation that it comes out of, such as aten::_softmax; empty for
        what is no tensor, and where no operation of torch gave it.
    """
    notes = _Notes()
    with notes:
        outputs = network(image)
    return outputs, notes.names.get(outputs, "") if isinstance(outputs, torch.Tensor) else ""


class _Notes(Watch):
    """Notes which operation each tensor comes out of, as long as the tensor is there."""

    def __init__(self) -> None:
        super().__init__()
        self.names = WeakTensorKeyDictionary()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        for each in found if isinstance(found, (tuple, list)) else (found,):
            if isinstance(each, torch.Tensor):
                self.names[each] = func._schema.name
        return found
