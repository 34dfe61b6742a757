"""SGD with momentum on the copy, a step of which goes through no more weights than gradients have reached.

    v <- m v + g,   w <- w - r v,   with g the gradient of the loss and of what holds w back

What comes back to a unit that is off is 0, and so is the gradient of its weights: three of five rows of the linear
layers of the thesis' AlexNet, which hold 98 % of its parameters. Where g, v and w - w0 have been 0 so far, a step
changes nothing. The other rows are gone through once a step (`bgd.methods.rows`); torch's operations would read and
write vectors of |W| a dozen times. And the forward pass that says whether the sample is right is the one that the next
gradient is taken of.

`WholeSteps` is the plain way, for any network and device, and the oracle.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from bgd.methods.gradient import Gradient, Pass, Product, linear_layers_of, plus, unfrozen, whole
from bgd.methods.sample import Answer, Sample
from bgd.methods.trial import Trial
from bgd.modes import training_mode

NOTHING: Gradient = {}
SMALLEST = 1 << 17  # parameters; torch's operations on fewer take microseconds


@dataclass(frozen=True)
class Hold:
    """What holds parameters back: gradient strength * F (w - w0) + shrink * sign(w).

    Attributes:
        strength: Of the pull to where they started.
        stiffness: F (|W|,); None for 1 everywhere.
        shrink: Of the push to 0.
    """

    strength: float = 0.0
    stiffness: torch.Tensor | None = None
    shrink: float = 0.0


class Steps(Protocol):
    """A descent under way."""

    def take(self, sample: Sample, more: Gradient = NOTHING) -> bool:
        """Take a step down the sample's cross-entropy.

        Args:
            sample: The sample.
            more: Gradient of what else is in the loss, of every parameter that is not frozen or of none.

        Returns:
            Whether the gradient is finite; nothing is promised of the copy where it is not.
        """
        ...

    def answer(self, sample: Sample) -> Answer:
        """Return the copy's answer on the sample."""
        ...


def by_rows(trial: Trial) -> bool:
    """Return whether steps by rows are possible, and worth it."""
    native = trial.flat.dtype in (torch.float32, torch.float64) and trial.flat.device.type == "cpu"
    return native and trial.space.size >= SMALLEST and bool(linear_layers_of(trial.network, trial.space))


class WholeSteps:
    """A descent in operations on vectors (|W|,).

    Args:
        trial: Its copy is moved, all that is not frozen.
        rate: r.
        momentum: m.
        hold: What holds the parameters back; it does not shrink them.
    """

    def __init__(self, trial: Trial, rate: float, momentum: float, hold: Hold) -> None:
        self._trial, self._rate, self._momentum, self._hold = trial, rate, momentum, hold
        self._gradient, self._velocity = trial.scratch("gradient"), trial.scratch("velocity").zero_()

    def take(self, sample: Sample, more: Gradient = NOTHING) -> bool:
        """Take a step; see `Steps.take`."""
        trial, gradient = self._trial, self._trial.gradient(sample, out=self._gradient)
        if self._hold.strength:
            change = torch.sub(trial.flat, trial.original, out=trial.scratch("change"))
            if self._hold.stiffness is not None:
                change.mul_(self._hold.stiffness)
            gradient.add_(change, alpha=self._hold.strength)
        for name, part in more.items():
            gradient[trial.space.span(name)].add_(whole(part).reshape(-1))
        if not torch.isfinite(gradient.sum()):
            return False
        self._velocity.mul_(self._momentum).add_(gradient)
        trial.flat.add_(self._velocity, alpha=-self._rate)
        return True

    def answer(self, sample: Sample) -> Answer:
        """Run the copy; see `Steps.answer`."""
        return self._trial.answer(sample)


