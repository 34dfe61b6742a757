"""Gradient descent on the one sample that is held back by a penalty: EWC, L2-SP and a divergence on a keep-set."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from bgd.curvature.base import CurvatureError, Estimator
from bgd.curvature.diagonal import EmpiricalFisher
from bgd.layers import channels_last
from bgd.methods.base import Correction, Sample, Trial
from bgd.methods.gradient import Gradient, Pass, linear_layers_of, unfrozen
from bgd.methods.momentum import NOTHING, Hold, RowSteps, Steps, WholeSteps, by_rows
from bgd.progress import followed

VERSION = 1  # raised whenever the same options may give another correction

BATCH = 500  # images at a time, where no gradient is wanted


class Penalty(Protocol):
    """A term of the loss that grows with what a correction does to the network; its gradient at the start is zero.

    A frozen dataclass: its fields are its options.
    """

    def draws(self) -> bool:
        """Return whether it draws random numbers."""
        ...

    def hold(self, trial: Trial) -> Hold:
        """Return the pull that holds each parameter back, with its curvature asked for where it needs one.

        Raises:
            CurvatureError: The network has no usable curvature.
        """
        ...

    def gradient(self, trial: Trial, stream: np.random.Generator) -> Gradient:
        """Return the gradient of the rest of the penalty at the copy as it is now, of every parameter or of none."""
        ...


@dataclass(frozen=True)
class ElasticWeightConsolidation:
    """strength / 2 * sum_j F_j (w_j - w0_j)^2, with F the diagonal of the Fisher information of D.

    Kirkpatrick et al., "Overcoming catastrophic forgetting in neural networks", PNAS 2017, Eq. 3.

    Attributes:
        strength: lambda. The default is chosen with a learning rate of 3e-5, on held-out errors of an MLP; steps of
            this size diverge on it at 1e5.
        estimator: Of the curvature whose diagonal is F.
    """

    strength: float = 10000.0
    estimator: Estimator = field(default_factory=EmpiricalFisher)

    def __post_init__(self) -> None:
        check_strength(self.strength)

    def draws(self) -> bool:
        """No."""
        return False

    def hold(self, trial: Trial) -> Hold:
        """Return the pull strength * F (w - w0)."""

        def make() -> torch.Tensor:
            return trial.curvature(self.estimator).diagonal()

        return Hold(self.strength, trial.kept(f"diagonal of {self.estimator}", make))

    def gradient(self, trial: Trial, stream: np.random.Generator) -> Gradient:
        """Nothing is left."""
        return NOTHING


@dataclass(frozen=True)
class StartingPoint:
    """strength / 2 * ||w - w0||^2, L2-SP.

    Li, Grandvalet and Davoine, "Explicit inductive bias for transfer learning with convolutional networks", ICML 2018,
    Eq. 1, of all parameters alike.

    Attributes:
        strength: alpha. The default is chosen on held-out errors: 400 leaves more samples wrong.
    """

    strength: float = 200.0

    def __post_init__(self) -> None:
        check_strength(self.strength)

    def draws(self) -> bool:
        """No."""
        return False

    def hold(self, trial: Trial) -> Hold:
        """Return the pull strength * (w - w0)."""
        return Hold(self.strength)

    def gradient(self, trial: Trial, stream: np.random.Generator) -> Gradient:
        """Nothing is left."""
        return NOTHING


@dataclass(frozen=True)
class KeepSetDivergence:
    """strength * KL(N0 || N), averaged over images of the keep-set: no label of theirs is needed.

    N0 is the network that is to be corrected. Li and Hoiem, "Learning without forgetting", ECCV 2016, hold a network
    back by its own former outputs like this, on the images of the new task.

    Attributes:
        strength: Factor on the divergence in nats. The default is chosen on held-out errors: 300 and 2000 are
            worse.
        keep: How many images of the keep-set, the first ones; None for all.
        batch: How many of them, drawn anew, each step is over; None for all.
    """

    strength: float = 1000.0
    keep: int | None = 1000
    batch: int | None = 100

    def __post_init__(self) -> None:
        check_strength(self.strength)
        for key in ("keep", "batch"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ValueError(f"{key}={value}: must be at least 1")

    def draws(self) -> bool:
        """Which images a step is over, where it is not over all."""
        return self.batch is not None

    def hold(self, trial: Trial) -> Hold:
        """Nothing pulls at a parameter; have the network's answers noted, before the copy is moved."""
        self._reference(trial)
        return Hold()

    def _reference(self, trial: Trial) -> torch.Tensor:
        """Return the log-probabilities (n, C) of the network that is to be corrected."""

        def make() -> torch.Tensor:
            return _answers(trial.network, trial.keep_images(self.keep))

        reference: torch.Tensor = trial.kept(f"answers to {self.keep} keep images", make, trial.space.names)
        return reference

    def gradient(self, trial: Trial, stream: np.random.Generator) -> Gradient:
        """Return strength * the gradient of the divergence on a batch; see `Penalty.gradient`."""
        images, reference = trial.keep_images(self.keep), self._reference(trial)
        if self.batch is not None and self.batch < len(images):
            drawn = torch.from_numpy(stream.choice(len(images), self.batch, replace=False))
            images, reference = images[drawn.to(images.device)], reference[drawn.to(images.device)]
        trial.forward_passes += len(images)
        trial.backward_passes += len(images)
        linear = linear_layers_of(trial.network, trial.space)
        run = Pass(trial.network, channels_last(images) if linear else images, linear)
        outputs = F.log_softmax(run.outputs, dim=1)
        divergence = F.kl_div(outputs, reference, reduction="batchmean", log_target=True)
        return run.gradient(self.strength * divergence, unfrozen(trial.network, trial.space))


