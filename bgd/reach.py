"""One sample corrected: which margin to ask the method for, so that the goal is met wherever it has to hold."""

from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from bgd import rng
from bgd.arithmetic import Elsewhere
from bgd.arithmetic.elsewhere import EIGHT_BITS, growth
from bgd.goals import Goal
from bgd.methods.base import Answer, Correction, Method, Problem, Sample
from bgd.outputs import logits_in, passed
from bgd.patch import Patch
from bgd.refusals import refuse_infinite, refuse_kept

FIRST = 1e-3  # logits beyond the goal's margin, the smallest that are tried
MOST = 100.0  # logits beyond it, the largest
WIDTH = 0.5  # what holds is at most that much larger, relative to itself, than a margin that was tried and does not
# Of the largest weight of a tensor, at most, where all share one scale of 8 bits: up to there quantization costs other
# images no more than where no weight outgrows the rest (scripts/scales.py, docs/arithmetic.md).
GROWTH = 10.0

Margins = Generator[
    float, float | None, None
]  # gets by how much each falls short: 0 holds, None ends the search


@dataclass(frozen=True)
class _Asked:
    """A sample, and what is asked for it."""

    sample: Sample
    label: int
    goal: Goal
    logits: torch.Tensor


@dataclass(frozen=True)
class _Short:
    """In which arithmetic a network does not reach a goal, "" for its own, and by how many logits."""

    where: str
    lack: float


class Reach:
    """Corrects one input at a time of the network of a problem.

    Args:
        problem: The network. It changes by `advance` alone.
        method: How.
        seed: Of the method's random numbers; every margin that is tried for a sample has the same.

    Attributes:
        problem: The same.
        elsewhere: The network of the problem in other arithmetics.
    """

    def __init__(self, problem: Problem, method: Method, seed: int) -> None:
        self.problem, self._method, self._seed = problem, method, seed
        self.elsewhere = Elsewhere(problem.current)

    def advance(self, patch: Patch) -> None:
        """Make the patched network the current one."""
        self.problem.advance(patch)
        self.elsewhere.touch(patch.tensors)

    def correct(self, index: int, x: torch.Tensor, label: int, goal: Goal) -> Correction:
        """Correct an input (1, ...): with the smallest margin that holds in every arithmetic of the goal.

        Args:
            index: Of the input among those that were asked for, for random numbers and messages.
            x: The input.
            label: The right class.
            goal: What to reach.
        """
        sample = Sample(index, x, torch.tensor([label], device=x.device))
        logits = self.problem.logits(sample)
        refuse_infinite(x, logits)
        goal.check(logits.shape[1])
        asked = _Asked(sample, label, goal, logits)
        if self._short(asked) is None:
            return Correction.unneeded()
        refuse_kept(x, self.problem.knowledge)
        best, spent = Correction.failed("no margin that was tried asks for a change"), Correction.unneeded()
        margins = smallest() if goal.where else first(goal.margins)
        more = next(margins)
        try:
            while True:
                found, lack = self._probe(asked, more)
                spent = spent.plus(found)
                if lack == 0 or best.patch is None:
                    best = replace(found, margin=more)
                more = margins.send(lack)
        except StopIteration:
            return replace(
                best,
                forward_passes=spent.forward_passes,
                backward_passes=spent.backward_passes,
                searches=spent.searches,
            )

    def _probe(self, asked: _Asked, more: float) -> tuple[Correction, float | None]:
        """Search with a margin, and look at what was found wherever it has to hold.

        Returns:
            What was found, and by how much it falls short: 0 if it does not, None if no larger margin can help.
        """
        goal, problem = asked.goal, self.problem
        target = torch.tensor([goal.target(asked.logits, asked.label)], device=asked.logits.device)
        offset = goal.offset(asked.logits, asked.label, more)
        growth = GROWTH if _shares_scales(goal) else None
        wanted = replace(asked.sample, label=target, offset=offset, growth=growth)
        if Answer.of(asked.logits, wanted).right:
            short = self._short(asked)
            return Correction.failed("no margin that was tried asks for a change"), _lack(short)
        stream = rng.stream(self._seed, "method", asked.sample.index)
        found, trial = problem.attempt(self._method, wanted, stream)
        found = replace(
            found,
            forward_passes=trial.forward_passes,
            backward_passes=trial.backward_passes,
            searches=1,
        )
        patch = found.patch
        if patch is None:
            return found, None
        if not torch.isfinite(patch.new).all():
            return _without(found, "a changed value is not finite"), None
        ruined = self._ruined(goal, patch)
        if ruined:
            return _without(found, ruined), None
        with self.elsewhere.patched(patch):
            short = self._short(asked)
        if short is None:
            return found, 0.0
        return _without(found, self._reason(asked, patch, short)), _lack(short)

    def _short(self, asked: _Asked) -> _Short | None:
        """Return where the network as it is does not reach the goal, the first of the places; None for nowhere."""
        goal, x = asked.goal, asked.sample.image
        logits = self.problem.logits(asked.sample)
        if not goal.met(logits, asked.label, partial(outputs, self.problem, x)):
            return _Short("", goal.lack(logits, asked.label))
        for where in goal.where:
            said = self.elsewhere.outputs(where, x)
            logits = logits_in(said).to(logits.device)
            met = goal.met(logits, asked.label, lambda said=said: said)  # type: ignore[misc]
            if not met or (goal.decide is None and goal.lead(logits, asked.label) <= 0):  # a tie is anybody's
                return _Short(where, goal.lack(logits, asked.label))
        return None

    def _ruined(self, goal: Goal, patch: Patch) -> str:
        """Say which tensor's scale of 8 bits a patch ruins; nothing where it ruins none that matters."""
        if not _shares_scales(goal):
            return ""
        factors = growth(patch, self.problem.original)
        name = max(factors, key=factors.__getitem__, default="")
        if not name or factors[name] <= GROWTH:
            return ""
        return (
            f"the largest weight of {name} becomes {factors[name]:.3g} times as large, and all of its weights share "
            f"one scale of 8 bits: {GROWTH:g} times is the most"
        )

    def _reason(self, asked: _Asked, patch: Patch, short: _Short) -> str:
        if not short.where:
            return "the goal is not met, with any margin that was tried"
        x = asked.sample.image
        before = logits_in(self.elsewhere.outputs(short.where, x))
        with self.elsewhere.patched(patch):
            after = logits_in(self.elsewhere.outputs(short.where, x))
        gone = ": the change vanishes there" if torch.equal(before, after) else ""
        return f"the goal is not met in {short.where}, with any margin that was tried{gone}"


