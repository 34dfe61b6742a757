"""What a method gets and what it gives back: `Method.correct(trial, sample, stream) -> Correction`."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from bgd.curvature.base import Curvature, Estimator
from bgd.flat import FlatNetwork
from bgd.knowledge import Knowledge
from bgd.methods.gradient import write_gradient
from bgd.patch import Patch
from bgd.sources import MEAN, STD


@dataclass(frozen=True)
class Sample:
    """One labelled test image.

    Attributes:
        index: Into the test set.
        image: Normalised, (1, 1, 28, 28).
        label: The right class, int64 (1,).
        mean, std: What its pixels in [0, 1] were normalised with.
    """

    index: int
    image: torch.Tensor
    label: torch.Tensor
    mean: float = MEAN
    std: float = STD


@dataclass(frozen=True)
class Correction:
    """What a method did to a sample; also when it failed.

    Attributes:
        patch: The change that makes the network get the sample right; None where none was found.
        altered: Number of parameters altered, the numerator of POPA (thesis, section 4.2).
        steps: Iterations of the search, or gradient steps.
        reason: Why it failed, in words; empty where it did not.
        carry: What the method wants handed to it with the next sample, for example momentum.
    """

    patch: Patch | None
    altered: int
    steps: int
    reason: str = ""
    carry: Any = None

    @classmethod
    def failed(cls, reason: str, steps: int = 0, carry: Any = None) -> "Correction":
        """Return the correction of a sample that stays wrong."""
        return cls(None, 0, steps, reason, carry)


class Trial:
    """A private copy of the network to try changes on, and what else a method may know.

    Attributes:
        space: Flat index over the parameters.
        flat: The parameters of the copy (|W|,), to be written to.
        original: The parameters of the network that is to be corrected (|W|,), to be read.
        candidates: Mask (|W|,) of the parameters that a correction may change.
        carry: What the method returned as `Correction.carry` with the sample before; None at the first.
        forward_passes: Single-sample forward passes so far.
        backward_passes: Single-sample backward passes so far.
        altered: Flat indices at which the copy differs at the end, for a method that knows: undoing them is faster
            than undoing all. None where it may differ anywhere.
    """

    def __init__(self, problem: "Problem") -> None:
        self._problem = problem
        self.original = problem.original
        self.flat = problem.current.flat
        self.space = problem.current.space
        self.candidates = problem.candidates
        self.carry = problem.carry
        self.forward_passes = 0
        self.backward_passes = 0
        self.altered: torch.Tensor | None = None

    @property
    def network(self) -> nn.Module:
        """The copy as a module, in eval mode."""
        return self._problem.current.module

    @property
    def mean_gradient(self) -> torch.Tensor:
        """Gradient of the loss of N0, averaged over D (|W|,): Gbar of section 4.6."""
        return self._problem.mean_gradient

    def curvature(self, estimator: Estimator) -> Curvature:
        """Return the curvature of the loss of N0 over D, as an estimator has it: made once.

        Raises:
            LookupError: The method may not know it, or the problem was posed without it.
        """
        problem = self._problem
        give = problem.knowledge.ask("curvature", "statistic", "the curvature of the training loss")
        curvature: Curvature = problem.kept(f"curvature {estimator}", lambda: give(estimator))
        return curvature

    def keep_images(self, count: int | None = None) -> torch.Tensor:
        """Return the first `count` images (n, ...) of the keep-set, all for None: unlabelled, none that N0 learnt.

        Raises:
            LookupError: The method may not know them, or the problem was posed without them.
        """
        give = self._problem.knowledge.ask("keep_images", "keep_set", "a keep-set of unlabelled images")
        images: torch.Tensor = give()
        return images[:count]

    def training_images(self, count: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the first `count` images (n, ...) of D and their labels (n,), all for None.

        Raises:
            LookupError: The method may not know them, or the problem was posed without them.
        """
        give = self._problem.knowledge.ask("training", "training_data", "the training data")
        images, labels = give()
        return images[:count], labels[:count]

    def kept(self, name: str, make: Callable[[], Any], of: Collection[str] = ()) -> Any:
        """Return what `make` gave when it was first asked for under this name: see `Problem.kept`."""
        return self._problem.kept(name, make, of)

    @torch.no_grad()
    def logits(self, sample: Sample) -> torch.Tensor:
        """Return the copy's logits (1, C) for the sample: one forward pass."""
        self.forward_passes += 1
        logits: torch.Tensor = self.network(sample.image)
        return logits

    def look(self, sample: Sample) -> "Look":
        """Return what the copy says of the sample: one forward pass."""
        return Look.of(self.logits(sample), sample)

    def gradient(self, sample: Sample, out: torch.Tensor | None = None) -> torch.Tensor:
        """Return the gradient of the sample's cross-entropy (|W|,): one forward and one backward pass.

        Args:
            sample: The sample.
            out: Where it may be written (|W|,), see `scratch`; by default a new vector.
        """
        self.forward_passes += 1
        self.backward_passes += 1
        out = torch.empty_like(self.flat) if out is None else out
        return write_gradient(self.network, self.space, sample.image, sample.label, out)

    def scratch(self, name: str) -> torch.Tensor:
        """Return a vector (|W|,) with anything in it, the same one in every trial: no longer good after this one."""
        return self._problem.scratch(name)

    def patch(self) -> Patch:
        """Return the change from the network to the copy as it is now."""
        return Patch.between(self.space, self.original, self.flat)


