"""Where two searches part: the looks that each took at its samples, and how near to a tie the decision was."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from bgd.methods.base import Answer, Problem, Sample
from bgd.methods.elimination import margins

ROUNDING = 1e-3  # relative; two looks whose losses differ by more are at different networks


@dataclass(frozen=True)
class Seen:
    """One look at a sample: which, its loss, by how much the right class leads, and whether the look calls it right."""

    sample: int
    loss: float
    lead: float
    right: bool


@contextmanager
def noted() -> Iterator[list[Seen]]:
    """Note every look that is taken inside the block, where each sample is corrected alone.

    Many samples at once are looked at in another way, in compiled code or in one pass.
    """
    plain, together, seen = Answer.of, Problem._together_with, list[Seen]()

    def of(logits: torch.Tensor, sample: Sample) -> Answer:
        look = plain(logits, sample)
        lead = float(margins(logits.detach(), sample)[0])
        seen.append(Seen(sample.index, look.loss, lead, look.right))
        return look

    Answer.of = of  # type: ignore[method-assign, assignment]
    Problem._together_with = lambda *_: None  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        Answer.of = plain  # type: ignore[method-assign]
        Problem._together_with = together  # type: ignore[method-assign]


def parting(one: Sequence[Seen], other: Sequence[Seen]) -> dict[str, Any]:
    """Return the first look that is another one, and how far from a tie the decision before it was.

    Returns:
        `look`, its number from 0; `decision` and `distance`:
        `right`: whether the sample was right at that look came out differently; by how many logits the right class
        led, the smaller of the two;
        `lower`: another network was looked at; how far apart, in nats, the two losses were that were nearest to each
        other of the looks before at this sample, which is the most doubtful comparison;
        `draw`: the same, with no two looks before it: what was drawn or ranked parted, which no look tells.
    """
    for place, (here, there) in enumerate(zip(one, other, strict=False)):
        near = abs(here.loss - there.loss) <= ROUNDING * max(1.0, abs(here.loss))
        if near and here.right != there.right:
            return {"look": place, "decision": "right", "distance": min(abs(here.lead), abs(there.lead))}
        if not near or here.sample != there.sample:
            return {"look": place, **_nearest(one[:place], here.sample)}
    place = min(len(one), len(other))
    return {"look": place, **_nearest(one[:place], one[place - 1].sample if place else -1)}


def _nearest(before: Sequence[Seen], sample: int) -> dict[str, Any]:
    losses = sorted({seen.loss for seen in before if seen.sample == sample})
    gaps = [high - low for low, high in itertools.pairwise(losses)]
    return {"decision": "lower", "distance": min(gaps)} if gaps else {"decision": "draw", "distance": None}
