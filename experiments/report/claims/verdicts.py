"""The rule from tests to a verdict, the same for every claim."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from experiments.records.strict import convert
from experiments.report.claims.data import Claim
from experiments.report.claims.evidence import Evidence, Missing, NoRun, Outcome
from experiments.report.claims.on_samples import Kind
from experiments.report.statistics import holm
from experiments.report.style import network_label

ALPHA = 0.05

HOLDS, DIRECTION, FAILS, ABSENT = "holds", "direction only", "fails", "missing"  # of a test
REPRODUCED, DIRECTION_ONLY = "reproduced", "direction only"  # of a claim
IN_PART = "in part"  # of a table
NOT_REPRODUCED, NOT_COMPARABLE = "not reproduced", "not comparable"
VERDICTS = (REPRODUCED, DIRECTION_ONLY, NOT_REPRODUCED, NOT_COMPARABLE)
NAMED = 3  # tests in a reason; the table beside it has all
_WORST_FIRST = (FAILS, ABSENT, DIRECTION, HOLDS)


@dataclass(frozen=True)
class Judged:
    """A test, its outcome or why there is none, its p value after Holm's correction, and the N0 that it is made on.

    Attributes:
        adjusted: None where the test has no p value.
        errors: How many test images N0 gets wrong; None where the test is on two networks or there are no runs.
    """

    test: Kind
    outcome: Outcome | Missing
    adjusted: float | None
    errors: int | None = None

    @property
    def grade(self) -> str:
        """The grade of the test.

        `HOLDS`: the direction, the size and, where the test has a p value, significance after Holm's correction.
        `DIRECTION`: the direction alone. `FAILS`: not even that. `ABSENT`: there are no records.
        """
        if isinstance(self.outcome, Missing):
            return ABSENT
        if not self.outcome.direction:
            return FAILS
        significant = self.adjusted is None or self.adjusted <= ALPHA
        return HOLDS if self.outcome.size and significant else DIRECTION

    @property
    def subject(self) -> str:
        """The test in words, after its network where it does not compare two."""
        network = f"{network_label(self.test.network)}: " if self.test.network else ""
        return f"{network}{self.test.subject}"


def worst(judged: Sequence[Judged]) -> Judged | None:
    """Return the test of the worst grade, then of the largest p value, then the first."""
    order = sorted(judged, key=lambda item: (_WORST_FIRST.index(item.grade), -(item.adjusted or 0)))
    return order[0] if order else None


@dataclass(frozen=True)
class Ruling:
    """A claim, its tests in order, its verdict (one of `VERDICTS`) and why, in words."""

    claim: Claim
    judged: tuple[Judged, ...]
    verdict: str
    reason: str

    @property
    def deciding(self) -> Judged | None:
        """The test that decides: of the worst grade, then of the largest p value, then the first."""
        return worst(self.judged)

    def grade_on(self, network: str) -> str:
        """Return the worst grade of the tests on a network, empty where there is none."""
        grades = [item.grade for item in self.judged if item.test.network == network]
        return min(grades, key=_WORST_FIRST.index, default="")


def verdict(judged: Sequence[Judged]) -> tuple[str, str]:
    """Return the verdict that the tests of a claim make, and its reason.

    One test that fails is enough for "not reproduced", whatever is missing. Otherwise missing records make it "not
    comparable"; otherwise it is "reproduced" where every test holds and "direction only" where one does not.
    """
    failing, absent, partly = (
        [item for item in judged if item.grade == name] for name in (FAILS, ABSENT, DIRECTION)
    )
    if failing:
        return NOT_REPRODUCED, _reason(failing, len(judged), "fails", "fail")
    if absent:
        return NOT_COMPARABLE, "; ".join(dict.fromkeys(str(item.outcome) for item in absent))
    if partly:
        return DIRECTION_ONLY, _reason(
            partly, len(judged), "has the direction only", "have the direction only"
        )
    return REPRODUCED, "the test holds" if len(judged) == 1 else f"all {len(judged)} tests hold"


def _reason(some: Sequence[Judged], total: int, one: str, many: str) -> str:
    """Return how many tests do what, and the first of them."""
    if total == 1:
        return f"the test {one}"
    count = f"all {total} tests" if len(some) == total else f"{len(some)} of {total} tests"
    named = [item.subject for item in some[:NAMED]]
    more = [f"{len(some) - NAMED} more"] if len(some) > NAMED else []
    return f"{count} {one if len(some) == 1 else many}: {'; '.join(named + more)}"


def judge(claims: Sequence[Claim], *evidence: Evidence) -> list[Ruling]:
    """Return each claim with its verdict.

    A test is made on the first evidence that has runs of all its methods.
    A family for Holm's correction is every p value of the tests whose claims stand in the same table of the thesis; a
    test that two claims share is in it once.
    """
    tests = dict.fromkeys(test for claim in claims for test in claim.tests)
    found = {test: _made(test, evidence) for test in tests}
    outcomes = {test: outcome for test, (outcome, _) in found.items()}
    families: dict[str, dict[Kind, float]] = {}
    for claim in claims:
        for test in claim.tests:
            outcome = outcomes[test]
            if isinstance(outcome, Outcome) and outcome.p is not None:
                families.setdefault(claim.tables[test.network], {})[test] = outcome.p
    adjusted = {
        (table, test): p
        for table, family in families.items()
        for test, p in zip(family, holm(list(family.values())), strict=True)
    }
    rulings = []
    for claim in claims:
        judged = [
            Judged(test, outcome, adjusted.get((claim.tables.get(test.network, ""), test)), errors)
            for test, (outcome, errors) in ((test, found[test]) for test in claim.tests)
        ]
        ruled = (NOT_COMPARABLE, claim.not_comparable) if claim.not_comparable else verdict(judged)
        rulings.append(Ruling(claim, tuple(judged), *ruled))
    return rulings


def _made(test: Kind, evidence: Sequence[Evidence]) -> tuple[Outcome | Missing, int | None]:
    """Return what came out of a test, and the errors of the N0 that it is made on."""
    outcome: Outcome | Missing = NoRun("missing: there are no records")
    for each in evidence:
        try:
            return test.evaluate(each), each.errors.get(test.network)
        except NoRun as missing:
            outcome = missing
        except Missing as missing:
            return missing, each.errors.get(test.network)
    return outcome, None


def compare_verdicts(committed: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """Return a line for each claim that does worse now than in the committed verdicts (as `verdicts.json` has them).

    The order is reproduced, direction only, not reproduced. A claim that is not comparable any more, or gone, does
    worse; one that was not comparable cannot.

    Raises:
        ConfigError: One of them is something else.
    """
    kind = Mapping[str, Annotated[str, VERDICTS]]
    before, after = (convert(document.get("verdicts"), kind, "verdicts") for document in (committed, now))
    lines = []
    for name, old in before.items():
        new = after.get(name)
        if new is None:
            lines.append(f"claim {name}: {old}, now gone")
        elif old != NOT_COMPARABLE and VERDICTS.index(new) > VERDICTS.index(old):
            lines.append(f"claim {name}: {old}, now {new}")
    return lines
