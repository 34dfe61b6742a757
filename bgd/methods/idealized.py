"""The approximate idealized subset selector (Algorithm 1, section 3.1) over a retrained network."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import nn

from bgd.flat import FlatNetwork
from bgd.methods.base import Answer, Correction, Sample, Trial
from bgd.methods.descent import SampleDescent
from bgd.methods.elimination import Elimination, margins
from bgd.methods.glimpse import Glimpse
from bgd.methods.gradient import gradients
from bgd.patch import Patch

VERSION = 1  # raised whenever the same options may give another correction


@dataclass(frozen=True)
class IdealizedSelector:
    """Retrains the network on the sample, then restores every parameter that is not needed to get it right.

    The greedy choice uses up the margin by which the label's logit leads, down to the rounding of the network's type.
    The margin is therefore taken in float64 and has to be above that rounding, or what is restored would be chance.

    Forward passes are counted as the printed algorithm takes them: those of retraining, then one for each parameter
    gone through. Those that the guesses behind `Elimination` take beside them, or save, are not.

    Attributes:
        retrain: Gives W_R, from the network's W_0.
        tensors: Names of the parameters that are retrained and then gone through; None for all, as printed. To go
            through all of AlexNet takes millions of forward passes for a sample.
    """

    retrain: SampleDescent = field(default_factory=SampleDescent)
    tensors: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.retrain.tensors is not None:
            raise ValueError(
                f"retrain.tensors={list(self.retrain.tensors)}: must be null; set tensors in its place"
            )

    def draws(self, network: nn.Module) -> bool:
        """Only retraining may draw."""
        return self.retrain.draws(network)

    def correct(self, trial: Trial, sample: Sample, stream: np.random.Generator) -> Correction:
        """Retrain, then restore; see `Method.correct`.

        The steps of the correction are the parameters gone through, |W_R|; of one that fails, the gradient steps.
        """
        retrained = replace(self.retrain, tensors=self.tensors).correct(trial, sample, stream)
        if retrained.patch is None:
            return retrained
        self._restore(trial, sample, retrained.patch)
        trial.forward_passes += retrained.altered
        patch = trial.patch()
        return Correction(patch, altered=len(patch), steps=retrained.altered, carry=retrained.carry)

    def _restore(self, trial: Trial, sample: Sample, change: Patch) -> None:
        """Restore the parameters of a change as far as the sample stays right."""
        wide = FlatNetwork(trial.network, trial.flat.device, torch.float64)
        image = sample.image.double()
        narrow = Glimpse(trial.network, trial.space, trial.flat, sample.image)
        glimpse = Glimpse(wide.module, trial.space, wide.flat, image)

        def gradient() -> torch.Tensor:
            margin = margins(wide.module(image), sample).sum()
            whole = torch.zeros_like(wide.flat)
            for name, each in gradients(margin, wide.module, wide.space).items():
                whole[wide.space.span(name)] = each.reshape(-1)
            return whole

        indices, old = change.indices.cpu().numpy(), change.old
        gone = Elimination(glimpse, sample, indices, old.double(), gradient, 2 * narrow.slack).run()
        back = torch.from_numpy(gone).to(old.device)
        where = change.indices[back]
        if not Answer.of(narrow.move(where, old[back]), sample).right:  # rounding was worse than the slack
            narrow.move(where, change.new[back])
