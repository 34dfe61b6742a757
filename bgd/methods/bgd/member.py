"""One search among many that are answered together: what it asks for, and what is known of networks near its own."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from bgd.methods.base import Answer, Sample
from bgd.methods.bgd.steps import Choice, Run, Search, Subset, Walk

Key = frozenset[int]  # what of a subset moves: networks that have it in common are the same network


class Seen(NamedTuple):
    """What a network says of a sample.

    Attributes:
        answer: It.
        lead: By how much the label's logit is above the largest other one.
        largest: The largest magnitude on the way, at least 1; 0 where the network was run itself, and nothing is off.
    """

    answer: Answer
    lead: float
    largest: float


class Member:
    """A search in the pool, and what is known of networks near the one at hand.

    Args:
        place: Of its sample among all.
        sample: The sample.
        search: The search.

    Attributes:
        steps: What the search asks for.
        values: Before and after the update, of each parameter that was drawn.
        subset: The parameters that are updated in the network at hand.
        answer: What that network says of the sample; it says so itself where that was asked for.
        request: What is asked for and waits for a look, and its choices.
        alone: Whether the network itself decides, see `Alone`.
        looks: What was seen of networks, in float64.
        own: What networks say themselves.
    """

    answer: Answer
    request: Run | Walk

    def __init__(self, place: int, sample: Sample, search: Search) -> None:
        self.place, self.sample, self.search = place, sample, search
        self.steps = search.steps()
        self.values: dict[int, tuple[float, float]] = {}
        self._still: set[int] = set()  # those that the update leaves where they are
        self.subset: Subset = []
        self.choices: Sequence[Choice] = ()
        self.alone = False
        self.looks: dict[Key, Seen] = {}
        self.own: dict[Key, Seen] = {}

    def key(self, subset: Subset) -> Key:
        """Return those parameters of a subset that the update moves."""
        return frozenset(subset) - self._still

    def ask(self, request: Run | Walk) -> None:
        """Take down what the search asks for."""
        self.request = request
        self.choices = [] if isinstance(request, Run) else list(request.choices)

    def unknown(self) -> list[int]:
        """Return which parameters the request may update of which no value is known."""
        drawn = self.request.subset if isinstance(self.request, Run) else self.request.drawn
        return [index for index in drawn if index not in self.values]

    def learn(self, index: int, before: float, after: float) -> None:
        """Note the values of a parameter before and after the update."""
        self.values[index] = before, after
        if before == after:
            self._still.add(index)

    def wanted(self) -> dict[Key, Subset]:
        """Return the networks to look at for the request that were not seen yet."""
        if isinstance(self.request, Run):
            named = [self.request.subset]
        elif self.alone:
            named = []
        else:
            each = ((choice.kept, choice.lower, choice.higher) for choice in self.choices)
            named = [subset for subset in chain.from_iterable(each) if subset is not None]
        subsets = {self.key(subset): subset for subset in named}
        return {key: subset for key, subset in subsets.items() if key not in self.looks}

    def take(self, subset: Subset, seen: Seen) -> None:
        """Make a network the one at hand."""
        self.subset, self.answer = subset, seen.answer

    def forget(self) -> None:
        """Forget what was seen of other networks than the one at hand."""
        hand = self.key(self.subset)
        self.looks = {key: seen for key, seen in self.looks.items() if key == hand}
        self.own = {key: seen for key, seen in self.own.items() if key == hand}
