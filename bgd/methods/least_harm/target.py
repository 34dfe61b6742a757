"""The sample that is to be made right: by how much it leads, how that rises, and how far a change must go for it."""

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from torch import nn

from bgd.flat import FlatNetwork
from bgd.layers import editable_linear, entering
from bgd.methods.base import Sample, Trial
from bgd.methods.glimpse import Edits, Glimpse
from bgd.methods.layers import known_layers
from bgd.methods.least_harm.growth import beyond, limits_of, room_of
from bgd.methods.least_harm.local import Local
from bgd.methods.least_harm.tail import Activations, Edited, Support, Tail

MARGIN = 1e-3  # logits by which the right class has to lead: well above the rounding of float32
TEMPERATURE = 0.1  # logits; of the softened margin
MULTIPLES = (0.25, 0.5, 0.75, 1.0, 1.05, 1.15, 1.3, 1.6, 2.0, 3.0, 5.0, 8.0, 15.0, 30.0)
Room = tuple[torch.Tensor, torch.Tensor]  # the least and the largest change of each parameter (k,), float64
GRID = 16  # points at which a bracket is looked at, at once
ROUNDS = 3  # of them: the smallest multiple to 1 / 16^3 of a bracket


class Target:
    """One sample, seen by networks that are an edit of the tail away.

    Its margin is z_t - max_c z_c over the wrong classes c; the softened margin z_t - T log sum_c exp(z_c / T) is
    smooth, below it, and equal to it in the limit T -> 0: it counts every rival.
    """

    def __init__(self, trial: Trial, tail: Tail, weights: list[torch.Tensor], sample: Sample) -> None:
        """Look at a sample with a trial's network, which is not to be changed while this is in use."""
        self._trial, self._tail, self._weights = trial, tail, weights
        self._sample, self._label = sample, int(sample.label)

    @cached_property
    def _base(self) -> Activations:
        return Activations(self._tail.inputs(self._sample.image), self._weights)

    @cached_property
    def _seen(self) -> tuple[Glimpse, torch.Tensor]:
        return _glimpse(self._trial, self._tail, self._sample.image)

    @cached_property
    def limits(self) -> torch.Tensor | None:
        """The largest absolute value that each parameter may take (P,); None for any."""
        return limits_of(self._trial, self._sample, self._tail)

    def beyond(self, support: Support, change: torch.Tensor) -> torch.Tensor:
        """Return which of a support's parameters a change (k,) takes beyond their limits: a mask (k,)."""
        return beyond(self.limits, self._trial, support, change)

    def room(self, support: Support) -> Room | None:
        """Return between which changes (k,) a support's parameters keep to their limits; None without limits."""
        return None if self.limits is None else room_of(self.limits, self._trial, support)

    @property
    def own(self) -> torch.Tensor:
        """The right class's own parameters in the last layer (inputs + 1,): on each the margin depends linearly."""
        return self._tail.layers[-1].row(self._label).to(self._tail.places.device)

    def margins(self, indices: torch.Tensor, changes: torch.Tensor) -> torch.Tensor:
        """Return the margins (B,) of networks, -inf where a logit is not finite.

        Args:
            indices: Parameters of the tail that each network differs in (k, B).
            changes: What is added to them (k, B).
        """
        count = indices.shape[1]
        places = self._tail.places[indices]
        values = self._trial.original[places] + changes.to(self._trial.original.dtype)
        rows = np.tile(np.arange(count), len(indices))
        glimpse, own = self._seen
        edits = Edits(count, rows, own[indices].flatten().cpu().numpy(), values.flatten())
        self._trial.forward_passes += count
        logits = self._sample.judged(glimpse.of(edits))
        margins = logits[:, self._label] - self._rivals(logits.T).amax(0)
        return torch.where(torch.isfinite(logits).all(1), margins, -torch.inf)

    def _rivals(self, logits: torch.Tensor) -> torch.Tensor:
        """Return logits (C, n) with the right class out of the running."""
        rivals = logits.clone()
        rivals[self._label] = -torch.inf
        return rivals

    def softened(self, support: Support, change: torch.Tensor) -> float:
        """Return the softened margin of the network with a change (k,) of a support's parameters."""
        self._trial.forward_passes += 1
        logits = Edited(self._base, self._weights, support, change).logits
        return self._soften(logits)[0]

    def _soften(self, logits: torch.Tensor) -> tuple[float, torch.Tensor]:
        """Return the softened margin of logits (C, 1) and its gradient (C, 1)."""
        logits = self._sample.judged(logits.T).T
        scaled = self._rivals(logits) / TEMPERATURE
        slope = -scaled.softmax(0)
        slope[self._label] = 1
        return float(logits[self._label]) - TEMPERATURE * float(scaled.logsumexp(0)), slope

    def rise(self, support: Support, change: torch.Tensor) -> tuple[float, torch.Tensor]:
        """Return the softened margin after a change (k,) and its gradient (P,)."""
        edited = Edited(self._base, self._weights, support, change)
        self._trial.forward_passes += 1
        self._trial.backward_passes += 1
        margin, slope = self._soften(edited.logits)
        return margin, Local(self._tail, self._weights, edited, support, change).backward(slope)

    def smallest(
        self, support: Support, change: torch.Tensor, room: Room | None = None
    ) -> torch.Tensor | None:
        """Return the smallest multiple of a change (k,) that makes the sample right; None where none up to 30 does.

        Each parameter goes as far as `room` lets it, and stays there while the others go on.
        """
        columns = support.indices[:, None]

        def times(multiples: torch.Tensor) -> torch.Tensor:
            steps = change[:, None] * multiples
            return steps if room is None else steps.clamp(room[0][:, None], room[1][:, None])

        def look(multiples: torch.Tensor) -> torch.Tensor:
            steps = times(multiples)
            return self.margins(columns.expand_as(steps), steps)[None]

        factor = _first_right(look, 1, change.device)
        if not torch.isfinite(factor).all():
            return None
        return change * float(factor[0]) if room is None else times(factor)[:, 0].to(change.dtype)

    def smallest_alone(self, indices: torch.Tensor, changes: torch.Tensor) -> torch.Tensor:
        """Return the smallest changes (K,) of single parameters (K,) that make the sample right; infinite for none."""

        def look(multiples: torch.Tensor) -> torch.Tensor:
            steps = changes[:, None] * multiples
            flat = steps.reshape(1, -1)
            which = indices[:, None].expand_as(steps).reshape(1, -1)
            return self.margins(which, flat).view_as(steps)

        return changes * _first_right(look, len(indices), changes.device)


