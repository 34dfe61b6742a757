"""Which of the fast evaluators a network gets."""

import torch
from torch import nn

from bgd.evaluation.full import Evaluation, ForkingEvaluator
from bgd.evaluation.incremental import MEMORY, IncrementalEvaluator
from bgd.evaluation.shelf import Shelf
from bgd.evaluation.small import SmallEvaluator


def fast_evaluator(
    network: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    batch_size: int = 100,
    base: Evaluation | None = None,
    memory: int = MEMORY,
    shelf: Shelf | None = None,
) -> ForkingEvaluator:
    """Return the compiled evaluator for a row of small layers, the incremental one for any other network.

    The arguments are those of `IncrementalEvaluator`; a small network needs neither a budget nor a shelf.
    """
    small = SmallEvaluator.of(network, images, labels, batch_size, base)
    return small or IncrementalEvaluator(network, images, labels, batch_size, base, memory, shelf)
