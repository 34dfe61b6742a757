"""What methods know beyond the network and the sample: its levels in words and colours, and who has which.

The level of a method stands in its yaml (`knows`) and is held to when it runs; it is no part of a record, so a report
is given it from outside.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from experiments.report.frames import ReportError
from experiments.report.numbers import listing
from experiments.report.style import method_style

Knowledge = tuple[tuple[str, str], ...]  # name of a method, name of a level


@dataclass(frozen=True)
class Level:
    """A level of knowledge, each with what the ones before it have; its words stand after "knows"."""

    label: str
    words: str
    colour: str


# As `bgd.knowledge.LEVELS`, which only comes with torch. Okabe and Ito's palette: apart for dichromats.
LEVELS = {
    "nothing": Level("nothing", "nothing", "#666666"),
    "statistic": Level("a statistic", "a statistic of the training data", "#D98600"),
    "keep_set": Level("a keep-set", "unlabelled images that are set aside", "#0072B2"),
    "training_data": Level("the training data", "the training data", "#009E73"),
}

# Where keep-sets and chosen values come from: every table that compares levels says so.
SET_ASIDE = (
    "Keep-sets and hyper-parameters come from the 6,000 training images that are set aside, never from the images"
    " reported on."
)


def level_of(method: str, knowledge: Knowledge) -> str:
    """Return the level of a method.

    Raises:
        ReportError: Nothing says what the method knows, or it is no level.
    """
    found = dict(knowledge).get(method)
    if found not in LEVELS:
        raise ReportError(f"method {method!r} knows {found!r}: must be one of {', '.join(LEVELS)}")
    return found


def level_rank(level: str) -> int:
    """Return the place of a level, 0 for the one with the least."""
    return list(LEVELS).index(level)


def describe_knowledge(methods: Iterable[str], knowledge: Knowledge) -> str:
    """Return in a sentence what each of some methods knows beyond the network and the sample.

    Empty where there is no method, or nothing is said of what methods know.
    """
    if not knowledge:
        return ""
    by_level: dict[str, list[str]] = {}
    for method in methods:
        by_level.setdefault(level_of(method, knowledge), []).append(method_style(method).label)
    if not by_level:
        return ""
    start = "Beyond the network and the sample"
    parts = [_clause(by_level[level], LEVELS[level].words) for level in LEVELS if level in by_level]
    if list(by_level) == ["nothing"]:
        return f"{start}, no method here knows anything."
    if "nothing" in by_level:
        parts = [*parts[1:], "every other method here nothing"]
    return f"{start}, {'; '.join(parts)}."


def _clause(labels: Sequence[str], words: str) -> str:
    return f"{listing(list(labels))} {'know' if len(labels) > 1 else 'knows'} {words}"
