"""The first picture: which correction it is of, and what its words count."""

import re

from experiments.records.schema import UNCORRECTED
from experiments.report.opening import Opening
from tests.records_factory import row, run, side_effects
from tests.report.probe_records import probe_run

PORTRAITS = probe_run("portraits", [{"pixels": [0] * 784, "logits": [0.0] * 10}])


def words(*runs):
    svg = Opening().files(runs)["figures/opening.svg"].decode()
    return " ".join(re.findall(r"<!-- (.*?) -->", svg))


def test_it_counts_what_the_row_says():
    effects = side_effects(agreeing=9_990, broken=2, fixed=5)
    said = words(run((row(0, side_effects=effects, l0=3),), method="least_harm", parameters=9_614), PORTRAITS)
    for text in ("The network says 5.", "3 of 9,614", "the network says 3", "9,990 keep their class"):
        assert text in said
    assert (
        "10 change class: 5 from wrong to right (blue), 2 from right to wrong (red), 3 from wrong to wrong."
        in said
    )


def test_without_a_correction_it_says_so():
    nothing = "no correction among the records"
    assert nothing in words()
    assert nothing in words(run((row(0),), method="least_harm")), "no portrait"
    assert nothing in words(run((row(0, UNCORRECTED),), method="least_harm"), PORTRAITS)
    assert nothing in words(run((row(0),), method="bgd_ii"), PORTRAITS)


def test_the_same_runs_give_the_same_bytes():
    runs = [run((row(0),), method="least_harm"), PORTRAITS]
    assert Opening().files(runs) == Opening().files(runs[::-1])
    assert set(Opening().files(runs)) == set(Opening().names)