@torch.no_grad()
def _answers(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return a network's log-probabilities (n, C) for images (n, ...)."""
    return F.log_softmax(torch.cat([network(batch) for batch in torch.split(images, BATCH)]), dim=1)


def check_strength(strength: float) -> None:
    """Refuse a strength that is no penalty's.

    Raises:
        ValueError: It is below 0.
    """
    if strength < 0:
        raise ValueError(f"strength={strength}: must be at least 0")


@dataclass(frozen=True)
class AnchoredDescent:
    """SGD with momentum on the sample's cross-entropy and a penalty, all that is not frozen, until the sample is right.

    As `SampleDescent`, but in eval mode: dropout is not active, so that what is held back is the network that is
    asked.

    Attributes:
        steps: The most gradient steps.
        learning_rate: Of SGD. The default is chosen with the strength of each penalty: least harm at 97 of 100
            held-out errors or more (MLP).
        penalty: What holds the descent back.
        momentum: Of SGD.
    """

    steps: int = 100
    learning_rate: float = 3e-5
    penalty: Penalty = field(default_factory=StartingPoint)
    momentum: float = 0.9

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps={self.steps}: must be at least 1")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate={self.learning_rate}: must be above 0")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum={self.momentum}: must be at least 0 and below 1")

    def draws(self, network: nn.Module) -> bool:
        """Random numbers are the penalty's alone."""
        return self.penalty.draws()

    def correct(self, trial: Trial, sample: Sample, stream: np.random.Generator) -> Correction:
        """Take steps until the sample is right; see `Method.correct`."""
        try:
            hold = self.penalty.hold(trial)
        except CurvatureError as error:
            return Correction.failed(str(error))
        descent: Steps = (RowSteps if by_rows(trial) else WholeSteps)(
            trial, self.learning_rate, self.momentum, hold
        )
        for step in followed("steps, at the most", range(1, self.steps + 1)):
            # The penalty's gradient is zero at the start.
            if not descent.take(sample, self.penalty.gradient(trial, stream) if step > 1 else NOTHING):
                return Correction.failed("the gradient is not finite", step - 1)
            if descent.answer(sample).right:
                return Correction(trial.patch(), altered=trial.space.free, steps=step)
        return Correction.failed(f"wrong after {self.steps} steps", self.steps)
