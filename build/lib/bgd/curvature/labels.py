"""Gradients of the cross-entropy by the logits, for the labels that an estimate takes an expectation over.

With p = softmax(z) the cross-entropy of label c has the gradient p - e_c by the logits z, and over labels c ~ p

    E[(p - e_c) (p - e_c)^T] = diag(p) - p p^T = Hessian of the cross-entropy by z, whatever the label,

so that the Fisher information J^T E[...] J, with J = dz/dw, is the generalised Gauss-Newton matrix (Martens 2020, New
insights and perspectives on the natural gradient method, section 9.2).
"""

import math

import numpy as np
import torch


def away(probabilities: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Return p - e_c (B, C) for probabilities (B, C) and classes (B,).

    Entry c is minus the sum of the others, which 1 - p_c is not where p_c rounds to 1.
    """
    place = classes[:, None]
    others = probabilities.scatter(1, place, 0.0)
    return others.scatter(1, place, -others.sum(dim=1, keepdim=True))


def of_labels(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the gradient by the logits for given labels (1, B, C)."""
    return away(logits.softmax(dim=1), labels)[None]


def of_model(
    logits: torch.Tensor, temperature: float, draws: int | None, stream: np.random.Generator
) -> torch.Tensor:
    """Return vectors v_k (K, B, C) with sum_k v_k v_k^T = diag(p) - p p^T for p = softmax(z / temperature).

    Exactly for `draws` None, with K = C and v_c = sqrt(p_c) (p - e_c); else in expectation, with K = draws labels
    from p and v_k = (p - e_k) / sqrt(K).

    Args:
        logits: (B, C).
        temperature: At least 1.
        draws: Labels an image.
        stream: Random numbers; an image takes the same ones whatever the batches.
    """
    p = (logits / temperature).softmax(dim=1)
    count, classes = p.shape
    if draws is None:
        every = torch.arange(classes, device=p.device).expand(count, -1).T
        return torch.stack([p[:, [c]].sqrt() * away(p, label) for c, label in enumerate(every)])
    uniform = torch.from_numpy(stream.random((count, draws)))
    edges = p.double().cpu().cumsum(dim=1)  # a card's sum need not come out the same twice
    drawn = torch.searchsorted(edges / edges[:, -1:], uniform, right=True).to(p.device)
    return torch.stack([away(p, label) for label in drawn.T]) / math.sqrt(draws)


def check_model(temperature: float, draws: int | None) -> None:
    """Hold the options of `of_model` to what they must be.

    Raises:
        ValueError: `temperature` is below 1, or `draws` is.
    """
    if not (math.isfinite(temperature) and temperature >= 1):
        raise ValueError(f"temperature={temperature}: must be at least 1")
    if draws is not None and draws < 1:
        raise ValueError(f"draws={draws}: must be at least 1, or null for the exact expectation")
