"""How large a weight may become where a sample says so: all weights of its tensor may share one scale."""

import torch

from bgd.methods.base import Sample, Trial
from bgd.methods.least_harm.tail import Support, Tail

ROUNDING = 1e-6  # relative; several units of float32


def limits_of(trial: Trial, sample: Sample, tail: Tail) -> torch.Tensor | None:
    """Return the largest absolute value that each parameter of a tail may take (P,), float64; None for any.

    That is the sample's `growth` times the largest weight of its tensor so far. A bias has no limit.
    """
    if sample.growth is None:
        return None
    limits = torch.full((tail.size,), torch.inf, dtype=torch.float64, device=tail.places.device)
    for layer in tail.layers:
        largest = trial.original[trial.space.span(layer.tensors[0])].abs().amax().double()
        limits[layer.start : layer.start + layer.units * layer.inputs] = sample.growth * largest
    return limits


def room_of(limits: torch.Tensor, trial: Trial, support: Support) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the least and the largest change (k,) that keeps each of a support's parameters to its limit (P,).

    A little less than that, so that what is rounded to a parameter's own type stays within it. No change always does.
    """
    before = trial.original[support.tail.places[support.indices]].double()
    most = (1 - ROUNDING) * limits[support.indices]
    return (-most - before).clamp_max(0), (most - before).clamp_min(0)


def beyond(limits: torch.Tensor | None, trial: Trial, support: Support, change: torch.Tensor) -> torch.Tensor:
    """Return which of a support's parameters a change (k,) takes beyond their limits (P,): a mask (k,)."""
    if limits is None:
        return torch.zeros_like(change, dtype=torch.bool)
    before = trial.original[support.tail.places[support.indices]]
    return (before + change).to(before.dtype).double().abs() > limits[support.indices]
