"""Parameter Subset Selection (Algorithm 2, section 3.4) and its pruning step (Algorithm 1, section 3.1)."""

from dataclasses import dataclass, field

import numpy as np
import torch

from bgd.methods.base import Correction, Look, Sample, Trial
from bgd.methods.bgd.guard import Guard
from bgd.methods.bgd.prior import GradientPrior, Prior, Sampler
from bgd.methods.bgd.update import SecondOrder, Update
from bgd.patch import Patch

VERSION = 1  # raised whenever the same search may give another correction
PROBABILITY_UPDATES = ("drawn_to_zero", "printed")


@dataclass(frozen=True)
class SubsetSearch:
    """Looks for a small subset of the weights whose update makes the network get the sample right.

    Attributes:
        prior: Which parameters are likely to be drawn.
        update: How far a chosen parameter moves, always from its original value.
        guard: Which drawn parameters are drawn again; None for no such thing.
        subset_size: n, the size of the first subset. Released code: 5.
        iterations: T, the most iterations. Thesis, section 4.7, and released code: 20.
        expansion: x, how many parameters Expand adds. Thesis, section 4.5.1: 10.
        replace_probability: Of Replace; else Expand. Released code: 0.7; the thesis names none.
        probability_update: `drawn_to_zero`: a drawn parameter is not drawn again (released code);
            `printed`: P_t = max(0, P_t-1 - |g_t-1|) after each iteration (section 3.4).
        prune: Whether the subset is pruned at the end (Algorithm 1).
    """

    prior: Prior = field(default_factory=GradientPrior)
    update: Update = field(default_factory=SecondOrder)
    guard: Guard | None = None
    subset_size: int = 5
    iterations: int = 20
    expansion: int = 10
    replace_probability: float = 0.7
    probability_update: str = "drawn_to_zero"
    prune: bool = True

    def __post_init__(self) -> None:
        for key in ("subset_size", "iterations", "expansion"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}={getattr(self, key)}: must be at least 1")
        if not 0 <= self.replace_probability <= 1:
            raise ValueError(f"replace_probability={self.replace_probability}: must be between 0 and 1")
        if self.probability_update not in PROBABILITY_UPDATES:
            choices = ", ".join(PROBABILITY_UPDATES)
            raise ValueError(f"probability_update={self.probability_update!r}: must be one of {choices}")

    def correct(self, trial: Trial, sample: Sample, stream: np.random.Generator) -> Correction:
        """Search, then prune; see `Method.correct`."""
        gradient = trial.gradient(sample)
        magnitude = trial.space.drop_biases(gradient.abs())
        total = float(magnitude.sum())
        if not np.isfinite(total):
            return Correction.failed("the gradient is not finite")
        if not total:
            return Correction.failed("the gradient is zero")
        sampler = Sampler(self.prior.weights(magnitude, trial.space), stream)
        search = _Search(self, trial, sample, sampler, stream, gradient)
        steps = search.run()
        if not search.look.right:
            return Correction.failed(f"wrong after {steps} iterations", steps)
        if self.prune:
            search.prune()
        return Correction(search.patch(), altered=len(search.subset), steps=steps)


class _Search:
    """The state of one search.

    Attributes:
        subset: Flat indices, in the order they came in.
        look: What the network with the subset updated says of the sample.
    """

    def __init__(
        self,
        options: SubsetSearch,
        trial: Trial,
        sample: Sample,
        sampler: Sampler,
        stream: np.random.Generator,
        gradient: torch.Tensor,
    ) -> None:
        self.options, self.trial, self.sample = options, trial, sample
        self.sampler, self.stream, self.gradient = sampler, stream, gradient
        self.harmful = options.guard.harmful(trial, gradient) if options.guard else None
        self._written = self._tensor([])
        self.subset = self.drawn(options.subset_size)
        self.look = self.attempt(self.subset)

    def _tensor(self, subset: list[int]) -> torch.Tensor:
        return torch.tensor(subset, dtype=torch.long, device=self.trial.flat.device)

    def write(self, subset: list[int]) -> None:
        """Leave the trial with exactly this subset updated, each parameter from its original value."""
        self.trial.flat[self._written] = self.trial.original[self._written]
        self._written = chosen = self._tensor(subset)
        change = self.options.update.change(self.gradient, chosen)
        self.trial.flat[chosen] = self.trial.original[chosen] + change

    def attempt(self, subset: list[int]) -> Look:
        """Update exactly this subset and look at the sample."""
        self.write(subset)
        return self.trial.look(self.sample)

    def draw(self) -> int | None:
        """Draw one parameter, with the guard's say; None where none is left."""
        if self.options.guard is None or self.harmful is None:
            return self.sampler.draw()
        harmful = self.harmful
        return self.sampler.draw_where(lambda index: not harmful[index], self.options.guard.redraws)

    def drawn(self, count: int) -> list[int]:
        """Draw `count` parameters, fewer where fewer are left."""
        draws = (self.draw() for _ in range(count))
        return [index for index in draws if index is not None]

    def run(self) -> int:
        """Iterate until the sample is right; return the number of iterations."""
        options = self.options
        for step in range(options.iterations):
            if self.look.right:
                return step
            if options.probability_update == "printed":
                self.write(self.subset)
                self.sampler.lower(self.trial.gradient(self.sample).abs())
            if self.stream.random() < options.replace_probability:
                self.replace()
            else:
                self.subset = self.subset + self.drawn(options.expansion)
                self.look = self.attempt(self.subset)
        return options.iterations

    def replace(self) -> None:
        """Swap each element for a fresh draw where that lowers the sample's loss."""
        for place in range(len(self.subset)):
            index = self.draw()
            if index is None:
                return
            swapped = [*self.subset[:place], index, *self.subset[place + 1 :]]
            look = self.attempt(swapped)
            if look.loss < self.look.loss:
                self.subset, self.look = swapped, look

    def prune(self) -> None:
        """Put each parameter of the subset back, in order; leave it out where the sample stays right."""
        for index in list(self.subset):
            fewer = [other for other in self.subset if other != index]
            look = self.attempt(fewer)
            if look.right:
                self.subset, self.look = fewer, look

    def patch(self) -> Patch:
        """Return the change of the subset."""
        self.write(self.subset)
        chosen = self._tensor(self.subset)
        return Patch.sparse(self.trial.space, chosen, self.trial.original[chosen], self.trial.flat[chosen])
