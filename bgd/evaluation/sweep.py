"""The difference that a small edit makes, carried through the first changed layer and the one after.

With h what goes into a layer and z = W h + b its pre-activation, an edit of few rows U and columns J gives

    z'[U] = z[U] + (W' - W)[U, J] h[J] + (b' - b)[U]

and, with dh the difference that z' makes to the input of the next layer, in the units R that follow from U,

    z'_next = z_next + W'_next[:, R] dh + (W' - W)_next h_next + (b' - b)_next.

Every unit of the next layer has changed then, and the layers after it are run as they are. A difference is taken
once, from values that were computed in full (or are a bounded number of differences away): rounding does not pile up.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from bgd.evaluation.activations import Activations, take
from bgd.evaluation.flow import Part, put
from bgd.evaluation.layers import Edit, Layers, Stage, product
from bgd.layers import channels_last
from bgd.patch import Patch

WORTH = (
    0.5  # of the work of computing both layers anew; an edit that costs more is not carried as a difference
)
LIMIT = 1e3  # largest new value, and difference; a larger one, or inf or NaN, would take digits from the sum
MOST = 0.8  # of the images; if more have changed, leaving out the others costs more than it saves


class TooLarge(ArithmeticError):
    """A difference is not finite, or so large that adding it would take digits."""


@dataclass(frozen=True)
class Sweep:
    """A sparse edit of a layer, and maybe of the one after it.

    Attributes:
        layers: Of the patched network.
        first: The first stage that is edited.
        edit: What happens to it.
        after: The stage after it; None where there is none.
        edit_after: What happens to that; None for nothing.
        beyond: Whether layers after these two are edited as well: all images differ in the end then.
    """

    layers: Layers
    first: Stage
    edit: Edit
    after: Stage | None
    edit_after: Edit | None
    beyond: bool

    @classmethod
    def of(cls, layers: Layers, patch: Patch) -> "Sweep | None":
        """Return the sweep of a patch; None where its first layer is no stage or nothing is saved by differences."""
        if not patch.new.abs().max() <= LIMIT:
            return None  # what overflows, here or further up, may hang on the order of a sum
        numbers = layers.changed(patch)
        changed = min(numbers)
        following = [stage for stage in layers.stages if stage.at >= changed][:2]
        if not following or following[0].at != changed:
            return None
        first, after = following[0], following[1] if len(following) > 1 else None
        edit = layers.edit(patch, first, WORTH)
        edit_after = layers.edit(patch, after, 1.0) if after else None
        if edit is None:
            return None
        weights = layers.layer(first).weight
        whole, work = first.work, first.work * edit.work / weights.numel()
        if after:
            own = edit_after.work / layers.layer(after).weight.numel() if edit_after else 0
            whole += after.work
            work += (len(edit.rows) / len(weights) + own) * after.work
        beyond = max(numbers) > (after or first).at
        return cls(layers, first, edit, after, edit_after, beyond) if work < WORTH * whole else None

    @property
    def last(self) -> int:
        """The place that the differences get to."""
        return (self.after or self.first).at + 1

    @property
    def needs(self) -> set[int]:
        """Places of the unpatched network's values that must be kept: what is taken whole, or costs to do again."""
        return needs(self.layers, self.first, self.after)

    @torch.no_grad()
    def run(self, kept: Activations, write: bool = False) -> Iterator[Part]:
        """Carry the edit through all images.

        Args:
            kept: Values of the unpatched network, with what the sweep `needs`.
            write: Make the kept values up to `last` those of the patched network.

        Yields:
            The images in which something changes, and their values at `last`.

        Raises:
            TooLarge: The layer is to be computed anew. Some values may have been written by then.
        """
        reached = self._reached()
        weight = self.layers.layer(self.after).weight.index_select(1, reached) if self.after else None
        for block in kept.blocks(self.last):
            change = self._difference(self.first, self.edit, kept, block)
            if self.after is None or weight is None:
                inputs, moved = change, self._alone(kept, block, change)
            else:
                old = kept.some(self.first.at + 1, self.edit.rows, block)
                inputs = self._through(old + change) - self._through(old)
                moved = self._next(kept, block, inputs, weight)
            if write:  # after the last look at the old values
                for place in set(kept.values) & set(range(self.first.at + 1, self.last)):
                    rows, added = (reached, inputs) if place > self.first.at + 1 else (self.edit.rows, change)
                    kept.values[place][block].index_add_(1, rows, added)
                if moved:
                    put(kept.values[self.last], *moved)
            if moved:
                yield moved

    def _difference(self, stage: Stage, edit: Edit, kept: Activations, block: slice) -> torch.Tensor:
        """Return an edit's contribution to the pre-activations of its rows (k, u, ...), from unpatched inputs."""
        values = kept.some(stage.source, edit.columns, block)
        for module in self.layers.modules[stage.source : stage.at]:
            values = module(values)
        return _checked(edit.added(self.layers.layer(stage), values))

    def _through(self, values: torch.Tensor) -> torch.Tensor:
        """Run the layers between the two stages over some units or channels."""
        assert self.after is not None
        for module in self.layers.modules[self.first.at + 1 : self.after.at]:
            values = module(values)
        return values

    def _reached(self) -> torch.Tensor:
        """Return the inputs of the second layer that the edited rows lead to."""
        rows = self.edit.rows
        if self.after is None:
            return rows
        inputs = self.layers.layer(self.after).weight.shape[1]
        each = inputs // len(self.layers.layer(self.first).weight)  # above 1 where a flattening is between
        return (rows[:, None] * each + torch.arange(each, device=rows.device)).flatten()

    def _alone(self, kept: Activations, block: slice, change: torch.Tensor) -> Part | None:
        """Return the edited layer's pre-activations, all its rows, where no second layer follows."""
        images = self._images(_differs(change))
        if images is not None and not len(images):
            return None
        values = take(kept.values[self.last][block], images)
        values = values.clone() if images is None else values
        return _part(block, images, values.index_add_(1, self.edit.rows, take(change, images)))

    def _next(
        self, kept: Activations, block: slice, change: torch.Tensor, weight: torch.Tensor
    ) -> Part | None:
        """Return the second layer's pre-activations; `change` (k, R, ...) is that of its inputs."""
        assert self.after is not None
        differs, own = _differs(change), None
        if self.edit_after:
            own = self._difference(self.after, self.edit_after, kept, block)
            differs |= _differs(own)
        images = self._images(differs)
        if images is not None and not len(images):
            return None
        added = product(self.layers.layer(self.after), weight, channels_last(take(change, images)))
        if self.edit_after and own is not None:
            added.index_add_(1, self.edit_after.rows, take(own, images))
        return _part(block, images, _checked(added).add_(take(kept.values[self.last][block], images)))

    def _images(self, differs: torch.Tensor) -> torch.Tensor | None:
        """Return the numbers of the images that differ; None for all.

        An unknown layer gets the batches that the full evaluator gives it: it may look across images.
        """
        if self.beyond:
            return None
        images = differs.nonzero().flatten()
        enough = MOST * len(differs) if self.layers.all_known else 0
        return None if len(images) > enough else images


def _differs(change: torch.Tensor) -> torch.Tensor:
    """Return which images (k,) have a difference other than 0 in `change` (k, u, ...)."""
    return (change != 0).flatten(1).any(1)


def _checked(change: torch.Tensor) -> torch.Tensor:
    """Return a difference.

    Raises:
        TooLarge: It may not be added.
    """
    low, high = torch.aminmax(
        change.t() if change.dim() == 2 else change.permute(0, 2, 3, 1)
    )  # in memory's order
    if not (low >= -LIMIT and high <= LIMIT):  # NaN is neither
        raise TooLarge
    return change


def needs(layers: Layers, first: Stage, after: Stage | None) -> set[int]:
    """Return the places whose values must be kept for edits of a layer, and of the one after it."""
    units = {first.source, first.at + 1} | ({after.source} if after else set())
    return {place for place in units if not layers.is_cheap(place)} | {(after or first).at + 1}


def _part(block: slice, images: torch.Tensor | None, values: torch.Tensor) -> Part:
    """Return values of some images of a block, all for None, with the images' numbers."""
    return block if images is None else images + block.start, values
