"""Answers many searches at once, each from the same network: what they ask for goes through it in one pass.

On a card a pass of a hundred candidates takes as long as one of a single one, and so do a hundred gradients. So each
search goes on until it wants to know of a network near the one at hand; then the candidates of all of them are looked
at together (`bgd.methods.bgd.candidates`), and the searches go on with the answers. One that is at its end leaves.

What is drawn is drawn on the CPU, by each sample's own stream. Where rounding could decide, the network itself is run.
"""

from collections.abc import Sequence
from copy import copy
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from bgd.curvature.base import CurvatureError
from bgd.methods.base import Answer, Correction, Sample, Trial
from bgd.methods.bgd.candidates import Candidates, Row
from bgd.methods.bgd.followed import DEAR
from bgd.methods.bgd.member import Member, Seen
from bgd.methods.bgd.prior import BLOCK, Magnitude, Sampler, Weights, prior_at
from bgd.methods.bgd.steps import (
    Alone,
    Choice,
    Own,
    Run,
    Search,
    Settle,
    Source,
    Subset,
    Walk,
    Walked,
    unusable,
)
from bgd.methods.glimpse import ROUNDING
from bgd.methods.gradient import write_gradients
from bgd.methods.layers import Changes
from bgd.patch import Patch

if TYPE_CHECKING:
    from bgd.methods.bgd.search import SubsetSearch

AHEAD = 128  # numbers of a stream that are looked at for the blocks of weights that they may lead to


