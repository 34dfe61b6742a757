"""What a graph does to the logits of its head, seen by putting others in their place.

Exporters write a softmax as one operator or as seven. So the rest of the graph is run on logits that are drawn, and its
scores are compared with those of the tails here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from bgd import rng
from bgd.flat import NetworkError

TAILS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "nothing": lambda logits: logits,
    "softmax": lambda logits: logits.double().softmax(-1).to(logits.dtype),
    "log-softmax": lambda logits: logits.double().log_softmax(-1).to(logits.dtype),
    "sigmoid": lambda logits: logits.double().sigmoid().to(logits.dtype),
}
SPREAD = 3.0  # of the logits that are drawn: no score is far from all others


@dataclass(frozen=True)
class Tail:
    """What makes scores (N, C) of logits.

    Attributes:
        name: One of `TAILS`. Each keeps the order of a row.
        token: Of logits (N, T, C), the row that the scores are made of; None for logits (N, C).
    """

    name: str
    token: int | None

    def row(self, values: torch.Tensor) -> torch.Tensor:
        """Return the row (N, ...) of a sample that matters."""
        return values if self.token is None else values[:, self.token]

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the scores (N, C) of logits (N, C)."""
        return TAILS[self.name](logits)

    @classmethod
    def of(cls, rest: Callable[[torch.Tensor], torch.Tensor], logits: torch.Tensor) -> "Tail":
        """Tell which tail a graph has.

        Args:
            rest: Gives the scores (N, C) of any logits.
            logits: Of N inputs, (N, C) or (N, T, C).

        Raises:
            NetworkError: It is none that is known, or more than one row of a sample matters.
        """
        drawn = rng.stream(0, "logits of the tail").standard_normal(tuple(logits.shape)) * SPREAD
        probe = torch.from_numpy(drawn).to(logits.dtype)
        scores = rest(probe)
        tokens = [None] if probe.dim() == 2 else list(range(probe.shape[1]))
        fits = [tail for name in TAILS for token in tokens if _alike(tail := cls(name, token), probe, scores)]
        if len(fits) == 1:
            return fits[0]
        of_tokens = f", for any one of {len(tokens)} rows of a sample" if probe.dim() == 3 else ""
        raise NetworkError(
            f"the scores are not {', '.join(list(TAILS)[1:])} of the head's logits, nor these themselves{of_tokens}: "
            "head= names another MatMul or Gemm, or the network is corrected from its source"
        )


def _alike(tail: Tail, probe: torch.Tensor, scores: torch.Tensor) -> bool:
    made = tail(tail.row(probe))
    return made.shape == scores.shape and apart(made, scores) == 0


def apart(values: torch.Tensor, others: torch.Tensor) -> float:
    """Return the largest difference of two tensors; 0 where it is what rounding makes.

    That is half the digits of their type, of the largest value: two ways to compute the same lose a few of them, and
    two things that are not the same differ by more.
    """
    difference = float((values.double() - others.double()).abs().max()) if values.numel() else 0.0
    return (
        0.0 if difference <= torch.finfo(others.dtype).eps ** 0.5 * float(others.abs().max()) else difference
    )
