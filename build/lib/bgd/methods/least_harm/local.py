"""First and second derivatives, at an edited tail, of a loss that is a sum over images of a function of the logits.

With J_n the Jacobian (C, P) of image n's logits, r_n (C,) the loss's gradient and M_n (C, C) its second derivative
with respect to those logits, the gradient is sum_n J_n' r_n and the generalized Gauss-Newton matrix
H = sum_n J_n' M_n J_n (Schraudolph, 2002). Neither J nor H is ever held: J_n is an outer product of what goes into a
layer and the logits' derivative with respect to what comes out of it.
"""

from functools import cached_property
from typing import Protocol

import torch

from bgd.methods.least_harm.tail import Edited, Support, Tail, edited_weights


class Metric(Protocol):
    """The second derivative M_n of a loss with respect to the logits, image by image."""

    def apply(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return M_n v_n for vectors (..., C, n)."""
        ...

    def diagonal(self) -> torch.Tensor:
        """Return the diagonals of M_n (C, n)."""
        ...


class SoftmaxMetric:
    """Of a cross-entropy or KL divergence of softmax outputs: M = diag(p) - p p'."""

    def __init__(self, probabilities: torch.Tensor) -> None:
        """Take the network's outputs p (C, n)."""
        self._p = probabilities

    def apply(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return M_n v_n for vectors (..., C, n)."""
        return self._p * (vectors - (self._p * vectors).sum(-2, keepdim=True))

    def diagonal(self) -> torch.Tensor:
        """Return p (1 - p) (C, n)."""
        return self._p * (1 - self._p)


class RankOneMetric:
    """Of a squared function of the logits, Gauss-Newton: M = a a'."""

    def __init__(self, factors: torch.Tensor) -> None:
        """Take a (C, n)."""
        self._a = factors

    def apply(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return M_n v_n for vectors (..., C, n)."""
        return self._a * (self._a * vectors).sum(-2, keepdim=True)

    def diagonal(self) -> torch.Tensor:
        """Return a squared (C, n)."""
        return self._a.square()


class Local:
    """Derivatives at one edit, over some of the images.

    Args:
        tail: The tail.
        weights: Its weights before the edit.
        edited: What the edited tail makes of the images.
        support: The edit's parameters.
        change: What is added to them (k,).
        chosen: Which images (m,); None for all.
    """

    def __init__(
        self,
        tail: Tail,
        weights: list[torch.Tensor],
        edited: Edited,
        support: Support,
        change: torch.Tensor,
        chosen: torch.Tensor | None = None,
    ) -> None:
        self.tail = tail
        self._pick = slice(None) if chosen is None else chosen
        self._edited = edited
        now = edited_weights(weights, support, change)
        classes = tail.classes
        eye = torch.eye(classes, dtype=edited.logits.dtype, device=edited.logits.device)
        self._count = edited.logits.shape[1] if chosen is None else len(chosen)
        # The logits' derivative with respect to each layer's outputs, (units, C, m), from the last layer down.
        self._slopes = [eye[:, :, None].expand(classes, classes, self._count)]
        for place in range(len(tail.layers) - 1, 0, -1):
            active = (edited.outputs(place - 1)[:, self._pick] > 0).to(eye.dtype)
            above = self._slopes[0]
            below = torch.tensordot(now[place][:, :-1], above, dims=([0], [0]))
            self._slopes.insert(0, below * active[:, None])

    @cached_property
    def _into(self) -> list[torch.Tensor]:
        """What goes into each layer, image by image (m, inputs + 1)."""
        above = range(1, len(self._slopes))
        first = self._edited.base.images[self._pick]
        return [first, *(self._edited.inputs(place)[:, self._pick].T for place in above)]

    def backward(self, residuals: torch.Tensor) -> torch.Tensor:
        """Return sum_n J_n' r_n (P,) for residuals (C, m), or one such row for each of several (k, C, m): (k, P)."""
        several = residuals.dim() == 3
        rows = residuals if several else residuals[None]
        matrices = []
        for place, slope in enumerate(self._slopes):
            top = place + 1 == len(self._slopes)
            deltas = rows if top else torch.einsum("ucm,kcm->kum", slope, rows)
            flat = deltas.reshape(-1, deltas.shape[-1]) @ self._into[place]
            matrices.append(flat.view(*deltas.shape[:2], -1))
        result = self.tail.pack(matrices)
        return result if several else result[0]

    def forward(self, vector: torch.Tensor) -> torch.Tensor:
        """Return J_n v (C, m) for a vector (P,)."""
        total = self._slopes[0].new_zeros(self.tail.classes, self._count)
        for place, (slope, matrix) in enumerate(zip(self._slopes, self.tail.unpack(vector), strict=True)):
            moved, top = matrix @ self._into[place].T, place + 1 == len(self._slopes)
            total += moved if top else torch.einsum("ucm,um->cm", slope, moved)
        return total

    def columns(self, support: Support) -> torch.Tensor:
        """Return J_n's columns of a support's parameters (k, C, m)."""
        slopes = self._slopes[0].new_empty(len(support), self.tail.classes, self._count)
        for place, part in support.parts.items():
            into = self._edited.inputs(place)[part.columns][:, self._pick]
            slopes[part.which] = self._slopes[place][part.rows[part.to]] * into[:, None]
        return slopes

    def squares(self, metric: Metric) -> torch.Tensor:
        """Return the diagonal of sum_n J_n' M_n J_n (P,)."""
        matrices = []
        for place, slope in enumerate(self._slopes):
            top = place + 1 == len(self._slopes)
            curvature = metric.diagonal() if top else (slope * metric.apply(slope)).sum(1)
            matrices.append(curvature @ self._into[place].square())
        return self.tail.pack(matrices)
