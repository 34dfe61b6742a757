"""Output bias: raise the bias of the right class until it wins (Liu et al., ICCAD 2017, the single bias attack)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

from bgd.methods.base import Correction, Sample, Trial
from bgd.methods.last_layer.head import NOT_FINITE, Head, check_margin, widened

VERSION = 1  # raised whenever the same options may give another correction


@dataclass(frozen=True)
class OutputBias:
    """Adds m + margin to the bias b_t of the right class, where m = max over c of z_c, less z_t.

    One parameter, in closed form, wherever the last layer has a bias: a floor of how few parameters must change that
    knows nothing and spares nothing. Every image whose deficit to t is below m becomes a t.

    Attributes:
        margin: By which the right class wins, in logits. The default is above what float32 rounds away; larger ones do
            more harm to held-out images.
    """

    knows: ClassVar[str] = "nothing"

    margin: float = 0.01

    def __post_init__(self) -> None:
        check_margin(self.margin)

    def draws(self, network: nn.Module) -> bool:
        """No random numbers."""
        return False

    def correct(self, trial: Trial, sample: Sample, stream: np.random.Generator) -> Correction:
        """Raise the bias; see `Method.correct`."""
        head = Head(trial, sample)
        if not head.bias:
            return Correction.failed("the last layer has no bias")
        view = head.view(sample)
        if not view.finite:
            return Correction.failed(NOT_FINITE)
        for tries, margin in enumerate(widened(self.margin), start=1):
            change = np.zeros_like(head.values)
            change[view.label, -1] = view.deficit + margin
            if head.right_with(change, sample):
                return head.correction(tries)
        return Correction.failed(f"rounding leaves it wrong by a margin of {margin:g}", tries)
