"""What a patch does to inputs that it is not about."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from bgd.comparison import Effects
from bgd.errors import ConfigError
from bgd.evaluation import FullEvaluator, IncrementalEvaluator, MarginEvaluation
from bgd.evaluation.incremental import MEMORY
from bgd.methods.trial import Correction, patch_of
from bgd.modes import ordinary
from bgd.outputs import readable
from bgd.parameters import ParameterSpace
from bgd.patch import Patch

__all__ = ["Effects", "Evaluator", "effects"]


class Evaluator(IncrementalEvaluator):
    """Evaluates patches of one model on the same inputs, by computing what a patch changes.

    Args:
        model: A classifier. It is copied, never changed.
        images: Inputs (N, ...), as the model takes them.
        labels: The right classes (N,); without them the model's own, so that a loss is one of agreement.
        batch_size: Inputs at a time.
        memory: Bytes for what is kept of the unpatched model.
        classes: The name of each class, for words and tables.

    Attributes:
        labels: The classes that losses and margins are of (N,).
        labelled: Whether they were given.
    """

    finding = MarginEvaluation

    @ordinary()
    def __init__(
        self,
        model: nn.Module,
        images: torch.Tensor,
        labels: torch.Tensor | None = None,
        batch_size: int = 100,
        memory: int = MEMORY,
        classes: Sequence[str] = (),
    ) -> None:
        network = readable(model, images, labels)
        self.labelled, self.classes = labels is not None, _checked_names(classes, network, images[:1])
        if labels is None:
            none = torch.zeros(len(images), dtype=torch.int64, device=images.device)
            labels = FullEvaluator(network, images, none, batch_size).logits(images).argmax(1)
        self.labels = labels = labels.long()
        super().__init__(network, images, labels, batch_size, memory=memory)
        self._space = ParameterSpace.of(network)

    @property
    @ordinary()
    def base(self) -> MarginEvaluation:
        """Evaluation of the model as it is now, made when first asked for."""
        return cast(MarginEvaluation, super().base)

    @ordinary()
    def after(self, patch: Patch | Correction) -> MarginEvaluation:
        """Evaluate the model with `patch` applied; the model stays as it is."""
        return cast(MarginEvaluation, super().after(patch_of(patch).over(self._space)))

    @ordinary()
    def advance(self, patch: Patch | Correction) -> None:
        """Make the patched model the one to evaluate."""
        super().advance(patch_of(patch).over(self._space))

    def effects(self, patch: Patch | Correction) -> Effects:
        """Compare the model with and without a patch, input by input."""
        return Effects(self.base, self.after(patch), self.labels, self.labelled, self.classes)


def effects(
    model: nn.Module,
    patch: Patch | Correction,
    images: torch.Tensor,
    labels: torch.Tensor | None = None,
    classes: Sequence[str] = (),
) -> Effects:
    """Compare a model with and without a patch on inputs that the patch is not about.

    Args:
        model: The one that the patch starts from. It is copied, never changed.
        patch: The change, or the correction that it is of.
        images: Inputs (N, ...).
        labels: The right classes (N,); without them the model's own stand for them, and every flip counts as broken.
        classes: The name of each class, for words and tables.

    Raises:
        PatchError: The patch does not start from the model.
        InputError: The model does not take the inputs, or has no such classes.
        ConfigError: There is no patch, or a class without a name.
    """
    return Evaluator(model, images, labels, classes=classes).effects(patch)


def _checked_names(classes: Sequence[str], network: nn.Module, image: torch.Tensor) -> tuple[str, ...]:
    """Return the names of a network's classes.

    Raises:
        ConfigError: There are more classes than names, or fewer.
    """
    if not classes:
        return ()
    with torch.no_grad():
        wanted = network(image.clone()).shape[-1]
    if isinstance(classes, str) or len(classes) != wanted:
        raise ConfigError(f"classes={classes!r:.80}: the model has {wanted} classes, and each needs a name")
    return tuple(map(str, classes))
