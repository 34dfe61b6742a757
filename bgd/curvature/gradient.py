"""The mean gradient of the training loss: the statistic of first order."""

import torch
import torch.nn.functional as F
from torch import nn

from bgd.progress import followed


def mean_gradient(
    network: nn.Module, images: torch.Tensor, labels: torch.Tensor, batch_size: int = 100
) -> torch.Tensor:
    """Return the gradient of the mean cross-entropy over images (N, ...), flat (|W|,): Ḡ of the thesis, section 4.6.

    It is 0 at parameters that are frozen, and at those that do not lead to the outputs.
    """
    parameters = list(network.parameters())
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    total = [torch.zeros_like(parameter, requires_grad=False) for parameter in parameters]
    batches = list(zip(images.split(batch_size), labels.split(batch_size), strict=True))
    for batch, target in followed("batches of training inputs", batches):
        loss = F.cross_entropy(network(batch.clone()), target, reduction="sum")  # it may write over them
        found = torch.autograd.grad(loss, trained, materialize_grads=True) if trained else ()
        parts = (each for each, parameter in zip(total, parameters, strict=True) if parameter.requires_grad)
        for part, gradient in zip(parts, found, strict=True):
            part += gradient
    return torch.cat([part.reshape(-1) for part in total]) / len(labels)
