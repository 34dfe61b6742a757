"""Claims of the two works on training, by the ledger's rule of verdict: tests on differences over the same seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scipy.stats import spearmanr, ttest_1samp

from experiments.records.strict import build_as, read_yaml
from experiments.report.claims.evidence import Missing, Outcome, within
from experiments.report.claims.verdicts import ABSENT, ALPHA, DIRECTION, FAILS, HOLDS, NOT_COMPARABLE
from experiments.report.companions.evidence import BySeed, Evidence, finite_mean, gap_of
from experiments.report.numbers import format_number
from experiments.report.sheet import bracketed
from experiments.report.statistics import holm

CLAIMS = Path(__file__).with_name("claims.yaml")
SMALLEST = 1e-4  # a p value below it is shown as such
WORST = (FAILS, ABSENT, DIRECTION, HOLDS)
VERDICT_OF = {
    FAILS: "not reproduced",
    ABSENT: NOT_COMPARABLE,
    DIRECTION: "direction only",
    HOLDS: "reproduced",
}
Side = Literal["more", "less", "same", "falling", "unrelated"]
WEAK = 0.5  # a rank correlation below it is none to rank anything by


@dataclass(frozen=True)
class Comparison:
    """An arm has more or less of something than another, or as much within a margin; or two things fall together.

    Direction: the mean difference over common seeds is on the stated side, or within the margin. Size and
    significance: for more and less, a two-sided t test, corrected by Holm within the study; for the same, the 95 %
    interval lies within the margin. Falling: over the rules of a set a smaller norm, or what `by` names, goes with a
    better value: the sign of Spearman's correlation, and its p value. Unrelated: that correlation is below `WEAK`.

    Attributes:
        study: Whose records.
        first, second: Arms; over rules the beginning of the arms' names, and nothing.
        name: Of the value.
        side: Of the first.
        margin: Of `same`, in the value's unit.
        factor: To that unit.
        against: A number in place of `second`, in the value's unit.
        other: Name of the value of `second`, where it is another.
        by: What the rules are ranked by.
    """

    study: str
    first: str
    name: str
    side: Side
    second: str = ""
    margin: float = 0.0
    factor: float = 1.0
    against: float = 0.0
    other: str = ""
    by: str = "norm"

    @property
    def subject(self) -> str:
        """The test in words."""
        if self.side == "falling":
            return f"{self.study} {self.first}: over the rules, the smaller {self.by}, the better {self.name}"
        if self.side == "unrelated":
            return f"{self.study} {self.first}: over the rules, {self.by} does not rank {self.name}"
        against = f"{self.second} {self.other}".strip() or f"{self.against:g}"
        if self.side == "same":
            return f"{self.study}: {self.first} has the {self.name} of {against}, within {self.margin:g}"
        return f"{self.study}: {self.first} has {self.side} {self.name} than {against}"

    def evaluate(self, evidence: Evidence) -> Outcome:
        """Give the finding of the records.

        Raises:
            Missing: There are none.
        """
        if not evidence.rows(self.study):
            raise Missing(f"missing: no records of {self.study} at this scale")
        over_rules = self.side in ("falling", "unrelated")
        return self._over_rules(evidence) if over_rules else self._of_two(evidence)

    def _of_two(self, evidence: Evidence) -> Outcome:
        ours = evidence.by_seed(self.study, self.first, self.name, self.factor)
        theirs: BySeed = dict.fromkeys(ours, self.against)
        if self.second:
            theirs = evidence.by_seed(self.study, self.second, self.other or self.name, self.factor)
        gap = gap_of(ours, theirs)
        if gap.n < 2 or gap.interval is None:
            arms = " and ".join(filter(None, (self.first, self.second)))
            raise Missing(f"missing: fewer than 2 finite seeds of {arms} at this scale")
        first, second = (finite_mean(each.values()) for each in (ours, theirs))
        told = {
            "n": gap.n,
            "seeds": gap.n,
            "against": second,
            "difference": gap.mean,
            "interval": gap.interval,
        }
        if self.side == "same":
            return Outcome(first, *within(gap.mean, gap.interval, -self.margin, self.margin), **told)  # type: ignore[arg-type]
        toward = gap.mean > 0 if self.side == "more" else gap.mean < 0
        apart = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
        p = float(ttest_1samp([value for value in apart if math.isfinite(value)], 0).pvalue)
        return Outcome(first, toward, toward, p=1.0 if math.isnan(p) else p, **told)  # type: ignore[arg-type]

    def _over_rules(self, evidence: Evidence) -> Outcome:
        arms = dict.fromkeys(
            row.job.arm for row in evidence.rows(self.study) if row.job.arm.startswith(f"{self.first}/")
        )
        pairs = [
            tuple(evidence.spread(self.study, arm, name).mean for name in (self.by, self.name))
            for arm in arms
        ]
        known = [pair for pair in pairs if all(map(math.isfinite, pair))]
        if len(known) < 4:
            raise Missing(f"missing: fewer than 4 rules of {self.study} came out")
        sign = -1.0 if self.name.endswith("accuracy") else 1.0
        found = spearmanr([norm for norm, _ in known], [sign * value for _, value in known])
        correlation = float(found.statistic)
        if self.side == "unrelated":
            weak = abs(correlation) < WEAK
            return Outcome(correlation, weak, weak, len(known))
        return Outcome(correlation, correlation > 0, True, len(known), p=float(found.pvalue))


Outcomes = Mapping[Comparison, Outcome | Missing]


@dataclass(frozen=True)
class Claim:
    """A claim of a source.

    Attributes:
        id, claim, where: In our words, and where it stands.
        tests: All must hold.
        note: What a reader should know.
    """

    id: str
    claim: str
    where: str
    tests: tuple[Comparison, ...]
    note: str = ""


@dataclass(frozen=True)
class Ruled:
    """A claim with its verdict and the tests behind it, as lines for people and as records."""

    claim: Claim
    verdict: str
    lines: tuple[list[str], ...]
    records: tuple[list[object], ...]


@dataclass(frozen=True)
class _Ledger:
    claims: tuple[Claim, ...]


def read_claims(path: Path = CLAIMS) -> tuple[Claim, ...]:
    """Read the claims."""
    ledger: _Ledger = build_as(_Ledger, read_yaml(path), "claims")
    return ledger.claims


def rule(claims: Sequence[Claim], evidence: Evidence) -> list[Ruled]:
    """Give each claim its verdict: that of its worst test, p values corrected by Holm within a study."""
    tests = dict.fromkeys(test for claim in claims for test in claim.tests)
    outcomes = {test: _outcome(test, evidence) for test in tests}
    adjusted: dict[Comparison, float] = {}
    for study in dict.fromkeys(test.study for test in tests):
        family = {
            test: found.p
            for test, found in outcomes.items()
            if test.study == study and isinstance(found, Outcome) and found.p is not None
        }
        adjusted |= zip(family, holm(list(family.values())), strict=True)
    return [_ruled(claim, outcomes, adjusted) for claim in claims]


def _outcome(test: Comparison, evidence: Evidence) -> Outcome | Missing:
    try:
        return test.evaluate(evidence)
    except Missing as missing:
        return missing


def grade(outcome: Outcome | Missing, p: float | None) -> str:
    """Grade a test as the ledger of the thesis does."""
    if isinstance(outcome, Missing):
        return ABSENT
    if not outcome.direction:
        return FAILS
    return HOLDS if outcome.size and (p is None or p <= ALPHA) else DIRECTION


def _ruled(
    claim: Claim, outcomes: Mapping[Comparison, Outcome | Missing], adjusted: Mapping[Comparison, float]
) -> Ruled:
    lines, records, grades = [], [], []
    for test in claim.tests:
        outcome, p = outcomes[test], adjusted.get(test)
        grades.append(grade(outcome, p))
        lines.append([claim.id, test.subject, grades[-1], *_cells(outcome, p)])
        numbers = (
            (None,) * 6
            if isinstance(outcome, Missing)
            else (
                *(outcome.ours, outcome.against, outcome.difference),
                *((outcome.interval.low, outcome.interval.high) if outcome.interval else (None, None)),
                p,
            )
        )
        records.append([claim.id, claim.claim, test.subject, grades[-1], *numbers])
    return Ruled(claim, VERDICT_OF[min(grades, key=WORST.index)], tuple(lines), tuple(records))


def _cells(outcome: Outcome | Missing, p: float | None) -> list[str]:
    """Give ours, against, difference and p for people."""
    if isinstance(outcome, Missing):
        return [str(outcome), "", "", ""]
    apart = ""
    if outcome.difference is not None and outcome.interval:
        ends = format_number(outcome.interval.low), format_number(outcome.interval.high)
        apart = bracketed(format_number(outcome.difference), *ends)
    against = "" if outcome.against is None else format_number(outcome.against)
    return [format_number(outcome.ours), against, apart, _chance(p)]


def _chance(p: float | None) -> str:
    if p is None:
        return ""
    return "< 0.0001" if p < SMALLEST else format_number(round(p, 4))