@dataclass(frozen=True)
class Look:
    """What a network says of one sample.

    Attributes:
        loss: Cross-entropy in nats; infinite or NaN where the outputs are.
        prediction: The class with the largest logit.
        right: Whether that is the label and every logit is finite. An overflow is never a correction.
    """

    loss: float
    prediction: int
    right: bool

    @classmethod
    def of(cls, logits: torch.Tensor, sample: Sample) -> "Look":
        """Read the logits (1, C) of a sample."""
        loss = float(F.cross_entropy(logits, sample.label))
        prediction = int(logits.argmax())
        finite = bool(torch.isfinite(logits).all())
        return cls(loss, prediction, finite and prediction == int(sample.label))


class Problem:
    """The network to correct, and what is known about it.

    Attributes:
        current: The network as it is now; outside a trial it changes by `advance` alone.
        original: Its parameters (|W|,), kept apart so that a trial can be undone.
        candidates: Mask (|W|,) of the parameters that a correction may change: the weights.
        carry: What the method returned as `Correction.carry` with the sample before.
        knowledge: What a method may ask for.
    """

    def __init__(
        self,
        network: nn.Module,
        knowledge: Knowledge | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.current = FlatNetwork(network, device)
        self.original = self.current.flat.clone()
        self.candidates = self.current.space.candidates.to(device)
        self.carry: Any = None
        self.knowledge = knowledge or Knowledge()
        self._scratch: dict[str, torch.Tensor] = {}
        self._kept: dict[str, tuple[frozenset[str], Any]] = {}

    def scratch(self, name: str) -> torch.Tensor:
        """Return a vector (|W|,) with anything in it, always the same for a name.

        Fresh memory of a network's size takes longer to get than to fill; what lasts no longer than a trial goes here.
        """
        if name not in self._scratch:
            self._scratch[name] = torch.empty_like(self.original)
        return self._scratch[name]

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
        """Return what `make` gave when it was first asked for under this name: what corrections share.

        Args:
            name: Under which it is kept.
            make: Makes it, from the network as it is outside a trial.
            of: Names of the parameters that it was made from; where one of them changes for good it is made again.
        """
        if name not in self._kept:
            self._kept[name] = frozenset(of), make()
        return self._kept[name][1]

    @contextmanager
    def trying(self) -> Iterator[Trial]:
        """Yield a trial; whatever it does to its parameters is undone at the end, bit for bit."""
        trial = Trial(self)
        try:
            yield trial
        finally:
            if trial.altered is None:
                self.current.flat.copy_(self.original)
            else:
                self.current.flat[trial.altered] = self.original[trial.altered]

    def advance(self, patch: Patch) -> None:
        """Make the patched network the current one (non-reloading setting)."""
        patch.apply(self.current.flat)
        patch.apply(self.original)
        changed = set(patch.tensors)
        self._kept = {name: item for name, item in self._kept.items() if not item[0] & changed}


class Method(Protocol):
    """A way to correct a sample. A frozen dataclass: its fields are its hyper-parameters.

    One whose corrections may be the same for every seed says so by `draws(network: nn.Module) -> bool`: whether it
    draws random numbers on such a network. Where it does not, one seed is run. Without it every seed is: so it is with
    top-k, which tables 4.3 and 4.4 pair seed by seed with methods that draw.

    One that hands something on from sample to sample (`Correction.carry`) does so from the first sample on. Two
    optional methods spare corrections in a row that were interrupted the searches that are done (`bgd.resume`):
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
