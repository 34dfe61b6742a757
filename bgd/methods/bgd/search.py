"""Parameter Subset Selection (Algorithm 2, section 3.4) and its pruning step (Algorithm 1, section 3.1)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from bgd.curvature.base import CurvatureError
from bgd.methods.base import Answer, Correction, Sample, Trial
from bgd.methods.bgd.guard import Guard
from bgd.methods.bgd.prior import GradientPrior, InformedPrior, Magnitude, Prior, Sampler, prior_at
from bgd.methods.bgd.row import linear_row
from bgd.methods.bgd.update import FirstOrder, SecondOrder, Update
from bgd.methods.elimination import margins
from bgd.methods.follower import Follower, Step
from bgd.methods.layers import known_layers
from bgd.methods.tape import is_faithful
from bgd.parameters import ParameterSpace
from bgd.patch import Patch
from bgd.progress import followed

VERSION = 3  # raised whenever the same search may give another correction
DEAR = 100_000  # parameters from which a candidate is followed; measured for glimpses, which it was before, not anew
MANY = 64  # samples of a call to compiled code: their gradients stay in the cache
CHOICES = {
    "probability_update": ("drawn_to_zero", "printed"),
    "stop": ("when_right", "never"),
    "replace": ("swap", "printed"),
}


@dataclass(frozen=True)
class SubsetSearch:
    """Looks for a small subset of the weights whose update makes the network get the sample right.

    A candidate is looked at from the first parameter it changes on, as a difference from the network at hand
    (`Follower`), which decides what running the network for each would decide. Forward passes are counted as the
    algorithm takes them, one for each candidate it considers, whatever was run.

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
        stop: `when_right`: at the first iteration that finds the sample right (released code); `never`: after all T
            (Algorithm 2, which has no exit).
        replace: When a fresh draw takes an element's place. `swap`: where the subset with it in that place has a lower
            loss than the subset at hand (released code); `printed`: where the subset with it added has a lower loss
            than the subset without the element (Algorithm 2, line 11).
        prune: Whether the subset is pruned at the end (Algorithm 1).
    """

    prior: Prior | InformedPrior = field(default_factory=GradientPrior)
    update: Update = field(default_factory=SecondOrder)
    guard: Guard | None = None
    subset_size: int = 5
    iterations: int = 20
    expansion: int = 10
    replace_probability: float = 0.7
    probability_update: str = "drawn_to_zero"
    prune: bool = True
    # DEVIATION D33, D34: Algorithm 2 as printed does otherwise.
    stop: str = "when_right"
    replace: str = "swap"

    def __post_init__(self) -> None:
        for key in ("subset_size", "iterations", "expansion"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}={getattr(self, key)}: must be at least 1")
        if not 0 <= self.replace_probability <= 1:
            raise ValueError(f"replace_probability={self.replace_probability}: must be between 0 and 1")
        for key, choices in CHOICES.items():
            if (value := getattr(self, key)) not in choices:
                raise ValueError(f"{key}={value!r}: must be one of {', '.join(choices)}")

    def correct(self, trial: Trial, sample: Sample, stream: np.random.Generator) -> Correction:
        """Search, then prune; see `Method.correct`."""
        gradient = trial.gradient(sample, out=trial.scratch("gradient"))
        magnitude = Magnitude(gradient, trial.space)
        if not torch.isfinite(magnitude.total):
            return Correction.failed("the gradient is not finite")
        if not magnitude.total:
            return Correction.failed("the gradient is zero")
        try:
            prior = prior_at(self.prior, trial, sample)
        except CurvatureError as error:
            return Correction.failed(str(error))
        sampler = Sampler(prior.weights(magnitude), stream)
        if not math.isfinite(sampler.total):
            return Correction.failed("the prior is not finite")
        if not sampler.total:
            return Correction.failed("the prior leaves no weight to draw")
        search = _Search(self, trial, sample, sampler, stream, gradient)
        steps = search.run()
        if search.answer.right and self.prune:
            search.prune()
        patch, trial.altered = search.patch(), search.indices(search.subset)
        if not search.answer.right:
            return Correction.failed(f"wrong after {steps} iterations", steps)
        return Correction(patch, altered=len(search.subset), steps=steps)

    def at_once(self, network: nn.Module) -> int:
        """Many on a small row of linear layers, with updates that compiled code knows; see `Together`."""
        return MANY if self._is_compiled(network) else 1

    def correct_many(
        self, trial: Trial, samples: Sequence[Sample], streams: Sequence[np.random.Generator]
    ) -> Sequence[Correction]:
        """Search for each sample in compiled code, with the same outcome; see `Together`."""
        from bgd.methods.bgd.together import Searches  # numba takes a third of a second to import

        return Searches(self, trial).correct(samples, streams)

    def _is_compiled(self, network: nn.Module) -> bool:
        known = type(self.update) is FirstOrder or (
            type(self.update) is SecondOrder and self.update.elementwise
        )
        if (
            not known
            or self.probability_update != "drawn_to_zero"
            or type(self).correct is not SubsetSearch.correct
        ):
            return False
        space = ParameterSpace.of(network)
        first = next(network.parameters())
        plain = first.dtype == torch.float32 and first.device.type == "cpu" and space.size < DEAR
        return plain and bool(linear_row(network, space))


class _Look(NamedTuple):
    """A network that was looked at: its subset, how it is reached from the one at hand, and what it says."""

    subset: list[int]
    step: Step
    answer: Answer


class _Search:
    """The state of one search.

    The network at hand always has exactly the subset updated, each parameter from its original value.

    Attributes:
        subset: Flat indices, in the order they came in.
        answer: What the network at hand says of the sample; whether that is right, it says itself.
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
        self._values: dict[
            int, tuple[float, float]
        ] = {}  # before and after, of updates that are the same in all
        self.subset = self.drawn(options.subset_size)
        trial.flat[self.indices(self.subset)] = self.changed(self.subset)
        self._network = self.follower(options.update.elementwise and trial.space.size >= DEAR)
        self._tried: _Look | None = None
        trial.forward_passes += 1
        self.answer = Answer.of(self._network.logits, sample)

    def follower(self, follow: bool) -> Follower:
        """Return the evaluator of candidates on the sample, from the trial as it is now."""
        trial, image = self.trial, self.sample.image
        own = trial.network, trial.space, trial.flat
        tape = trial.kept(
            "a tape is faithful", lambda: not known_layers(*own[:2]) and is_faithful(*own, image)
        )
        return Follower(*own, image, follow, tape)

    def indices(self, subset: list[int]) -> torch.Tensor:
        """Return a subset as a tensor (k,)."""
        return torch.tensor(subset, dtype=torch.long, device=self.trial.flat.device)

    def changed(self, subset: list[int]) -> torch.Tensor:
        """Return the values of the parameters of a subset when exactly that is updated (k,)."""
        chosen = self.indices(subset)
        change = self.options.update.change(self.gradient, chosen)
        return (self.trial.original[chosen] + change).to(self.trial.flat.dtype)

    def edits(self, subset: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the edit from the current network to the one with this subset updated: indices and values (m,)."""
        alike = self.options.update.elementwise
        staying, known = set(subset), set(self.subset) if alike else set()
        dropped = [index for index in self.subset if index not in staying]
        added = [index for index in subset if index not in known]
        indices = self.indices(dropped + added)
        if not alike:
            return indices, torch.cat([self.trial.original[indices[: len(dropped)]], self.changed(added)])
        self.learn(dropped + added)
        values = [self._values[index][0] for index in dropped] + [self._values[index][1] for index in added]
        return indices, torch.tensor(values, dtype=self.trial.flat.dtype, device=indices.device)

    def learn(self, subset: list[int]) -> None:
        """Note the values of some parameters before and after the update: all at once, for one by one takes longer."""
        fresh = [index for index in subset if index not in self._values]
        if fresh and self.options.update.elementwise:
            before, after = self.trial.original[self.indices(fresh)].tolist(), self.changed(fresh).tolist()
            self._values.update(zip(fresh, zip(before, after, strict=True), strict=True))

    def attempt(self, subset: list[int]) -> Answer:
        """Look at the sample with exactly this subset updated, without a change to the network at hand."""
        self._tried = None  # its memory is free before the next look takes some
        self._tried = self.look(subset)
        return self._tried.answer

    def look(self, subset: list[int]) -> _Look:
        """Look at the sample with exactly this subset updated."""
        step = self._network.step(*self.edits(subset))
        return _Look(subset, step, Answer.of(step.logits, self.sample))

    def at_hand(self) -> _Look:
        """Return the network at hand, as it would be looked at."""
        nothing = self.indices([])
        step = Step(nothing, self.trial.flat[nothing], self._network.logits, None)
        return _Look(self.subset, step, self.answer)

    def keep(self) -> None:
        """Make what was looked at last the network at hand."""
        assert self._tried is not None, "there was a look"
        self.subset, step, _ = self._tried
        self._network.take(step)
        self._tried = None

    def move(self, subset: list[int]) -> Answer:
        """Make the network with exactly this subset updated the one at hand; it is run in full."""
        logits = self._network.set(*self.edits(subset))
        self.subset = subset
        return Answer.of(logits, self.sample)

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
        """Iterate, until the sample is right where that is the end; return the number of iterations."""
        options = self.options
        for step in followed("iterations of the search, at the most", range(options.iterations)):
            if self.answer.right and options.stop == "when_right":
                return step
            if options.probability_update == "printed":
                now = self.trial.gradient(self.sample, out=self.trial.scratch("gradient now"))
                self.sampler.lower(now.abs_())
            if self.stream.random() < options.replace_probability:
                self.replace()
            else:
                self.answer = self.move(self.subset + self.drawn(options.expansion))
                self.trial.forward_passes += 1
        return options.iterations

    def replace(self) -> None:
        """Have fresh draws take the places of elements; see `SubsetSearch.replace`."""
        fresh = self.drawn(len(self.subset))  # what is drawn does not depend on what is taken
        self.learn(fresh)
        printed = self.options.replace == "printed"
        self.trial.forward_passes += 2 * len(fresh) + 1 if printed else len(fresh)
        for place, index in enumerate(fresh):
            if printed and not self.is_fitter(place, index):
                continue
            answer = self.attempt([*self.subset[:place], index, *self.subset[place + 1 :]])
            assert self._tried is not None, "there was a look"
            if printed or self.is_lower(self._tried, self.at_hand()):
                self.keep()
                self.answer = answer
        if not self._network.own and self.lead(self._network.logits) > -2 * self._network.slack():
            self.answer = Answer.of(self._network.run(), self.sample)

    def is_fitter(self, place: int, index: int) -> bool:
        """Return whether the subset with a parameter added has a lower loss than without the element at a place."""
        # DEVIATION D35: the subset at hand, as the text has it, not the one before the iteration.
        without = [*self.subset[:place], *self.subset[place + 1 :]]
        return self.is_lower(self.look([*self.subset, index]), self.look(without))

    def is_lower(self, one: _Look, other: _Look) -> bool:
        """Return whether a network has a lower loss than another one.

        Where two parameters do the same, as those do that lead from two pixels of one value, it is rounding that
        decides: the network's own.
        """
        looks, network = (one, other), self._network
        own = not any(look.step.places for look in looks)
        if own or abs(one.answer.loss - other.answer.loss) > 2 * network.tie:
            return one.answer.loss < other.answer.loss
        ran = (network.ran(look.step.indices, look.step.values) for look in looks)
        lower, higher = (Answer.of(logits, self.sample).loss for logits in ran)
        return lower < higher

    def lead(self, logits: torch.Tensor) -> float:
        """Return by how much the label's logit is above the largest other one: off by what two logits are."""
        return float(margins(logits, self.sample))

    def prune(self) -> None:
        """Put each parameter of the subset back, in order; leave it out where the sample stays right (Algorithm 1)."""
        self.trial.forward_passes += len(self.subset)
        whole = self.subset
        self.eliminate()
        if not self._network.own and not Answer.of(self._network.run(), self.sample).right:
            self.move(whole)  # rounding was worse than the slack: trust the network alone
            self._network = self.follower(False)
            self.eliminate()

    def eliminate(self) -> None:
        """Go through the subset; where a margin is not clear the network is run itself."""
        for index in self.subset:
            answer = self.attempt([other for other in self.subset if other != index])
            assert self._tried is not None
            step = self._tried[1]
            if step.places is not None and not abs(self.lead(step.logits)) > 2 * self._network.slack(step):
                answer = Answer.of(self._network.ran(step.indices, step.values), self.sample)
            if answer.right:
                self.keep()

    def patch(self) -> Patch:
        """Return the change of the subset."""
        chosen = self.indices(self.subset)
        return Patch.sparse(self.trial.space, chosen, self.trial.original[chosen], self.trial.flat[chosen])