class RowSteps:
    """A descent by rows of weights (`by_rows`).

    Args:
        trial: Its copy is moved.
        rate: r.
        momentum: m.
        hold: What holds the parameters back.
        named: The parameters to move; None for all that are not frozen.
        training: Whether gradients are taken in training mode (`bgd.modes.training`). No pass serves two ends then.
    """

    def __init__(
        self,
        trial: Trial,
        rate: float,
        momentum: float,
        hold: Hold,
        named: Mapping[str, nn.Parameter] | None = None,
        training: bool = False,
    ) -> None:
        self._trial, self._rate, self._momentum, self._hold = trial, rate, momentum, hold
        self._named = unfrozen(trial.network, trial.space) if named is None else named
        self._linear = linear_layers_of(trial.network, trial.space)
        self._training = training
        self._velocity = trial.scratch("velocity")
        self._moving = {
            name: np.full(len(each), False) for name, each in self._named.items()
        }  # rows whose momentum is there
        self._run: Pass | None = None

    def take(self, sample: Sample, more: Gradient = NOTHING) -> bool:
        """Take a step; see `Steps.take`."""
        run, self._run = self._run or self._pass(sample, self._training), None
        self._trial.forward_passes += 1
        self._trial.backward_passes += 1
        loss = F.cross_entropy(sample.judged(run.outputs), sample.label)
        finite = True
        for name, part in run.gradient(loss, self._named).items():
            if name in more:
                part = plus(part, more[name])
            if isinstance(part, Product) and len(part.back) == 1:
                finite &= self._step_rows(name, part)
            else:
                finite &= self._step_whole(name, part)
        return finite

    def answer(self, sample: Sample) -> Answer:
        """Run the copy; see `Steps.answer`."""
        run = self._pass(sample, False)
        self._trial.forward_passes += 1
        if not self._training:
            self._run = run
        return Answer.of(run.outputs.detach(), sample)

    def _pass(self, sample: Sample, training: bool) -> Pass:
        with training_mode(self._trial.network) if training else nullcontext():
            return Pass(self._trial.network, sample.image, self._linear)

    def _part(self, vector: torch.Tensor, name: str) -> torch.Tensor:
        """Return a parameter's part of a vector (|W|,), in its shape."""
        return vector[self._trial.space.span(name)].view(self._named[name].shape)

    def _step_rows(self, name: str, part: Product) -> bool:
        """Step where the gradient, or an earlier one, is not 0."""
        from bgd.methods import rows  # numba takes a third of a second to import

        hold, moving, dtype = self._hold, self._moving[name], self._trial.flat.numpy().dtype.type
        back, entering = part.back[0].numpy(), part.entering[0].numpy()
        if hold.shrink or not np.isfinite(entering).all():
            reached = np.arange(len(back))
        else:
            reached = np.flatnonzero(moving | (back != 0))
        start, stiffness = (
            None if vector is None or not hold.strength else self._part(vector, name).numpy()
            for vector in (self._trial.original, hold.stiffness)
        )
        finite = rows.step(
            self._part(self._trial.flat, name).numpy(),
            self._part(self._velocity, name).numpy(),
            reached,
            moving,
            back,
            entering,
            start,
            stiffness,
            dtype(hold.strength),
            dtype(hold.shrink) if hold.shrink else None,
            dtype(self._rate),
            dtype(self._momentum),
            np.finfo(dtype).max,
        )
        moving[reached] = True
        return bool(finite)

    def _step_whole(self, name: str, part: torch.Tensor | Product) -> bool:
        """Step everywhere."""
        hold, moving, flat = self._hold, self._moving[name], self._trial.flat
        value, velocity = self._part(flat, name), self._part(self._velocity, name)
        if not moving.all():
            velocity[torch.from_numpy(~moving)] = 0
            moving[:] = True
        if isinstance(part, Product):
            torch.addmm(velocity, part.back.T, part.entering, beta=self._momentum, out=velocity)
            finite = torch.isfinite(part.back).all() and torch.isfinite(part.entering).all()
        else:
            velocity.mul_(self._momentum).add_(part)
            finite = torch.isfinite(part).all()
        if hold.strength:
            pull = value - self._part(self._trial.original, name)
            velocity.add_(
                pull if hold.stiffness is None else pull.mul_(self._part(hold.stiffness, name)),
                alpha=hold.strength,
            )
        if hold.shrink:
            velocity.add_(value.sign(), alpha=hold.shrink)
        flat[self._trial.space.span(name)].view(value.shape).add_(velocity, alpha=-self._rate)
        return bool(finite)
