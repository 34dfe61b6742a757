"""Least harm: the change of at most k parameters that makes a sample right and costs everything else least."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import nn

from bgd.errors import ConfigError
from bgd.methods.base import Correction, Sample, Trial
from bgd.methods.least_harm.grow import additions, alone
from bgd.methods.least_harm.growth import beyond, limits_of
from bgd.methods.least_harm.harm import INFINITE, Cost, Divergence, Harm, HarmModel, is_compiled
from bgd.methods.least_harm.solve import Solution, solve
from bgd.methods.least_harm.tail import Support, Tail
from bgd.methods.least_harm.target import Target
from bgd.patch import Patch

VERSION = 1  # raised whenever the same options may give another correction

EACH = 4  # single parameters of every layer that are looked at in truth, whatever the model says
LARGER = (1.0, 1.001, 1.01, 1.1, 1.5)  # multiples, should the network round otherwise than its tail


class Terms(NamedTuple):
    """What a search works with: the tail, the sample and what a change costs."""

    tail: Tail
    target: Target
    harm: Harm

    def within(self, solution: Solution | None) -> Solution | None:
        """Return a solution that keeps to the limits of the sample's weights; None for another."""
        if solution is None or solution.cost.value == INFINITE:
            return None
        if self.target.beyond(solution.support, solution.change).any():
            return None
        return solution

    def cheapest(self, singles: Sequence[Solution]) -> Solution | None:
        """Return the best of some solutions that keep to the limits; None where there is none.

        Args:
            singles: By rising harm. Of those that are not the first, the harm is measured here.
        """
        if not singles or self.within(singles[0]):
            return singles[0] if singles else None
        best = None
        for each in filter(self.within, singles):
            best = cheaper(best, replace(each, cost=self.harm.cost(each.support, each.change)))
        return best


