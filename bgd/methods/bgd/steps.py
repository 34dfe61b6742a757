"""The search as steps: it says what it wants to know of networks near the one at hand, and goes on with the answers.

Who answers may look at one candidate after another (`bgd.methods.bgd.followed`), or at those of many searches at once
(`bgd.methods.bgd.pool`). What is drawn, in which order, and what is decided is here, once for both.
"""

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from bgd.methods.base import Answer, Sample, Trial
from bgd.methods.bgd.prior import Sampler
from bgd.progress import followed

if TYPE_CHECKING:
    from bgd.methods.bgd.search import SubsetSearch

Subset = list[int]  # flat indices of the parameters that are updated, in the order they came in


class Run(NamedTuple):
    """Asks to have exactly this subset updated in the network at hand, and what that network itself says.

    The reply is an `Answer`.
    """

    subset: Subset


class Choice(NamedTuple):
    """A subset that becomes the one at hand where the test says so.

    Attributes:
        kept: The subset.
        lower: It is kept where the network with this subset has a lower loss than the one with `higher`; None where
            it is kept if the network with it gets the sample right.
        higher: See there.
    """

    kept: Subset
    lower: Subset | None = None
    higher: Subset | None = None


class Walk(NamedTuple):
    """Asks to go through choices in order, up to and with the first that is not decided as expected.

    Each choice is one that the search comes to if those before it are decided as expected, so that whoever can look at
    all of them at once may. The reply is a `Walked`.

    Attributes:
        choices: The choices; made one by one, as they are asked for.
        kept: The decision that is expected of each.
        drawn: What the choices may update beside the subset at hand.
    """

    choices: Iterator[Choice]
    kept: bool
    drawn: Sequence[int] = ()


class Walked(NamedTuple):
    """Where a walk has led.

    Attributes:
        gone: How many choices were gone through.
        kept: The decision of the last.
        subset: The subset at hand.
        answer: What the network at hand says of the sample.
    """

    gone: int
    kept: bool
    subset: Subset
    answer: Answer


class Settle(NamedTuple):
    """Asks what the network at hand says, by running it where rounding could make a wrong answer of a right one.

    The reply is an `Answer`.
    """


class Own(NamedTuple):
    """Asks what the network at hand itself says. The reply is an `Answer`."""


class Alone(NamedTuple):
    """Asks to have exactly this subset updated, and from now on to let the network itself decide. There is no reply."""

    subset: Subset


Request = Run | Walk | Settle | Own | Alone
Steps = Generator[Request, Any, None]


@dataclass(frozen=True, eq=False)
class Source:
    """What a search draws from.

    Attributes:
        sampler: Draws parameters.
        stream: The sample's random numbers, those of the sampler.
        gradient: Of the sample at N0 (|W|,).
    """

    sampler: Sampler
    stream: np.random.Generator
    gradient: torch.Tensor


def unusable(total: float, infinite: str, nothing: str) -> str:
    """Return why nothing can be drawn where a sum is this: one sentence or the other, or none where it can."""
    return infinite if not math.isfinite(total) else "" if total else nothing


class Search:
    """The state of one search.

    Args:
        options: How to search.
        trial: Counts the passes, each as the algorithm takes it.
        sample: The sample.
        source: What it draws from.

    Attributes:
        subset: Flat indices, in the order they came in. The network at hand has exactly these updated.
        answer: What the network at hand says of the sample; whether that is right, it says itself.
        iterations: How many there were.
    """

    subset: Subset
    answer: Answer
    iterations = 0

    def __init__(self, options: "SubsetSearch", trial: Trial, sample: Sample, source: Source) -> None:
        self.options, self.trial, self.sample = options, trial, sample
        self.sampler, self.stream = source.sampler, source.stream
        # Read one by one, and so on the CPU.
        self.harmful = options.guard.harmful(trial, source.gradient).cpu() if options.guard else None

    def steps(self) -> Steps:
        """Search, then prune."""
        self.subset = self.drawn(self.options.subset_size)
        self.trial.forward_passes += 1
        self.answer = yield Run(self.subset)
        yield from self.run()
        if self.answer.right and self.options.prune:
            yield from self.prune()

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

    def run(self) -> Steps:
        """Iterate, until the sample is right where that is the end."""
        options = self.options
        for _ in followed("iterations of the search, at the most", range(options.iterations)):
            if self.answer.right and options.stop == "when_right":
                return
            if options.probability_update == "printed":
                now = self.trial.gradient(self.sample, out=self.trial.scratch("gradient now"))
                self.sampler.lower(now.abs_())
            if self.stream.random() < options.replace_probability:
                yield from self.replace()
            else:
                self.subset = self.subset + self.drawn(options.expansion)
                self.answer = yield Run(self.subset)
                self.trial.forward_passes += 1
            self.iterations += 1

    def replace(self) -> Steps:
        """Have fresh draws take the places of elements; see `SubsetSearch.replace`."""
        fresh = self.drawn(len(self.subset))  # what is drawn does not depend on what is taken
        printed = self.options.replace == "printed"
        self.trial.forward_passes += 2 * len(fresh) + 1 if printed else len(fresh)

        def choices(start: int, kept: bool) -> Iterator[Choice]:
            subset = self.subset
            for place in range(start, len(fresh)):
                before, after = subset[:place], subset[place + 1 :]
                swapped = [*before, fresh[place], *after]
                if printed:
                    # DEVIATION D35: the subset at hand, as the text has it, not the one before the iteration.
                    yield Choice(swapped, [*subset, fresh[place]], [*before, *after])
                else:
                    yield Choice(swapped, swapped, subset)
                subset = swapped if kept else subset

        yield from self.walk(choices, len(fresh), fresh)
        self.answer = yield Settle()

    def walk(
        self, choices: Callable[[int, bool], Iterator[Choice]], count: int, drawn: Sequence[int] = ()
    ) -> Steps:
        """Have choices decided one after the other, each expected to go as the one before.

        Args:
            choices: Gives those from a place on, if each is decided in one way.
            count: How many there are.
            drawn: See `Walk`.
        """
        done, kept = 0, False
        while done < count:
            walked: Walked = yield Walk(choices(done, kept), kept, drawn)
            self.subset, self.answer = walked.subset, walked.answer
            done, kept = done + walked.gone, walked.kept

    def prune(self) -> Steps:
        """Put each parameter of the subset back, in order; leave it out where the sample stays right (Algorithm 1)."""
        self.trial.forward_passes += len(self.subset)
        whole = self.subset
        yield from self.eliminate(whole)
        answer: Answer = yield Own()
        if not answer.right:
            yield Alone(whole)  # rounding was worse than what was taken for it: trust the network alone
            self.subset = whole
            yield from self.eliminate(whole)

    def eliminate(self, whole: Subset) -> Steps:
        """Go through the whole subset."""

        def choices(start: int, kept: bool) -> Iterator[Choice]:
            subset = self.subset
            for index in whole[start:]:
                smaller = [other for other in subset if other != index]
                yield Choice(smaller)
                subset = smaller if kept else subset

        yield from self.walk(choices, len(whole))