def first(margins: Iterable[float]) -> Margins:
    """Yield margins in turn until one holds."""
    for margin in margins:
        lack = yield margin
        if not lack:
            return


def smallest() -> Margins:
    """Yield margins until the smallest that holds is known to a relative `WIDTH`.

    Upwards by what the one before fell short, at least to its double; then between the last that fell short and the
    first that held, by bisection. Rounding goes in steps, so a smaller one may hold by chance.
    """
    low = high = 0.0
    lack = yield high
    while lack:
        low, high = high, max(FIRST, 2 * high, high + 1.1 * lack)
        if high > MOST:
            return
        lack = yield high
    if lack is None:
        return
    while high - low > WIDTH * high:
        middle = (low + high) / 2
        lack = yield middle
        low, high = (low, middle) if lack == 0 else (middle, high)


def outputs(problem: Problem, x: torch.Tensor) -> Any:
    """Return the outputs of the network as it is, in the model's own form."""
    with torch.no_grad():
        return passed(problem.current.module, x)


def _shares_scales(goal: Goal) -> bool:
    """Return whether a goal has to hold where all weights of a tensor share one scale."""
    return bool(set(goal.where) & set(EIGHT_BITS))


def _lack(short: _Short | None) -> float:
    """Return what a margin has to be larger by; at least a little where margins are not all of the goal."""
    return 0.0 if short is None else max(short.lack, FIRST)


def _without(found: Correction, reason: str) -> Correction:
    """Return a correction that is not proposed, with what it cost."""
    return replace(found, patch=None, altered=0, reason=reason)
