"""Answers one search by the network at hand: each candidate is looked at alone, as a difference from that one."""

from typing import NamedTuple

import torch

from bgd.methods.base import Answer, Sample, Trial
from bgd.methods.bgd.steps import Alone, Choice, Own, Request, Run, Search, Settle, Subset, Walk, Walked
from bgd.methods.bgd.update import Update
from bgd.methods.elimination import margins
from bgd.methods.follower import Follower, Step
from bgd.methods.layers import known_layers
from bgd.methods.tape import is_faithful

DEAR = 100_000  # parameters from which a candidate is followed; measured for glimpses, which it was before, not anew


class Look(NamedTuple):
    """A network that was looked at: its subset, how it is reached from the one at hand, and what it says."""

    subset: Subset
    step: Step
    answer: Answer


class AtHand:
    """The network at hand of one search, in the memory of a trial: it has exactly a subset updated, from N0.

    Args:
        update: How far a parameter moves, always from its original value.
        trial: Has N0, until the search begins.
        sample: The sample.
        gradient: Of the sample at N0 (|W|,).

    Attributes:
        subset: The parameters that are updated.
        answer: What the network says of the sample; off by what two logits are, but where it was run itself.
    """

    def __init__(self, update: Update, trial: Trial, sample: Sample, gradient: torch.Tensor) -> None:
        self.update, self.trial, self.sample, self.gradient = update, trial, sample, gradient
        self.subset: Subset = []
        self.answer: Answer
        self._network: Follower | None = None  # made when the first subset is there
        # Before and after, of updates that are the same in all subsets.
        self._values: dict[int, tuple[float, float]] = {}
        self._tried: Look | None = None

    def lead(self, search: Search) -> None:
        """Answer a search to its end."""
        steps = search.steps()
        try:
            request = next(steps)
            while True:
                request = steps.send(self.reply(request))
        except StopIteration:
            return

    def reply(self, request: Request) -> Answer | Walked:
        """Give what a search asks for; see `bgd.methods.bgd.steps`."""
        match request:
            case Run(subset):
                self.answer = self.move(subset)
            case Walk():
                return self.walk(request)
            case Settle():
                if not self.network.own and self.margin(self.network.logits) > -2 * self.network.slack():
                    self.answer = Answer.of(self.network.run(), self.sample)
            case Own():
                if not self.network.own:
                    self.answer = Answer.of(self.network.run(), self.sample)
            case Alone(subset):
                self.answer = self.move(subset)
                self._network = self.follower(False)
        return self.answer

    @property
    def network(self) -> Follower:
        """What looks at candidates."""
        assert self._network is not None, "a search begins with a subset"
        return self._network

    def follower(self, follow: bool) -> Follower:
        """Return the evaluator of candidates on the sample, from the trial as it is now."""
        trial, image = self.trial, self.sample.image
        own = trial.network, trial.space, trial.flat
        tape = trial.kept(
            "a tape is faithful", lambda: not known_layers(*own[:2]) and is_faithful(*own, image)
        )
        return Follower(*own, image, follow, tape)

    def indices(self, subset: Subset) -> torch.Tensor:
        """Return a subset as a tensor (k,)."""
        return torch.tensor(subset, dtype=torch.long, device=self.trial.flat.device)

    def changed(self, subset: Subset) -> torch.Tensor:
        """Return the values of the parameters of a subset when exactly that is updated (k,)."""
        chosen = self.indices(subset)
        change = self.update.change(self.gradient, chosen)
        return (self.trial.original[chosen] + change).to(self.trial.flat.dtype)

    def edits(self, subset: Subset) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the edit from the current network to the one with this subset updated: indices and values (m,)."""
        alike = self.update.elementwise
        staying, known = set(subset), set(self.subset) if alike else set()
        dropped = [index for index in self.subset if index not in staying]
        added = [index for index in subset if index not in known]
        indices = self.indices(dropped + added)
        if not alike:
            return indices, torch.cat([self.trial.original[indices[: len(dropped)]], self.changed(added)])
        self.learn(dropped + added)
        values = [self._values[index][0] for index in dropped] + [self._values[index][1] for index in added]
        return indices, torch.tensor(values, dtype=self.trial.flat.dtype, device=indices.device)

    def learn(self, subset: Subset) -> None:
        """Note the values of some parameters before and after the update: all at once, for one by one takes longer."""
        fresh = [index for index in subset if index not in self._values]
        if fresh and self.update.elementwise:
            before, after = self.trial.original[self.indices(fresh)].tolist(), self.changed(fresh).tolist()
            self._values.update(zip(fresh, zip(before, after, strict=True), strict=True))

    def walk(self, request: Walk) -> Walked:
        """Decide choice by choice; each becomes the network at hand where it is kept."""
        self.learn(list(request.drawn))
        count, kept = 0, request.kept
        for choice in request.choices:
            kept, count = self.decide(choice), count + 1
            if kept != request.kept:
                break
        return Walked(count, kept, self.subset, self.answer)

    def decide(self, choice: Choice) -> bool:
        """Decide a choice, and keep its subset where that is the decision."""
        if choice.lower is None or choice.higher is None:
            answer = self.settled(self.attempt(choice.kept))
            return answer.right and self.keep(answer)
        if choice.lower is not choice.kept:
            if not self.is_lower(self.look(choice.lower), self.look(choice.higher)):
                return False
            return self.keep(self.attempt(choice.kept).answer)
        look = self.attempt(choice.kept)
        return self.is_lower(look, self.at_hand()) and self.keep(look.answer)

    def attempt(self, subset: Subset) -> Look:
        """Look at the sample with exactly this subset updated, without a change to the network at hand."""
        self._tried = None  # its memory is free before the next look takes some
        self._tried = self.look(subset)
        return self._tried

    def look(self, subset: Subset) -> Look:
        """Look at the sample with exactly this subset updated."""
        step = self.network.step(*self.edits(subset))
        return Look(subset, step, Answer.of(step.logits, self.sample))

    def at_hand(self) -> Look:
        """Return the network at hand, as it would be looked at."""
        nothing = self.indices([])
        step = Step(nothing, self.trial.flat[nothing], self.network.logits, None)
        return Look(self.subset, step, self.answer)

    def keep(self, answer: Answer) -> bool:
        """Make what was looked at last the network at hand, with what it says; return True."""
        assert self._tried is not None, "there was a look"
        self.subset, step, self.answer = self._tried.subset, self._tried.step, answer
        self.network.take(step)
        self._tried = None
        return True

    def move(self, subset: Subset) -> Answer:
        """Make the network with exactly this subset updated the one at hand; it is run in full."""
        if self._network is not None:
            logits = self._network.set(*self.edits(subset))
        else:
            self.trial.flat[self.indices(subset)] = self.changed(subset)
            self._network = self.follower(self.update.elementwise and self.trial.space.size >= DEAR)
            logits = self._network.logits
        self.subset = subset
        return Answer.of(logits, self.sample)

    def settled(self, look: Look) -> Answer:
        """Return the answer of a network; where the margin of a look is not clear, the network is run."""
        step = look.step
        if step.places is None or abs(self.margin(step.logits)) > 2 * self.network.slack(step):
            return look.answer
        return Answer.of(self.network.ran(step.indices, step.values), self.sample)

    def is_lower(self, one: Look, other: Look) -> bool:
        """Return whether a network has a lower loss than another one.

        Where two parameters do the same, as those do that lead from two pixels of one value, it is rounding that
        decides: the network's own.
        """
        looks, network = (one, other), self.network
        own = not any(look.step.places for look in looks)
        if own or abs(one.answer.loss - other.answer.loss) > 2 * network.tie:
            return one.answer.loss < other.answer.loss
        ran = (network.ran(look.step.indices, look.step.values) for look in looks)
        lower, higher = (Answer.of(logits, self.sample).loss for logits in ran)
        return lower < higher

    def margin(self, logits: torch.Tensor) -> float:
        """Return by how much the label's logit is above the largest other one: off by what two logits are."""
        return float(margins(logits, self.sample))
