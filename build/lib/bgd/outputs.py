"""What models give back: a tensor, `.logits`, `["logits"]` or the first of a tuple, brought to one form."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from bgd.flat import private_copy


def logits_in(outputs: Any) -> Any:
    """Return the logits in a model's outputs; the outputs themselves where they have none."""
    if isinstance(outputs, torch.Tensor):
        return outputs
    if isinstance(outputs, Mapping) and "logits" in outputs:
        return outputs["logits"]
    if hasattr(outputs, "logits"):
        return outputs.logits
    if isinstance(outputs, (tuple, list)) and outputs:
        return outputs[0]
    return outputs


def readable(model: nn.Module, image: torch.Tensor) -> nn.Module:
    """Return a copy of a model, in eval mode, that gives logits alone.

    Args:
        model: Left as it is.
        image: An input (1, ...) to see what it returns.
    """
    copied = private_copy(model).eval()
    with torch.no_grad():
        outputs = copied(image.clone())
    packed = not isinstance(outputs, torch.Tensor) and isinstance(logits_in(outputs), torch.Tensor)
    return Logits(copied) if packed else copied


class Logits(nn.Module):
    """A model whose outputs are logits alone.

    Args:
        model: Gives them inside something else.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Any) -> Any:
        """Run the model and take the logits out of what it gives."""
        return logits_in(self.model(*inputs))
