"""Methods compared fairly: every run has to reach a goal, and what was not run says so."""

from dataclasses import replace

import pytest

from experiments.report.fair import NOT_RUN, Fair, numbers_of
from experiments.thesis.tables import STUDIES
from tests.records_factory import UNCORRECTED, accumulated, figures, generality, row, run, side_effects

PART = next(part for part in STUDIES if isinstance(part, Fair))


def in_a_row(retained, right, order=0, method="rehearsal"):
    state = accumulated(earlier=4, earlier_right=retained)
    made = run(
        (row(0), row(1, accumulated=state, side_effects=side_effects(untouched_right=right), l0=20)),
        method=method,
        setting="non_reloading",
    )
    spec = made.header.spec | {"order": order}
    return replace(made, header=replace(made.header, run_id=f"r{order}", spec=spec))


def test_the_numbers_of_a_run():
    rows = (
        row(0, figures=figures(test_accuracy=0.7), generality=generality(rotations=[4, 1, 3]), l0=3),
        row(1, generality=generality(rotations=[4, 1, 0]), l0=5),
        row(2, UNCORRECTED),
    )
    alone = run(rows, method="least_harm")
    found = numbers_of(alone)
    assert found["POC"] == pytest.approx(200 / 3)
    assert (found["changed_median"], found["changed_max"], found["untouched"]) == (4, 5, 0)
    assert found["dTA_worst"] == pytest.approx(0.7 - alone.header.figures.test_accuracy)
    assert (found["rotations"], found["noise"]) == (37.5, 100)
    row_of = numbers_of(in_a_row(3, 7960))
    assert (row_of["retention"], row_of["untouched_accuracy"], row_of["changed_max"]) == (75, 0.995, 20)
    assert numbers_of(run((row(0, UNCORRECTED),), method="least_harm")) == {"POC": 0}


def test_a_goal_is_reached_where_every_run_reaches_it():
    runs = [in_a_row(4, 7960), in_a_row(4, 7920, order=1)]
    files = PART.files(runs)
    assert files == PART.files(runs[::-1])
    text = files["tables/fair.md"].decode()
    line = "| Rehearsal | a keep-set, earlier samples | 1 × 2 | 100 ✓ | 0.9925 [0.99, 0.995] ✓ | 100 ✓ |"
    assert line in text
    worse = PART.files([runs[0], in_a_row(3, 7920, order=1)])["tables/fair.md"].decode()
    assert "| 87.5 [75, 100] ✗ |" in worse


def test_what_was_not_run_says_so_and_is_no_error():
    files = PART.files([])
    assert sorted(files) == sorted(PART.names)
    assert files["tables/fair.md"].decode().count(f"| {NOT_RUN} |") == len(PART.goals) == 4


def test_a_method_that_knows_too_much_is_not_held_against_a_goal():
    files = PART.files([run((row(0, generality=generality()),), method="least_harm")])
    text = files["tables/fair.md"].decode()
    assert text.count("| Least harm |") == 1  # not where a statistic alone is allowed
    assert b"least_harm" in files["tables/fair.csv"]


def test_those_nearest_to_an_aim_come_first_in_the_short_table():
    runs = [
        run((row(0, generality=generality()),), method="least_harm"),
        in_a_row(3, 7000),
        in_a_row(4, 7960, order=1, method="least_harm_row"),
    ]
    short = PART.files(runs)["report/fair_named.md"].decode()
    first = short.split("\n\n")[1].splitlines()
    assert short.startswith("In a row, all parameters.")
    assert [line.split("|")[1].strip() for line in first[2:]] == ["Least harm, in a row", "Rehearsal"]
    assert short.count(f"| {NOT_RUN} |") == 1, "no statistic alone"