def _glimpse(trial: Trial, tail: Tail, image: torch.Tensor) -> tuple[Glimpse, torch.Tensor]:
    """Return a glimpse of an image for edits of a tail, and the flat places of the tail's parameters in it (P,).

    Of a network that is no row of plain layers the tail is looked through alone: running the whole network for each
    edit would compute the same inputs of the tail each time.
    """
    if known_layers(trial.network, trial.space):
        return Glimpse(trial.network, trial.space, trial.flat, image), tail.places
    linear = [editable_linear(trial.network, layer.name) for layer in tail.layers]
    row = nn.Sequential(linear[0], *(each for layer in linear[1:] for each in (nn.ReLU(), layer)))
    alone = FlatNetwork(row, trial.flat.device)
    inputs = entering(trial.network, tail.layers[0].name, image, 1)
    own = torch.arange(tail.size, device=trial.flat.device)
    return Glimpse(alone.module, alone.space, alone.flat, inputs), own


def _first_right(
    look: Callable[[torch.Tensor], torch.Tensor], count: int, device: torch.device
) -> torch.Tensor:
    """Return, for each of `count` rays, the smallest multiple at which the sample is right, as far as a grid sees.

    Args:
        look: Gives the margins (count, G) at multiples (count, G).
        count: How many rays.
        device: Of the multiples.

    Returns:
        float64 (count,), infinite where no multiple is right. The sample is right there, and at the grid's point
        just below it is wrong.
    """
    multiples = torch.tensor(MULTIPLES, dtype=torch.float64, device=device).expand(count, -1)
    low, high = multiples.new_zeros(count), multiples.new_full((count,), torch.inf)
    grid = torch.arange(1, GRID + 1, dtype=torch.float64, device=device) / GRID
    for _ in range(ROUNDS + 1):
        right = look(multiples) >= MARGIN
        found, first = right.max(1)
        below = torch.cat([low[:, None], multiples], dim=1).gather(1, first[:, None])[:, 0]
        low = torch.where(found, below, low)
        high = torch.where(found, multiples.gather(1, first[:, None])[:, 0], high)
        bounded = torch.where(torch.isfinite(high), high, low)
        multiples = low[:, None] + (bounded - low)[:, None] * grid
    return high
