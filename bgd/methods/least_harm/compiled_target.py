"""One sample seen by compiled code: `target.Target` of a tail in float32 on the CPU, in float64."""

from functools import cached_property

import numpy as np
import torch

from bgd.methods.least_harm import single
from bgd.methods.least_harm.compiled import FEW, edit_of, edited, net_of
from bgd.methods.least_harm.lanes import Edit, Net
from bgd.methods.least_harm.tail import Support
from bgd.methods.least_harm.target import GRID, MARGIN, MULTIPLES, ROUNDS, TEMPERATURE, Room, Target

GRIDS = (np.array(MULTIPLES), GRID, ROUNDS)
LOOKS = len(MULTIPLES) + ROUNDS * GRID  # forward passes of a ray, as they are counted: all of its grids


class CompiledTarget(Target):
    """As `Target`. A change of many parameters is left to it."""

    @cached_property
    def _net(self) -> Net:
        return net_of(self._tail, self._weights)

    @cached_property
    def _image(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return self._tail.inputs(self._sample.image)[0].double().numpy()

    @cached_property
    def _still(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        values = np.empty(self._net.rows[-1])
        single.whole(self._net, self._image, values)
        return values

    @cached_property
    def _offset(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        offset = self._sample.offset
        return np.zeros(self._tail.classes) if offset is None else offset.double().flatten().numpy()

    @cached_property
    def _starts(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.array([*(layer.start for layer in self._tail.layers), self._tail.size])

    def _softened(self, edit: Edit) -> tuple[float, np.ndarray, np.ndarray]:
        values, slope = np.empty_like(self._still), np.empty(self._tail.classes)
        single.follow(self._net, edit, self._image, self._still, values)
        logits = values[self._net.rows[-2] :]
        return single.soften(logits, self._offset, self._label, TEMPERATURE, slope), slope, values

    def softened(self, support: Support, change: torch.Tensor) -> float:
        """Return the softened margin of the network with a change (k,) of a support's parameters."""
        if len(support) > FEW:
            return super().softened(support, change)
        self._trial.forward_passes += 1
        return self._softened(edit_of(support, change))[0]

    def rise(self, support: Support, change: torch.Tensor) -> tuple[float, torch.Tensor]:
        """Return the softened margin after a change (k,) and its gradient (P,)."""
        if len(support) > FEW:
            return super().rise(support, change)
        self._trial.forward_passes += 1
        self._trial.backward_passes += 1
        edit = edit_of(support, change)
        margin, slope, values = self._softened(edit)
        gradient = np.empty(self._tail.size, np.float32)
        single.descend(edited(self._net, edit), self._starts, self._image, values, slope, gradient)
        return margin, torch.from_numpy(gradient)

    def smallest(
        self, support: Support, change: torch.Tensor, room: Room | None = None
    ) -> torch.Tensor | None:
        """Return the smallest multiple of a change (k,) that makes the sample right; None where none up to 30 does."""
        if room is not None or len(support) > FEW:
            return super().smallest(support, change, room)
        factor = self._first_right(support.indices, edit_of(support, change), change)
        return change * factor if factor < float("inf") else None

    def smallest_alone(self, indices: torch.Tensor, changes: torch.Tensor) -> torch.Tensor:
        """Return the smallest changes (K,) of single parameters (K,) that make the sample right; infinite for none."""
        edit = edit_of(self._tail.support(indices), changes)
        factors = []
        for place in range(len(indices)):
            one = slice(place, place + 1)
            own = Edit(edit.layer[one], edit.unit[one], edit.column[one], edit.delta[one])
            factors.append(self._first_right(indices[one], own, changes[one]))
        return changes * torch.tensor(factors, dtype=torch.float64)

    def _first_right(self, indices: torch.Tensor, edit: Edit, change: torch.Tensor) -> float:
        self._trial.forward_passes += LOOKS
        old = self._trial.original[self._tail.places[indices]].numpy()
        deltas = edit._replace(delta=np.empty_like(edit.delta))  # to be written over
        changes = change.double().numpy()
        sample = (self._image, self._still, self._offset, self._label)
        return float(single.first_right(self._net, deltas, old, changes, *sample, GRIDS, MARGIN))
