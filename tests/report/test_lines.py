"""One verdict for each table and figure of the thesis."""

from dataclasses import replace

import pytest

from experiments.report.claims.data import Claim, Line, read_ledger
from experiments.report.claims.evidence import Missing, Outcome
from experiments.report.claims.lines import of_line, scale, verdict_sheet
from experiments.report.claims.on_samples import Share
from experiments.report.claims.verdicts import (
    IN_PART,
    NOT_COMPARABLE,
    NOT_REPRODUCED,
    REPRODUCED,
    Judged,
    Ruling,
)
from tests.records_factory import row, run
from tests.report.test_claims import CLAIMS


def judged(grade, network="mlp"):
    outcome = Outcome(50, direction=grade != "fails", size=grade == "holds", n=20, against=100)
    test = Share(network, "bgd_ii", 100.0)
    return Judged(test, Missing("not comparable: why") if grade == "missing" else outcome, None)


def rulings(*grades):
    """A claim for each group of tests, by its number."""
    found = {}
    for place, group in enumerate(grades):
        claim = Claim(str(place), "words", "section", not_comparable="of no interest")
        found[str(place)] = Ruling(claim, tuple(group), "", "")
    return found


@pytest.mark.parametrize(
    ("grades", "verdict", "held"),
    [
        (["holds", "holds"], REPRODUCED, "2 of 2"),
        (["holds", "fails"], IN_PART, "1 of 2"),
        (["direction only", "fails"], IN_PART, "0 of 2"),
        (["fails", "fails"], NOT_REPRODUCED, "0 of 2"),
        (["fails", "missing"], NOT_REPRODUCED, "0 of 1"),
        (["holds", "missing"], REPRODUCED, "1 of 1"),
        (["missing", "missing"], NOT_COMPARABLE, ""),
    ],
)
def test_a_verdict_from_those_of_its_claims(grades, verdict, held):
    line = Line("table 4.2", "what", "reloading", ("0", "1"), "mlp")
    assert of_line(line, rulings(*([judged(grade)] for grade in grades)))[:2] == (verdict, held)


def test_a_claim_counts_by_its_worst_test_on_the_network():
    claims = rulings([judged("holds"), judged("fails"), judged("holds", "alexnet")])
    lines = {
        network: Line("table", "what", "reloading", ("0",), network) for network in ("mlp", "alexnet", "")
    }
    found = {network: of_line(line, claims)[0] for network, line in lines.items()}
    assert found == {"mlp": NOT_REPRODUCED, "alexnet": REPRODUCED, "": IN_PART}


def test_the_reason_is_that_of_the_verdict_or_the_deciding_test():
    line = Line("table 4.2", "what", "reloading", ("0",), "mlp", {"in part": "some words"})
    reasons = [
        verdict_sheet([line], list(rulings(group).values()), []).records[0][3]
        for group in ([judged("direction only")], [judged("fails")], [judged("missing")], [judged("holds")])
    ]
    assert reasons == ["some words", "MLP: BGD-II corrects 100 % fails: 50 against 100", "why", ""]


def test_the_scale_is_said_in_a_phrase():
    line = Line("table 4.2", "what", "reloading", ("0",))
    runs = [run((row(0), row(1))), run((row(0),), network="alexnet", errors=356, train_images=1500)]
    nothing = rulings([judged("missing")])
    assert scale(line, runs, nothing) == "AlexNet 1 of 356 errors, 1,500 + 10,000 images; MLP all 2 errors"
    assert scale(line, [], nothing) == "no runs"
    one = [replace(judged("holds"), errors=2)]
    other = run((row(0),), errors=5, epochs=40)
    assert scale(line, [*runs, other], rulings(one)) == (
        "AlexNet 1 of 356 errors, 1,500 + 10,000 images; MLP all 2 errors"
    ), "a claim that is judged at one scale of several"
    again = run(tuple(row(place) for place in range(4)), network_seed=1)
    assert scale(line, [runs[0], again, other], rulings(one)) == "MLP all 2 to 4 errors"


def test_every_table_and_figure_of_the_thesis_has_a_line():
    names = [line.of for line in read_ledger(CLAIMS).lines]
    assert names == [*(f"table 4.{n}" for n in range(1, 13)), *(f"figure 4.{n}" for n in range(1, 15))]
