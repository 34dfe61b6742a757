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
from functools import partial
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from bgd.layers import channels_last
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
        self._trial, self._training = trial, training
        self._named = unfrozen(trial.network, trial.space) if named is None else named
        self._linear = linear_layers_of(trial.network, trial.space)
        self._run: Pass | None = None
        pulled = hold.strength != 0
        vectors = trial.flat, trial.scratch("velocity")
        towards = trial.original if pulled else None, hold.stiffness if pulled else None
        self._parts: dict[str, _Part] = {}
        for name, tensor in self._named.items():
            shape = (len(tensor) if name.removesuffix(".weight") in self._linear else 1, -1)
            span = trial.space.span(name)
            value, velocity = (vector[span].view(shape) for vector in vectors)
            start, stiffness = (None if vector is None else vector[span].view(shape) for vector in towards)
            self._parts[name] = _Part(value, velocity, start, stiffness, rate, momentum, hold)

    def take(self, sample: Sample, more: Gradient = NOTHING) -> bool:
        """Take a step; see `Steps.take`."""
        run, self._run = self._run or self._pass(sample, self._training), None
        self._trial.forward_passes += 1
        self._trial.backward_passes += 1
        loss = F.cross_entropy(sample.judged(run.outputs), sample.label)
        for name, gradient in run.back(loss, self._named, partial(self._step_layer, more)).items():
            self._step_tensor(name, gradient, more)
        return all(part.finite for part in self._parts.values())

    def answer(self, sample: Sample) -> Answer:
        """Run the copy; see `Steps.answer`."""
        run = self._pass(sample, False)
        self._trial.forward_passes += 1
        if not self._training:
            self._run = run
        return Answer.of(run.outputs.detach(), sample)

    def _pass(self, sample: Sample, training: bool) -> Pass:
        with training_mode(self._trial.network) if training else nullcontext():
            return Pass(self._trial.network, channels_last(sample.image), self._linear)

    def _step_layer(self, more: Gradient, name: str, own: Product, further: bool) -> torch.Tensor | None:
        """Step a linear layer; return the gradient by what went in."""
        weight, bias = f"{name}.weight", f"{name}.bias"
        if bias in self._named:
            self._step_tensor(bias, own.back.sum(0), more)
        part = self._parts.get(weight)
        if part is not None and weight not in more:
            return part.step(own.back[0], own.entering[0])[None]
        through = own.back @ self._trial.network.get_parameter(weight).detach() if further else None
        if part is not None:
            part.step_product(plus(own, more[weight]))
        return through

    def _step_tensor(self, name: str, gradient: torch.Tensor, more: Gradient) -> None:
        """Step what is no weight of a linear layer: a matrix of one row, whose gradient is 1 times that row."""
        total = gradient + whole(more[name]) if name in more else gradient
        self._parts[name].step(total.new_ones(1), total.reshape(-1))


class _Part:
    """A parameter under way, as a matrix (out, in) that is stepped by rows.

    Args:
        value: w, in the copy.
        velocity: v, with anything in it.
        start: w0; None where nothing pulls there.
        stiffness: F; None for 1 everywhere.
        rate: r.
        momentum: m.
        hold: What holds it back.

    Attributes:
        finite: Whether every gradient was.
    """

    def __init__(
        self,
        value: torch.Tensor,
        velocity: torch.Tensor,
        start: torch.Tensor | None,
        stiffness: torch.Tensor | None,
        rate: float,
        momentum: float,
        hold: Hold,
    ) -> None:
        self._value, self._velocity, self._start, self._stiffness = value, velocity, start, stiffness
        self._rate, self._momentum, self._hold = rate, momentum, hold
        self._moving = np.full(len(value), False)  # rows whose momentum is there
        self.finite = True

    def step(self, back: torch.Tensor, entering: torch.Tensor) -> torch.Tensor:
        """Step by the gradient d h^T, with d (out,) and h (in,), where it or an earlier one is not 0.

        Returns:
            d w, with the weight before the step (in,).
        """
        from bgd.methods import rows  # numba takes a third of a second to import

        moving, hold, value = self._moving, self._hold, self._value.numpy()
        everywhere = hold.shrink or not torch.isfinite(entering).all()
        reached = np.arange(len(moving)) if everywhere else np.flatnonzero(moving | (back.numpy() != 0))
        number, through = value.dtype.type, torch.zeros_like(entering)
        self.finite &= rows.step(
            value,
            self._velocity.numpy(),
            reached,
            moving,
            back.numpy(),
            entering.numpy(),
            None if self._start is None else self._start.numpy(),
            None if self._stiffness is None else self._stiffness.numpy(),
            number(hold.strength),
            number(hold.shrink) if hold.shrink else None,
            number(self._rate),
            number(self._momentum),
            np.finfo(number).max,
            through.numpy(),
        )
        moving[reached] = True
        return through

    def step_product(self, gradient: torch.Tensor | Product) -> None:
        """Step everywhere, by a gradient that is of several images."""
        assert isinstance(gradient, Product), "both of its parts are of passes that were cut there"
        if not self._moving.all():
            self._velocity[torch.from_numpy(~self._moving)] = 0
            self._moving[:] = True
        back, entering = gradient.back, gradient.entering
        torch.addmm(self._velocity, back.T, entering, beta=self._momentum, out=self._velocity)
        self.finite &= bool(torch.isfinite(back).all() and torch.isfinite(entering).all())
        if self._start is not None:
            pull = self._value - self._start
            pull = pull if self._stiffness is None else pull.mul_(self._stiffness)
            self._velocity.add_(pull, alpha=self._hold.strength)
        if self._hold.shrink:
            self._velocity.add_(self._value.sign(), alpha=self._hold.shrink)
        self._value.add_(self._velocity, alpha=-self._rate)
