"""Parameter Subset Selection (Algorithm 2, section 3.4) and its pruning step (Algorithm 1, section 3.1)."""

from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F

from bgd.methods.base import Correction, Look, Sample, Trial
from bgd.methods.bgd.guard import Guard
from bgd.methods.bgd.prior import GradientPrior, Prior, Sampler
from bgd.methods.bgd.update import SecondOrder, Update
from bgd.methods.elimination import Elimination
from bgd.methods.glimpse import Edits, Glimpse
from bgd.methods.layers import Booleans
from bgd.patch import Patch

VERSION = 2  # raised whenever the same search may give another correction
DEAR = 100_000  # parameters from which glimpses cost less than the forward passes they save: measured
BATCH = (8, 128)  # candidates of Replace looked at together: at first, and at the most
PROBABILITY_UPDATES = ("drawn_to_zero", "printed")


@dataclass(frozen=True)
class SubsetSearch:
    """Looks for a small subset of the weights whose update makes the network get the sample right.

    Replace and pruning look at many candidates in one batch (`Glimpse`) where the algorithm takes them one by one;
    what they decide is the same. Forward passes are counted as the algorithm takes them, one for each candidate it
    considers, whatever was looked at besides.

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
        self._written: list[int] = []
        self._glimpse: Glimpse | None = None
        if options.update.elementwise and trial.space.size >= DEAR:
            self._glimpse = Glimpse(trial.network, trial.space, trial.flat, sample.image)
        self.subset = self.drawn(options.subset_size)
        self.trial.forward_passes += 1
        self.look = self.attempt(self.subset)

    def _tensor(self, subset: list[int]) -> torch.Tensor:
        return torch.tensor(subset, dtype=torch.long, device=self.trial.flat.device)

    def values(self, subset: list[int]) -> torch.Tensor:
        """Return the values of the parameters of a subset when exactly that is updated (k,)."""
        chosen = self._tensor(subset)
        return self.trial.original[chosen] + self.options.update.change(self.gradient, chosen)

    def write(self, subset: list[int]) -> None:
        """Leave the trial with exactly this subset updated, each parameter from its original value."""
        known = set(self._written) if self.options.update.elementwise else set()
        staying = set(subset)
        dropped = [index for index in self._written if index not in staying]
        added = [index for index in subset if index not in known]
        self._written = subset
        moved = self._tensor(dropped + added)
        values = self.trial.original[moved]
        values[len(dropped) :] += self.options.update.change(self.gradient, moved[len(dropped) :])
        if self._glimpse is None:
            self.trial.flat[moved] = values
        else:
            self._glimpse.move(moved, values)

    def attempt(self, subset: list[int]) -> Look:
        """Update exactly this subset and look at the sample, with the network itself; the pass is not counted."""
        self.write(subset)
        with torch.no_grad():
            logits = self._glimpse.logits if self._glimpse else self.trial.network(self.sample.image)
        return Look.of(logits, self.sample)

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
                self.trial.forward_passes += 1
                self.look = self.attempt(self.subset)
        return options.iterations

    def replace(self) -> None:
        """Swap each element for a fresh draw where that lowers the sample's loss.

        What is drawn does not depend on what is taken, so all draws come first. The swaps that follow are looked at
        in one batch, against the subset as it is; the first that may lower the loss is looked at by the network
        itself, which decides. Once it is taken, those after it are looked at again, against the new subset.
        """
        fresh = self.drawn(len(self.subset))
        self.trial.forward_passes += len(fresh)
        place, reach = 0, BATCH[0]
        while place < len(fresh) and not np.isnan(self.look.loss):  # nothing is lower than NaN
            window = range(place, min(place + reach, len(fresh)))
            taken = self.first_taken(window, fresh)
            place = window.stop if taken is None else taken + 1
            reach = min(BATCH[1], 2 * reach) if taken is None else BATCH[0]

    def first_taken(self, window: range, fresh: list[int]) -> int | None:
        """Take the first swap of a window that lowers the loss; return its place, None where there is none."""
        for step in np.flatnonzero(self.may_be_lower(window, fresh)).tolist():
            place = window[step]
            swapped = [*self.subset[:place], fresh[place], *self.subset[place + 1 :]]
            look = self.attempt(swapped)
            if look.loss < self.look.loss:
                self.subset, self.look = swapped, look
                return place
        return None

    def may_be_lower(self, window: range, fresh: list[int]) -> Booleans:
        """Return which swaps (B,) do not clearly leave the sample's loss as high as it is."""
        if self._glimpse is None:
            return np.ones(len(window), dtype=bool)
        self.write(self.subset)
        out, into = self.subset[window.start : window.stop], fresh[window.start : window.stop]
        indices = np.array(out + into, dtype=np.int64)
        values = torch.cat([self.trial.original[self._tensor(out)], self.values(into)])
        rows = np.tile(np.arange(len(window)), 2)
        logits = self._glimpse.of(Edits(len(window), rows, indices, values))
        labels = self.sample.label.expand(len(window))
        losses = F.cross_entropy(logits, labels, reduction="none").cpu().numpy()
        moves = (self.trial.flat[self._tensor(out + into)] != values).view(2, -1).any(dim=0).cpu().numpy()
        # A loss is off by no more than two logits are; what is closer than that the network has to say itself.
        return cast(Booleans, moves & ~(losses > self.look.loss + 2 * self._glimpse.slack))

    def prune(self) -> None:
        """Put each parameter of the subset back, in order; leave it out where the sample stays right."""
        self.trial.forward_passes += len(self.subset)
        if self._glimpse is not None:
            self.write(self.subset)
            indices = np.array(self.subset, dtype=np.int64)
            restored = self.trial.original[self._tensor(self.subset)]
            gone = Elimination(self._glimpse, self.sample, indices, restored).run()
            self.subset = self._written = indices[~gone].tolist()
            return
        for index in list(self.subset):
            fewer = [other for other in self.subset if other != index]
            if self.attempt(fewer).right:
                self.subset = fewer

    def patch(self) -> Patch:
        """Return the change of the subset."""
        self.write(self.subset)
        chosen = self._tensor(self.subset)
        return Patch.sparse(self.trial.space, chosen, self.trial.original[chosen], self.trial.flat[chosen])