class Pool:
    """Searches with the same options, from the same network.

    Args:
        options: Of each search; its update is of a parameter's own gradient alone.
        trial: Has N0, a network that `known_layers` knows.
        samples: The samples, with images of one shape.
        streams: The random numbers of each.
    """

    def __init__(
        self,
        options: "SubsetSearch",
        trial: Trial,
        samples: Sequence[Sample],
        streams: Sequence[np.random.Generator],
    ) -> None:
        self._options, self._trial, self._samples, self._streams = options, trial, samples, streams
        self._labels = torch.cat([sample.label for sample in samples]).cpu()
        self._offsets = [None if sample.offset is None else sample.offset.cpu() for sample in samples]
        row = trial.kept("row in float64", lambda: Row.of(trial.network, trial.space), of=trial.space.names)
        self._candidates = Candidates(row, torch.cat([sample.image for sample in samples]))
        # Of a followed search what is decided in float64 counts, of others what the network itself rounds to.
        self._type = torch.float64 if trial.space.size >= DEAR else trial.flat.dtype
        self._limit = torch.finfo(trial.flat.dtype).max ** 0.5  # larger values may overflow on the way
        self._gradients = trial.flat.new_empty(0)

    def correct(self) -> list[Correction]:
        """Correct each sample; see `Together`."""
        members, failed = self._begun()
        self._foresee(members)
        waiting = [member for member in members if self._goes_on(member, None)]
        while waiting:
            self._learn(waiting)
            self._look(waiting)
            self._foresee(waiting)
            waiting = [member for member in waiting if self._goes_on(member, self._looked(member))]
        self._trial.altered = torch.empty(0, dtype=torch.long)  # all is put back
        found = failed | dict(zip((member.place for member in members), self._outcomes(members), strict=True))
        return [found[place] for place in range(len(self._samples))]

    def _begun(self) -> tuple[list[Member], dict[int, Correction]]:
        """Return the searches that can begin, and by place the corrections of those that cannot."""
        trial, size, count = self._trial, self._trial.space.size, len(self._samples)
        self._gradients = trial.flat.new_empty(count, size)
        write_gradients(trial.network, trial.space, self._samples, self._gradients)
        magnitudes = Magnitude(self._gradients, trial.space).each()
        totals = torch.stack([magnitude.total for magnitude in magnitudes]).tolist()
        self._weights = self._gradients.new_zeros(count, -(-size // BLOCK) * BLOCK)
        trials, failed = [copy(trial) for _ in self._samples], {}
        for place, (sample, magnitude, own) in enumerate(zip(self._samples, magnitudes, trials, strict=True)):
            own.forward_passes = own.backward_passes = 1
            reason = unusable(totals[place], "the gradient is not finite", "the gradient is zero")
            try:
                if not reason:
                    self._weights[place, :size] = (
                        prior_at(self._options.prior, own, sample).weights(magnitude).whole()
                    )
            except CurvatureError as error:
                reason = str(error)
            if reason:
                failed[place] = reason
        sums = self._weights.view(count, -1, BLOCK).sum(2, dtype=torch.float64).cpu().numpy()
        members = []
        for place, sample in enumerate(self._samples):
            if place in failed:
                continue
            stream, weights = self._streams[place], Weights.listed(self._weights[place, :size])
            sampler = Sampler(weights, stream, sums[place])
            reason = unusable(sampler.total, "the prior is not finite", "the prior leaves no weight to draw")
            if reason:
                failed[place] = reason
                continue
            source = Source(sampler, stream, self._gradients[place])
            search = Search(self._options, trials[place], sample, source)
            members.append(Member(place, sample, search))
        return members, {place: self._failed(trials[place], reason) for place, reason in failed.items()}

    def _failed(self, trial: Trial, reason: str, steps: int = 0) -> Correction:
        passes = trial.forward_passes, trial.backward_passes
        return Correction(None, 0, steps, reason, forward_passes=passes[0], backward_passes=passes[1])

    def _foresee(self, members: Sequence[Member]) -> None:
        """Have the weights at hand that the searches may draw from next."""
        wanted = [(member, block) for member in members for block in member.search.sampler.foreseen(AHEAD)]
        if not wanted:
            return
        blocks = self._weights.shape[1] // BLOCK
        rows = torch.tensor([member.place * blocks + block for member, block in wanted])
        found = self._weights.view(-1, BLOCK)[rows.to(self._weights.device)].cpu().double().numpy()
        for (member, block), weights in zip(wanted, found, strict=True):
            member.search.sampler.receive(block, weights)

    def _learn(self, members: Sequence[Member]) -> None:
        """Note the values before and after the update of what was drawn."""
        drawn = [(member, index) for member in members for index in member.unknown()]
        if not drawn:
            return
        trial, size = self._trial, self._trial.space.size
        places = torch.tensor(
            [[index for _, index in drawn], [member.place * size + index for member, index in drawn]]
        ).to(trial.flat.device)
        before = trial.original[places[0]].cpu()
        gradient = self._gradients.view(-1)[places[1]].cpu()
        change = self._options.update.change(gradient, torch.arange(len(drawn)))
        after = (before + change).to(before.dtype)
        for (member, index), *values in zip(drawn, before.tolist(), after.tolist(), strict=True):
            member.learn(index, *values)

    def _look(self, members: Sequence[Member]) -> None:
        """Look at every network that is asked about, all of them in one pass."""
        wanted = [(member, *each) for member in members for each in member.wanted().items()]
        if not wanted:
            return
        sizes = [len(subset) for *_, subset in wanted]
        rows, count = np.repeat(np.arange(len(wanted)), sizes), sum(sizes)
        indices = np.fromiter(chain.from_iterable(subset for *_, subset in wanted), np.int64, count)
        moves = (member.values[index] for member, _, subset in wanted for index in subset)
        change = np.fromiter((after - before for before, after in moves), np.float64, count)
        order = indices.argsort(kind="stable")
        order = order[change[order] != 0]
        moved = torch.from_numpy(change[order]).to(self._trial.flat.device)
        places = np.array([member.place for member, *_ in wanted])
        logits, largest = self._candidates.look(places, Changes(rows[order], indices[order], moved))
        said = torch.cat([logits, largest[:, None]], dim=1).cpu()
        for (member, key, subset), seen in zip(wanted, self._judged(said, places), strict=True):
            finite = seen.largest < self._limit  # not where it is NaN
            member.looks[key] = seen if finite else self._ran(member, subset)

    def _judged(self, said: torch.Tensor, places: np.ndarray) -> list[Seen]:
        """Read what networks say, logits and the largest magnitude on the way (B, C + 1), of samples at places (B,)."""
        logits, largest = said[:, :-1], said[:, -1].clamp(min=1.0)
        offsets = [self._offsets[place] for place in places]
        if any(offset is not None for offset in offsets):
            judged = zip(logits, offsets, strict=True)
            logits = torch.stack([each if by is None else each + by.to(each.dtype) for each, by in judged])
        labels = self._labels[torch.from_numpy(places)]
        losses = F.cross_entropy(logits, labels, reduction="none")
        predictions = logits.argmax(dim=1)
        finite = logits.abs().amax(dim=1) < torch.inf
        right = finite & (predictions == labels)
        leading = logits.gather(1, labels[:, None])[:, 0]
        leads = leading - logits.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
        columns = (each.tolist() for each in (losses, predictions, right, leads, largest))
        return [
            Seen(Answer(loss, prediction, ok), lead, most)
            for loss, prediction, ok, lead, most in zip(*columns, strict=True)
        ]

    @torch.no_grad()
    def _ran(self, member: Member, subset: Subset) -> Seen:
        """Return the answer of the network itself, run with exactly this subset updated."""
        key, trial = member.key(subset), self._trial
        if key not in member.own:
            indices = torch.tensor(subset, dtype=torch.long, device=trial.flat.device)
            values = [member.values[index][1] for index in subset]
            trial.flat[indices] = torch.tensor(values, dtype=trial.flat.dtype, device=trial.flat.device)
            logits = trial.network(member.sample.image).cpu()
            trial.flat[indices] = trial.original[indices]
            said = torch.cat([logits, logits.new_zeros(1, 1)], dim=1)
            member.own[key] = self._judged(said, np.array([member.place]))[0]._replace(largest=0.0)
        return member.own[key]

    def _seen(self, member: Member, subset: Subset) -> Seen:
        """Return the look at the network with a subset of a member changed: kept, or made now."""
        seen = member.looks.get(member.key(subset))
        return self._ran(member, subset) if member.alone or seen is None else seen

    def _goes_on(self, member: Member, reply: Answer | Walked | None) -> bool:
        """Have a search go on until it waits for a look; return whether it does."""
        try:
            while True:
                request = member.steps.send(reply)
                if isinstance(request, Run | Walk):
                    member.ask(request)
                    return True
                reply = self._settled(member, request)
        except StopIteration:
            return False

    def _settled(self, member: Member, request: Settle | Own | Alone) -> Answer:
        """Answer what needs no look."""
        if isinstance(request, Alone):
            member.alone, member.subset = True, request.subset
        seen = self._seen(member, member.subset)
        if not isinstance(request, Settle) or seen.lead > -2 * self._slack(seen):
            seen = self._ran(member, member.subset)
        member.take(member.subset, seen)
        return member.answer

    def _looked(self, member: Member) -> Answer | Walked:
        """Answer what was looked at."""
        if isinstance(member.request, Run):
            member.subset = member.request.subset
            reply: Answer | Walked = self._settled(member, Settle())
        else:
            gone, kept = 0, member.request.kept
            while gone < len(member.choices) and kept == member.request.kept:
                kept, gone = self._decided(member, member.choices[gone]), gone + 1
            reply = Walked(gone, kept, member.subset, member.answer)
        member.forget()
        return reply

    def _decided(self, member: Member, choice: Choice) -> bool:
        """Decide a choice; its subset is the one at hand where it is kept."""
        seen = self._seen(member, choice.kept)
        if choice.lower is not None and choice.higher is not None:
            kept = self._is_lower(member, choice.lower, choice.higher)
        else:
            if not abs(seen.lead) > 2 * self._slack(seen):
                seen = self._ran(member, choice.kept)
            kept = seen.answer.right
        if kept:
            member.take(choice.kept, seen)
        return kept

    def _is_lower(self, member: Member, one: Subset, other: Subset) -> bool:
        """Return whether a network has a lower loss than another one; the same one has not."""
        if member.key(one) == member.key(other):
            return False
        seen = self._seen(member, one), self._seen(member, other)
        rounding = ROUNDING * torch.finfo(self._type).eps * max(each.largest for each in seen)
        if not abs(seen[0].answer.loss - seen[1].answer.loss) > 2 * rounding:
            seen = self._ran(member, one), self._ran(member, other)
        return seen[0].answer.loss < seen[1].answer.loss

    def _slack(self, seen: Seen) -> float:
        """Bound on the rounding error of the network's own logits; see `Follower.slack`."""
        return ROUNDING * torch.finfo(self._trial.flat.dtype).eps * seen.largest

    def _outcomes(self, members: Sequence[Member]) -> list[Correction]:
        """Return the correction of each search, all of which are at their end."""
        changed = [
            [(index, *member.values[index]) for index in sorted(member.subset)]
            if member.search.answer.right
            else []
            for member in members
        ]
        kept = [[each for each in entries if each[1] != each[2]] for entries in changed]
        flat, device = self._trial.flat, self._trial.flat.device
        columns = list(zip(*chain.from_iterable(kept), strict=True)) or [(), (), ()]
        sizes = [len(entries) for entries in kept]
        places = torch.split(torch.tensor(columns[0], dtype=torch.long).to(device), sizes)
        values = torch.split(torch.tensor(columns[1:], dtype=flat.dtype).to(device), sizes, dim=1)
        found = []
        for member, indices, (old, new) in zip(members, places, values, strict=True):
            search, trial = member.search, member.search.trial
            if not search.answer.right:
                reason = f"wrong after {search.iterations} iterations"
                found.append(self._failed(trial, reason, search.iterations))
                continue
            patch = Patch(self._trial.space, indices, old, new)
            passes = trial.forward_passes, trial.backward_passes
            found.append(Correction(patch, len(member.subset), search.iterations, "", None, *passes))
        return found