@dataclass(frozen=True)
class LeastHarm:
    """Grows a support by the parameter that lowers expected harm most, until the harm is tolerable or the budget spent.

    Attributes:
        price: What harm is, and with that what the method needs to know; None where another method's own takes its
            place.
        budget: The most parameters k that change; None for all of the tail, solved for at once.
        tolerance: Expected harm, in nats per image, and share of flipped predictions at which no parameter is added
            any more; 0 for always the whole budget. The default is chosen on errors among images set aside.
        harm_budget: Expected harm above which a correction is refused; None for no such limit.
        scope: Most parameters of the last layers that are searched; the last layer is always. The default has the whole
            of the thesis' MLP and the last layer of its AlexNet.
        singles: How many single parameters are looked at in truth.
        growth: A step of growth adds this share of the parameters that are there, and one at least.
        tries: How many parameters are tried at a step that adds one.
        iterations: Quadratic programs for each support.
    """

    knows: ClassVar[str] = "keep_set"

    price: HarmModel | None = field(default_factory=Divergence)
    budget: int | None = 16
    tolerance: float = 0.00067
    harm_budget: float | None = None
    scope: int = 20000
    singles: int = 40
    growth: float = 0.25
    tries: int = 4
    iterations: int = 4

    def __post_init__(self) -> None:
        for key in ("budget", "scope", "singles", "tries", "iterations"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ValueError(f"{key}={value}: must be at least 1")
        if self.growth < 0:
            raise ValueError(f"growth={self.growth}: must be at least 0")
        if self.tolerance < 0:
            raise ValueError(f"tolerance={self.tolerance}: must be at least 0")
        if self.harm_budget is not None and self.harm_budget <= 0:
            raise ValueError(f"harm_budget={self.harm_budget}: must be above 0, or null")

    def draws(self, network: nn.Module) -> bool:
        """Nothing is drawn."""
        return False

    def carry_after(self, corrected: Sequence[Sample]) -> tuple[Sample, ...]:
        """The samples made right are what is carried along; see `Method`."""
        return tuple(corrected)

    def keeps_since(self, corrected: int) -> int:
        """The price may keep something of a network with corrections; see `Method`."""
        return kept_since(self.price, corrected)

    def correct(self, trial: Trial, sample: Sample, stream: np.random.Generator) -> Correction:
        """Grow a support; see `Method.correct`. The samples made right so far are carried along, for prices that ask.

        Raises:
            ConfigError: There is no price.
        """
        if self.price is None:
            raise ConfigError("method.price=null: least harm needs to know what harm is")
        terms = terms_of(trial, sample, self.price, self.scope)
        found, steps = self.search(terms)
        done = finished(trial, sample, terms.tail, found, steps, self.budget, self.harm_budget)
        return remembered(trial, sample, done)

    def search(self, terms: Terms) -> tuple[Solution | None, int]:
        """Return the best solution within the budget, and how many supports were solved for.

        Where weights have limits the search is the same, and what is beyond them is no solution. Where a better one is
        beyond them and the best within is not tolerable, the search is made once more: from single parameters whose
        step keeps to the limits, with each parameter of a support held to its own.
        """
        singles = alone(terms.harm, terms.target, terms.tail, self.singles, EACH)
        best, least, steps = self._from(terms, singles)
        if best is not least and not self._is_enough(best):
            singles = alone(terms.harm, terms.target, terms.tail, self.singles, EACH, limited=True)
            held, _, more = self._from(terms, singles, held=True)
            best, steps = cheaper(best, held), steps + more
        return best, steps

    def _from(
        self, terms: Terms, singles: list[Solution], held: bool = False
    ) -> tuple[Solution | None, Solution | None, int]:
        """Grow a support from the best of single parameters; see `search`.

        Args:
            terms: What to work with.
            singles: By rising harm.
            held: Whether parameters are held to their limits while a support is solved for.

        Returns:
            The best solution within the limits, the best one of all, and how many supports were solved for.
        """
        tail = terms.tail
        now = least = singles[0] if singles else None
        best = terms.cheapest(singles)
        if self.budget is None:
            whole = everything(terms, self.iterations)
            return cheaper(best, terms.within(whole)), cheaper(least, whole), len(singles) + 1
        support, change = (now.support, now.change) if now else tail.nothing()
        steps = len(singles)
        while len(support) < self.budget and not self._is_enough(best):
            tried = [
                self._grown(terms, support, change, more, held)
                for more in self._choices(terms, support, change)
            ]
            steps += len(tried)
            now = None
            for solution in tried:
                now, best = cheaper(now, solution), cheaper(best, terms.within(solution))
                least = cheaper(least, solution)
            if now is None:
                break
            support, change = now.support, now.change
        return best, least, max(1, steps)

    def _is_enough(self, solution: Solution | None) -> bool:
        return solution is not None and self.tolerable(solution.cost)

    def tolerable(self, cost: Cost) -> bool:
        """Return whether a cost is low enough for no further parameter."""
        return cost.value <= self.tolerance and cost.flips <= self.tolerance

    def _choices(self, terms: Terms, support: Support, change: torch.Tensor) -> list[torch.Tensor]:
        """Return the sets of parameters to try to add: single ones, or the best together."""
        assert self.budget is not None
        count = min(max(1, int(self.growth * len(support))), self.budget - len(support))
        ranked = additions(terms.harm, terms.target, support, change, max(count, self.tries))
        if not len(ranked):
            return []  # all of the tail is in the support, or nothing has a finite effect
        return list(torch.split(ranked[: self.tries], 1)) if count == 1 else [ranked[:count]]

    def _grown(
        self, terms: Terms, support: Support, change: torch.Tensor, more: torch.Tensor, held: bool
    ) -> Solution | None:
        grown = terms.tail.support(torch.cat([support.indices, more]))
        start = torch.cat([change, change.new_zeros(len(more))])
        room = terms.target.room(grown) if held else None
        return solve(terms.harm, terms.target, grown, start, self.iterations, room)


def tail_of(trial: Trial, sample: Sample, scope: int) -> Tail:
    """Return the last layers of a trial's network, made once; `sample` is an input to run the network with.

    Raises:
        LayerError: The network's outputs are those of no plain linear layer.
    """
    tail: Tail = trial.kept(f"tail of {scope}", lambda: Tail(trial.network, trial.space, scope, sample.image))
    tail.check()
    return tail


def terms_of(trial: Trial, sample: Sample, price: HarmModel, scope: int) -> Terms:
    """Return the tools of a search of a trial's network."""
    tail = tail_of(trial, sample, scope)
    weights = trial.kept(f"weights of {scope}", lambda: tail.weights(trial.original), of=tail.tensors)
    return Terms(tail, target_of(trial, tail, weights, sample), price.harm(trial, tail, weights))


def target_of(trial: Trial, tail: Tail, weights: list[torch.Tensor], sample: Sample) -> Target:
    """Return `Target` with these arguments, or the same in compiled code."""
    if not is_compiled([trial.original, *weights]):
        return Target(trial, tail, weights, sample)
    from bgd.methods.least_harm.compiled_target import CompiledTarget

    return CompiledTarget(trial, tail, weights, sample)


def cheaper(one: Solution | None, other: Solution | None) -> Solution | None:
    """Return the solution of less harm, `one` where they are equal; None where there is neither."""
    if one is None or other is None:
        return other if one is None else one
    return other if other.cost.value < one.cost.value else one


def everything(terms: Terms, iterations: int) -> Solution | None:
    """Return the change of all parameters of a tail with least harm; None where none was found."""
    size, device = terms.tail.size, terms.tail.places.device
    support = terms.tail.support(torch.arange(size, device=device))
    return solve(terms.harm, terms.target, support, torch.zeros(size, device=device), iterations)


def finished(
    trial: Trial,
    sample: Sample,
    tail: Tail,
    found: Solution | None,
    steps: int,
    budget: int | None,
    harm_budget: float | None = None,
) -> Correction:
    """Return a solution as a correction: the network itself has the last word on whether the sample is right."""
    if found is None:
        within = (
            "any change of the last layers" if budget is None else f"a change of at most {budget} parameters"
        )
        return Correction.failed(f"wrong after {within} that was looked at", steps)
    if harm_budget is not None and found.cost.value > harm_budget:
        return Correction.failed(
            f"refused: expected harm {found.cost.value:.3g} is above {harm_budget:g}", steps
        )
    places = tail.places[found.support.indices]
    trial.altered = places
    limits = limits_of(trial, sample, tail)
    for multiple in LARGER:
        if beyond(limits, trial, found.support, multiple * found.change).any():
            return Correction.failed("wrong in the network itself, within the limits of its weights", steps)
        trial.flat[places] = (trial.original[places] + multiple * found.change).to(trial.flat.dtype)
        if trial.answer(sample).right:
            patch = Patch.sparse(trial.space, places, trial.original[places], trial.flat[places])
            return Correction(patch, len(patch), steps)
    return Correction.failed("wrong in the network itself, by more than rounding", steps)


def kept_since(price: HarmModel | None, corrected: int) -> int:
    """Return after how many corrections a price made what it keeps: 0, unless it says otherwise."""
    says: Callable[[int], int] | None = getattr(price, "keeps_since", None)
    return says(corrected) if says else 0


def earlier(trial: Trial) -> tuple[Sample, ...]:
    """Return the samples that were made right before, where corrections accumulate."""
    return trial.carry or ()


def remembered(trial: Trial, sample: Sample, done: Correction) -> Correction:
    """Return a correction that carries along the samples made right so far, this one with them if it is."""
    return replace(done, carry=earlier(trial) if done.patch is None else (*earlier(trial), sample))
