"""A trial: a private copy of the network for one method to try changes on, and the correction that comes of it."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from bgd.curvature.base import Curvature, Estimator
from bgd.errors import ConfigError
from bgd.methods.gradient import write_gradient
from bgd.methods.sample import Answer, Sample
from bgd.patch import Patch

if TYPE_CHECKING:
    from bgd.methods.base import Problem


@dataclass(frozen=True)
class Correction:
    """What a method did to a sample; also when it failed.

    Attributes:
        patch: The change that makes the network get the sample right; None where none was found.
        altered: Number of parameters altered, the numerator of POPA (thesis, section 4.2).
        steps: Iterations of the search, or gradient steps.
        reason: Why it failed, in words; empty where it did not.
        carry: What the method wants handed to it with the next sample, for example momentum.
        forward_passes, backward_passes: On single samples; whoever calls the method counts them.
        seconds: Wall time; whoever calls the method takes it.
        already: Whether no change was needed.
        searches: How often the method searched: once for each margin that was tried; whoever calls the method counts.
        margin: Logits beyond the goal's own margin that the method was asked for in the search that found the patch.

    It is true where the network gets the sample right, with the patch if there is one.
    """

    patch: Patch | None
    altered: int
    steps: int
    reason: str = ""
    carry: Any = field(default=None, repr=False)
    forward_passes: int = 0
    backward_passes: int = 0
    seconds: float = 0.0
    already: bool = False
    searches: int = 0
    margin: float = 0.0

    def __bool__(self) -> bool:
        return self.patch is not None or self.already

    @classmethod
    def failed(cls, reason: str, steps: int = 0, carry: Any = None) -> "Correction":
        """Return the correction of a sample that stays wrong."""
        return cls(None, 0, steps, reason, carry)

    @classmethod
    def unneeded(cls) -> "Correction":
        """Return the correction of a sample that is right already."""
        return cls(None, 0, 0, already=True)

    def plus(self, other: "Correction") -> "Correction":
        """Return this with the cost of another one added."""
        return replace(
            self,
            steps=self.steps + other.steps,
            forward_passes=self.forward_passes + other.forward_passes,
            backward_passes=self.backward_passes + other.backward_passes,
            searches=self.searches + other.searches,
            margin=max(self.margin, other.margin),
        )


def patch_of(given: Any) -> Patch:
    """Return the patch that a user means: a patch, or that of a correction.

    Raises:
        ConfigError: There is none.
    """
    patch = given.patch if isinstance(given, Correction) else given
    if patch is None:
        raise ConfigError("the correction has no patch")
    if not isinstance(patch, Patch):
        raise ConfigError(
            f"patch={patch!r}: must be a bgd.Patch or a bgd.Correction; bgd.Patch.load(path) reads a file"
        )
    return patch


class Trial:
    """A private copy of the network to try changes on, and what else a method may know.

    Attributes:
        space: Flat index over the parameters.
        flat: The parameters of the copy (|W|,), in the network's type, to be written to.
        original: The parameters of the network that is to be corrected (|W|,), to be read.
        carry: What the method returned as `Correction.carry` with the sample before; None at the first.
        forward_passes: Single-sample forward passes so far.
        backward_passes: Single-sample backward passes so far.
        altered: Flat indices that the method changed. Set it if known: restoring these alone is faster. None: any may
            have changed.
    """

    def __init__(self, problem: "Problem") -> None:
        self._problem = problem
        self.original = problem.original
        self.flat = problem.current.flat
        self.space = problem.current.space
        self.carry = problem.carry
        self.forward_passes = 0
        self.backward_passes = 0
        self.altered: torch.Tensor | None = None

    @property
    def network(self) -> nn.Module:
        """The copy as a module, in eval mode. Whatever is done to it is undone at the end of the trial."""
        return self._problem.current.module

    @property
    def candidates(self) -> torch.Tensor:
        """Mask (|W|,) of the parameters that a correction may change."""
        return self._problem.candidates

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
        """Return a value that corrections share: see `Problem.kept`."""
        return self._problem.kept(name, make, of)

    @torch.no_grad()
    def logits(self, sample: Sample) -> torch.Tensor:
        """Return the copy's logits (1, C) for the sample: one forward pass."""
        self.forward_passes += 1
        logits: torch.Tensor = self.network(sample.image)
        return logits

    def answer(self, sample: Sample) -> "Answer":
        """Return the copy's answer on the sample: one forward pass."""
        return Answer.of(self.logits(sample), sample)

    def gradient(self, sample: Sample, out: torch.Tensor | None = None) -> torch.Tensor:
        """Return the gradient of the sample's cross-entropy (|W|,): one forward and one backward pass.

        It is 0 at what is frozen, and at what does not lead to the outputs. Of a network in a type of 16 bits it is in
        float32, as everything of the size of its parameters is but they themselves.

        Args:
            sample: The sample.
            out: Where it may be written (|W|,), see `scratch`; by default a new vector.
        """
        self.forward_passes += 1
        self.backward_passes += 1
        out = self._problem.empty() if out is None else out
        return write_gradient(self.network, self.space, sample, out)

    def scratch(self, name: str) -> torch.Tensor:
        """Return a vector (|W|,) with anything in it, the same one in every trial: no longer good after this one."""
        return self._problem.scratch(name)

    def patch(self) -> Patch:
        """Return the change from the network to the copy as it is now, by whatever way its parameters were written.

        Raises:
            NetworkError: A parameter is gone, or has another shape or type.
        """
        if self._problem.current.follow():
            self.altered = None
        return Patch.between(self.space, self.original, self.flat)
