"""Which samples a gallery shows: a rule, stated here once in code and in words."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bgd.rng import stream
from experiments.records.schema import Row
from experiments.report.numbers import listing

REFERENCE_METHOD, REFERENCE_SEED = "bgd_ii", 0  # of the run whose samples are chosen from

Order = Callable[[Sequence[Row]], list[int]]


@dataclass(frozen=True)
class Rule:
    """An order of the samples.

    Attributes:
        name: For a heading.
        words: What comes first, in words: "the largest loss of N0".
        order: From the rows of a run, in the order of its samples, to their places, the first choice first.
    """

    name: str
    words: str
    order: Order


def _loss(row: Row) -> float:
    """Return N0's loss on the sample; one that is not finite is larger than any other."""
    return math.inf if row.sample_loss_before is None else row.sample_loss_before


def _ascending(value: Callable[[Row], float]) -> Order:
    """Return an order by a value; ties go to the earlier sample."""
    return lambda rows: sorted(range(len(rows)), key=lambda place: value(rows[place]))


RULES = (
    Rule("easiest", "the smallest loss of N0", _ascending(_loss)),
    Rule("hardest", "the largest loss of N0", _ascending(lambda row: -_loss(row))),
    Rule(
        "most harmful",
        "the lowest test accuracy after BGD-II corrected it",
        _ascending(lambda row: row.figures.test_accuracy),
    ),
    Rule("random", "drawn at random", lambda rows: stream(0, "gallery").permutation(len(rows)).tolist()),
)


def choose(rows: Sequence[Row], each: int) -> list[tuple[Rule, Row]]:
    """Return the samples that `RULES` choose, each with its rule, no sample twice.

    Args:
        rows: Of the reloading run of BGD-II with seed 0.
        each: How many samples each rule chooses; fewer where none are left.
    """
    ordered = sorted(rows, key=lambda row: row.position)
    taken: dict[int, Rule] = {}
    for rule in RULES:
        free = [place for place in rule.order(ordered) if place not in taken]
        taken.update(dict.fromkeys(free[:each], rule))
    return [(rule, ordered[place]) for place, rule in taken.items()]


def rule_text() -> str:
    """Return the rule in words."""
    words = listing([f"{rule.name} ({rule.words})" for rule in RULES])
    return (
        f"Of the samples of each network's reloading run of BGD-II with seed {REFERENCE_SEED} the gallery shows the"
        f" {words}, as many of each. A sample that an earlier rule has taken is passed over by the later ones; ties"
        " go to the sample that comes first in the run."
    )
