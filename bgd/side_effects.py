"""What a patch does to inputs that it is not about."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from bgd.evaluation import Evaluation, FullEvaluator, IncrementalEvaluator
from bgd.evaluation.incremental import MEMORY
from bgd.methods.trial import Correction, patch_of
from bgd.modes import ordinary
from bgd.outputs import readable
from bgd.parameters import ParameterSpace
from bgd.patch import Patch

if TYPE_CHECKING:
    import pandas as pd

QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)


class Evaluator(IncrementalEvaluator):
    """Evaluates patches of one model on the same inputs, by computing what a patch changes.

    Args:
        model: A classifier. It is copied, never changed.
        images: Inputs (N, ...), as the model takes them.
        labels: The right classes (N,); without them the model's own, so that a loss is one of agreement.
        batch_size: Inputs at a time.
        memory: Bytes for what is kept of the unpatched model.
    """

    @ordinary()
    def __init__(
        self,
        model: nn.Module,
        images: torch.Tensor,
        labels: torch.Tensor | None = None,
        batch_size: int = 100,
        memory: int = MEMORY,
    ) -> None:
        network = readable(model, images, labels)
        if labels is None:
            none = torch.zeros(len(images), dtype=torch.int64, device=images.device)
            labels = FullEvaluator(network, images, none, batch_size).logits(images).argmax(1)
        self.labels = labels = labels.long()
        super().__init__(network, images, labels, batch_size, memory=memory)
        self._space = ParameterSpace.of(network)

    @property
    @ordinary()
    def base(self) -> Evaluation:
        """Evaluation of the model as it is now, made when first asked for."""
        return super().base

    @ordinary()
    def after(self, patch: Patch | Correction) -> Evaluation:
        """Evaluate the model with `patch` applied; the model stays as it is."""
        return super().after(patch_of(patch).over(self._space))

    @ordinary()
    def advance(self, patch: Patch | Correction) -> None:
        """Make the patched model the one to evaluate."""
        super().advance(patch_of(patch).over(self._space))

    def effects(self, patch: Patch | Correction) -> "Effects":
        """Compare the model with and without a patch, input by input."""
        return Effects(self.base, self.after(patch), self.labels)


@dataclass(frozen=True, eq=False)
class Effects:
    """A model on N inputs, with a patch and without.

    Attributes:
        before, after: Loss and class of each input.
        labels: The classes that losses and accuracies are of (N,).
    """

    before: Evaluation
    after: Evaluation
    labels: torch.Tensor

    def __len__(self) -> int:
        """Number of inputs."""
        return len(self.labels)

    @property
    def flipped(self) -> torch.Tensor:
        """Numbers of the inputs whose class is another one (k,)."""
        return (self.before.predictions != self.after.predictions).nonzero().flatten()

    @property
    def broken(self) -> torch.Tensor:
        """Numbers of the inputs that were right and are wrong (k,)."""
        right, still = self.before.predictions == self.labels, self.after.predictions == self.labels
        return (right & ~still).nonzero().flatten()

    @property
    def fixed(self) -> torch.Tensor:
        """Numbers of the inputs that were wrong and are right (k,)."""
        right, now = self.before.predictions == self.labels, self.after.predictions == self.labels
        return (~right & now).nonzero().flatten()

    @property
    def accuracy(self) -> tuple[float, float]:
        """Share of the inputs that are right, in [0, 1], before and after."""
        before, after = (
            float((each.predictions == self.labels).double().mean()) for each in (self.before, self.after)
        )
        return before, after

    def loss_quantiles(self) -> dict[float, float]:
        """Return quantiles 0, 0.05, 0.5, 0.95 and 1 of the change in loss over the inputs, in nats; 1 is the worst."""
        change = (self.after.losses - self.before.losses).cpu()
        found = torch.quantile(change, torch.tensor(QUANTILES, dtype=change.dtype))
        return dict(zip(QUANTILES, found.tolist(), strict=True))

    def to_frame(self) -> "pd.DataFrame":
        """Return a row for each input whose class is another one, as a pandas DataFrame.

        Its columns: `input` (its number), `label`, `before`, `after` and `loss_change`, in nats.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("to_frame gives a pandas DataFrame: pip install pandas") from error
        which = self.flipped
        columns = {
            "input": which,
            "label": self.labels[which],
            "before": self.before.predictions[which],
            "after": self.after.predictions[which],
            "loss_change": (self.after.losses - self.before.losses)[which],
        }
        return pd.DataFrame({name: values.tolist() for name, values in columns.items()})

    def __str__(self) -> str:
        before, after = self.accuracy
        return (
            f"{len(self.flipped):,} of {len(self):,} inputs change class: {len(self.broken):,} from right to wrong, "
            f"{len(self.fixed):,} from wrong to right; accuracy {before:.4f} to {after:.4f}"
        )


def effects(
    model: nn.Module, patch: Patch | Correction, images: torch.Tensor, labels: torch.Tensor | None = None
) -> Effects:
    """Compare a model with and without a patch on inputs that the patch is not about.

    Args:
        model: The one that the patch starts from. It is copied, never changed.
        patch: The change, or the correction that it is of.
        images: Inputs (N, ...).
        labels: The right classes (N,); without them the model's own stand for them, and every flip counts as broken.

    Raises:
        PatchError: The patch does not start from the model.
        InputError: The model does not take the inputs, or has no such classes.
        ConfigError: There is no patch.
    """
    return Evaluator(model, images, labels).effects(patch)
