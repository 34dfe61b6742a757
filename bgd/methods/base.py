"""What a method gets and what it gives back: `Method.correct(trial, sample, stream) -> Correction`."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn

from bgd.flat import FlatNetwork, NetworkError
from bgd.knowledge import Knowledge
from bgd.methods.ending import ending
from bgd.methods.sample import Answer, Sample, checked_image, checked_logits
from bgd.methods.steady import check_steady
from bgd.methods.trial import Correction, Trial
from bgd.modes import ordinary
from bgd.parameters import wide
from bgd.patch import Patch, bits
from bgd.restore import ModuleState

__all__ = [
    "Answer",
    "Correction",
    "Method",
    "NamedMethod",
    "Problem",
    "Sample",
    "Together",
    "Trial",
    "TrialError",
]

PART = 1 << 16  # parameters that are compared after a trial that says which ones it altered


class TrialError(RuntimeError):
    """A method did with its trial what cannot be undone, or gave back what is no correction."""


class Problem:
    """The network to correct, and what is known about it.

    Attributes:
        current: The network as it is now; outside a trial it changes by `advance` alone.
        original: Its parameters (|W|,), kept apart so that a trial can be undone.
        carry: What the method returned as `Correction.carry` with the sample before.
        knowledge: What a method may ask for.

    Raises:
        NetworkError: The network cannot be corrected as it is.
    """

    @ordinary()
    def __init__(
        self,
        network: nn.Module,
        knowledge: Knowledge | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.current = FlatNetwork(network, device)
        if self.current.space.frozen == self.current.space.names:
            raise NetworkError(
                "every parameter of the network is frozen (requires_grad is False), and what is frozen is not changed: "
                "call network.requires_grad_(True)"
            )
        self.original = self.current.twin()
        self._written = self.original._version
        self.carry: Any = None
        self.knowledge = knowledge or Knowledge()
        self._part = 0  # which part of the parameters is compared next
        self._seen_outputs = False
        self._asked: tuple[Method, tuple[Together, int] | None] | None = None
        self._scratch: dict[str, torch.Tensor] = {}
        self._kept: dict[str, tuple[frozenset[str], Any]] = {}

    @cached_property
    def candidates(self) -> torch.Tensor:
        """Mask (|W|,) of the parameters that a correction may change: the weights that are not frozen."""
        return self.current.space.candidates.to(self.current.flat.device)

    def scratch(self, name: str) -> torch.Tensor:
        """Return a vector (|W|,) with anything in it, always the same for a name.

        Fresh memory of a network's size takes longer to get than to fill; what lasts no longer than a trial goes here.
        """
        if name not in self._scratch:
            self._scratch[name] = self.empty()
        return self._scratch[name]

    def empty(self) -> torch.Tensor:
        """Return a new vector (|W|,) with anything in it: of the network's type, float32 for one of 16 bits."""
        return torch.empty_like(self.original, dtype=wide(self.original[:0]).dtype)

    @cached_property
    def mean_gradient(self) -> torch.Tensor:
        """Gradient of the loss of N0, averaged over D (|W|,).

        Raises:
            LookupError: The method may not know it, or the problem was posed without it.
        """
        give = self.knowledge.ask("mean_gradient", "statistic", "the mean training gradient")
        gradient: torch.Tensor = give().to(self.current.flat.device)
        return gradient

    def kept(self, name: str, make: Callable[[], Any], of: Collection[str] = ()) -> Any:
        """Return a value that corrections share: `make` is called once for each name.

        Args:
            name: Under which it is kept.
            make: Makes it, from the network as it is outside a trial.
            of: Names of the parameters that it was made from; where one of them changes for good it is made again.
        """
        if name not in self._kept:
            self._kept[name] = frozenset(of), make()
        return self._kept[name][1]

    @ordinary()
    def logits(self, sample: Sample) -> torch.Tensor:
        """Return the logits (1, C) of the network as it is: one forward pass, which no trial counts.

        Raises:
            SampleError: The image is not of the network's type, or what comes out are no logits for the label.
            NetworkError: A pass changes the network or its input; see `check_steady`.
        """
        image = checked_image(sample, self.original)
        if self._seen_outputs:
            with torch.no_grad():
                return checked_logits(self.current.module, self.current.module(image), sample)
        check_steady(self.current, self.original, image)
        outputs, last = ending(self.current.module, image)
        logits = checked_logits(self.current.module, outputs, sample, last)
        self._seen_outputs = True
        return logits

    def correct(self, method: "Method", sample: Sample, stream: np.random.Generator) -> Correction:
        """Have a method correct a sample, of which the network is asked before; right already, it is left alone.

        Args:
            method: How.
            sample: The sample.
            stream: The method's random numbers for this sample.

        Raises:
            SampleError: A correction cannot start from the sample; see `logits`.
            TrialError: The method kept to no contract; see `attempt`.
        """
        if Answer.of(self.logits(sample), sample).right:
            return Correction.unneeded()
        return self.attempt(method, sample, stream)[0]

    def attempt(
        self, method: "Method", sample: Sample, stream: np.random.Generator
    ) -> tuple[Correction, Trial]:
        """Have a method correct a sample that the network gets wrong, as `logits` says; return its trial too.

        Raises:
            TrialError: What the method did cannot be undone, or its patch is empty or changes what is frozen.
        """
        try:
            with self.trying() as trial:
                correction = method.correct(trial, sample, stream)
            self._check(correction.patch)
        except TrialError as error:
            raise TrialError(f"{type(method).__name__}, sample {sample.index}: {error}") from None
        return correction, trial

    def attempt_many(
        self, method: "Method", samples: Sequence[Sample], streams: Sequence[np.random.Generator]
    ) -> Iterator[Correction]:
        """Have a method correct samples that the network gets wrong, each from the network as it is now.

        What comes out is what `attempt` gives for one after another, with its passes and its share of the time. A
        method that can look at many samples at once does (`Together`). Between two corrections the network is as it
        is now, and must be so when the next one is asked for.

        Args:
            method: How.
            samples: The samples.
            streams: The method's random numbers for each.

        Raises:
            TrialError: See `attempt`.
        """
        together = self._together_with(method)
        lot = 1 if together is None else together[1]
        for start in range(0, len(samples), lot):
            chosen, own = samples[start : start + lot], streams[start : start + lot]
            began = time.perf_counter()
            if together is not None and lot > 1:
                found = self._together(together[0], chosen, own)
            else:
                found = [self._alone(method, *each) for each in zip(chosen, own, strict=True)]
            seconds = (time.perf_counter() - began) / len(chosen)
            yield from (replace(correction, seconds=seconds) for correction in found)
            del found  # a dense patch takes several networks, and the next ones are made now

    def _together_with(self, method: "Method") -> tuple["Together", int] | None:
        """Return a method that corrects many at once, and how many on this network; asked once for a method in a row.

        To ask takes as long as a correction of a small network.
        """
        if self._asked is None or self._asked[0] is not method:
            able: Any = method if isinstance(method, Together) else None
            self._asked = method, None if able is None else (able, able.at_once(self.current.module))
        return self._asked[1]

    def _together(
        self, method: "Together", samples: Sequence[Sample], streams: Sequence[np.random.Generator]
    ) -> Sequence[Correction]:
        try:
            with self.trying() as trial:
                found = method.correct_many(trial, samples, streams)
            for correction in found:
                self._check(correction.patch)
        except TrialError as error:
            indices = f"{samples[0].index} to {samples[-1].index}"
            raise TrialError(f"{type(method).__name__}, samples {indices}: {error}") from None
        return found

    def _alone(self, method: "Method", sample: Sample, stream: np.random.Generator) -> Correction:
        correction, trial = self.attempt(method, sample, stream)
        return replace(correction, forward_passes=trial.forward_passes, backward_passes=trial.backward_passes)

    def _check(self, patch: Patch | None) -> None:
        if patch is None:
            return
        if not len(patch):
            raise TrialError(
                "the patch is empty and the sample was wrong: a correction is a change of parameters' values alone, "
                "made in the trial or by it"
            )
        frozen = [name for name in patch.tensors if name in patch.space.frozen] if patch.space.frozen else []
        if frozen:
            raise TrialError(
                f"the patch changes {', '.join(frozen)}, frozen in the network: choose among trial.candidates"
            )

    @contextmanager
    def trying(self) -> Iterator[Trial]:
        """Yield a trial; whatever it does to the network is undone at the end, bit for bit.

        Inside, gradients are on and autocast is off, whatever block this is asked for in.

        Parameters, also those that were given other memory, taken out or registered anew, buffers, modes, hooks and
        plain attributes of every module are as before.

        Raises:
            TrialError: `Trial.original` was written to, or `Trial.altered` does not name all that was.
        """
        fault = ""
        with ordinary():
            before, trial = ModuleState(self.current.module), Trial(self)
            try:
                yield trial
            finally:
                before.restore()
                fault = self._undo(trial.altered)
        if fault:
            raise TrialError(fault)

    def _undo(self, altered: torch.Tensor | None) -> str:
        """Put the parameters back, and return in words why they are not what they were, or nothing."""
        self.current.link()
        if self.original._version != self._written:
            return "trial.original was written to, which is to be read alone: pose the problem anew"
        if altered is None:
            self.current.flat.copy_(self.original)
            return ""
        self.current.flat[altered] = self.original[altered]
        # All of a small network, of a large one another part each time: all of it would cost more than the trial.
        start, self._part = self._part, (self._part + PART) % -(-len(self.original) // PART * PART)
        now, before = (bits(each[start : start + PART]) for each in (self.current.flat, self.original))
        if torch.equal(now, before):
            return ""
        first = start + int((now != before).nonzero()[0])
        self.current.flat.copy_(self.original)
        return (
            f"trial.altered leaves out parameter {first} of the flat vector, which the method changed: name all, or "
            "leave it None"
        )

    def advance(self, patch: Patch) -> None:
        """Make the patched network the current one (non-reloading setting)."""
        patch.apply(self.current.flat)
        patch.apply(self.original)
        self._written = self.original._version
        changed = set(patch.tensors)
        self._kept = {name: item for name, item in self._kept.items() if not item[0] & changed}


class Method(Protocol):
    """A way to correct a sample. A frozen dataclass: its fields are its hyper-parameters.

    One whose corrections may be the same for every seed says so by `draws(network: nn.Module) -> bool`: whether it
    draws random numbers on such a network. Where it does not, one seed is run. Without it every seed is: so it is with
    top-k, which tables 4.3 and 4.4 pair seed by seed with methods that draw.

    One that hands something on from sample to sample (`Correction.carry`) does so from the first sample on. Two
    optional methods spare corrections in a row that were interrupted the searches that are done:
    `carry_after(corrected: Sequence[Sample])` gives the carry once these were made right, and `keeps_since(corrected:
    int)` after how many corrections the method made the things that it keeps (`Trial.kept`) when there have been so
    many. Without the latter it is 0: they are of N0.
    """

    def correct(self, trial: Trial, sample: Sample, stream: np.random.Generator) -> Correction:
        """Look for a change that makes the network get `sample` right.

        Args:
            trial: A copy of the network to try on. The caller undoes whatever is done to it.
            sample: The sample, which the network gets wrong.
            stream: The method's random numbers for this sample.
        """
        ...


@runtime_checkable
class Together(Protocol):
    """A method that can correct many samples at once, each from the same network."""

    def at_once(self, network: nn.Module) -> int:
        """Return how many samples a call is to have, at the most: 1 where one by one is best on this network.

        Their corrections are in memory together, and so are dense patches.
        """
        ...

    def correct_many(
        self, trial: Trial, samples: Sequence[Sample], streams: Sequence[np.random.Generator]
    ) -> Sequence[Correction]:
        """Correct samples as `Method.correct` would one after another, with the same random numbers for each.

        Args:
            trial: A copy of the network, as for one sample; its counts of passes are not read.
            samples: The samples, which the network gets wrong, no more than `at_once`.
            streams: The method's random numbers for each sample.

        Returns:
            A correction for each sample, with its own `forward_passes` and `backward_passes`.
        """
        ...


class NamedMethod(Method, Protocol):
    """A method that has a name in `bgd.methods.METHODS`, and a default for each of its options.

    Attributes:
        knows: What it may know with its defaults, one of `bgd.knowledge.LEVELS`.
    """

    knows: ClassVar[str]
