"""The unpatched model of a stack, privately: what a patch writes over it, and whether a fix's inputs are right."""

from contextlib import AbstractContextManager
from functools import partial

import torch
from torch import nn

from bgd.corrector import Labels, labels_of
from bgd.errors import ConfigError
from bgd.flat import FlatNetwork
from bgd.methods.ending import ending
from bgd.methods.sample import Sample, checked_image, checked_logits
from bgd.methods.steady import check_steady
from bgd.modes import ordinary
from bgd.outputs import opened, passed
from bgd.patch import Patch, PatchError, bits
from bgd.stack.fix import Fix


class Checker:
    """Runs a copy of a model, with patches and without.

    Args:
        model: It is copied, never changed; the copy is in eval mode.

    Attributes:
        module: The copy; unpatched outside a block of `patched`.
        space: Its parameters.
        nothing: The patch that changes nothing.
    """

    def __init__(self, model: nn.Module) -> None:
        device = next((each.device for each in model.parameters()), torch.device("cpu"))
        self._network, self._looked = FlatNetwork(model, device), False
        self.module, self.space = self._network.module, self._network.space
        none = self._network.flat[:0].clone()
        self.nothing = Patch(self.space, none.long(), none, none)

    def patched(self, patch: Patch) -> AbstractContextManager[None]:
        """Apply a patch of the unpatched model inside a block."""
        return self._network.patched(patch)

    def labels(self, x: torch.Tensor | None, y: Labels | None) -> tuple[int, ...]:
        """Return a class for each input; at the first inputs, look whether the model's outputs have to be unpacked.

        Raises:
            ConfigError: There are inputs without classes, or the other way.
            InputError: The model does not take them.
        """
        if (x is None) != (y is None):
            raise ConfigError("x and y go together: inputs, and the right class of each")
        if x is None or y is None:
            return ()
        labels = labels_of(x, y)
        if not self._looked:
            first = checked_image(_sample(0, x, labels[0]), self._network.flat)
            with ordinary():
                opened(self.module, first)
                check_steady(self._network, self._network.flat.clone(), first)
            self._looked = True
        return tuple(labels)

    def rebased(self, patch: Patch, whole: Patch) -> Patch:
        """Return the values that a patch writes, as a patch of the unpatched model.

        Some of its values may be those that are there already: another fix beneath it changes them.

        Args:
            patch: Made on top of the stack or of the unpatched model.
            whole: The stack.

        Raises:
            PatchError: The patch starts from neither.
        """
        if not len(patch):
            raise PatchError("the patch changes nothing")
        with self.patched(whole):
            stacked = patch.verify(self.module)
        if stacked.state != "base" and patch.verify(self.module).state != "base":
            why = stacked.reason or "the stack holds its values already"
            raise PatchError(f"the patch starts from neither the stacked nor the unpatched model: {why}")
        moved, flat = patch.over(self.space), self._network.flat
        indices = moved.indices.to(flat.device)
        return Patch(self.space, indices, flat[indices], moved.new.to(flat.device), moved.metadata)

    def overwritten(self, patch: Patch) -> int:
        """Return how many of a patch's values the model, as it is now, does not hold."""
        return int((bits(self._network.flat[patch.indices]) != bits(patch.new)).sum())

    @ordinary()
    def is_right(self, fix: Fix) -> bool | None:
        """Say whether the model, as it is now, reaches a fix's goal on all of its inputs; None where it has none.

        Raises:
            InputError: The model does not take the inputs, or has no such classes.
        """
        if fix.x is None:
            return None
        inputs = fix.x.to(self._network.flat.device)
        for place, label in enumerate(fix.labels):
            sample = _sample(place, inputs, label)
            image = checked_image(sample, self._network.flat)
            outputs, last = ending(self.module, image)
            logits = checked_logits(self.module, outputs, sample, last)
            fix.goal.check(logits.shape[1])
            with torch.no_grad():
                if not fix.goal.met(logits, label, partial(passed, self.module, image)):
                    return False
        return True


def _sample(place: int, x: torch.Tensor, label: int) -> Sample:
    return Sample(place, x[place : place + 1], torch.tensor([label], device=x.device))
