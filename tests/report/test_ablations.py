"""The table of ablations: which run is which variant, and paired differences by hand."""

import csv
import io
import random

import numpy as np
import pytest

from experiments.report.ablations import Ablations, Variant
from experiments.report.frames import ReportError
from tests.records_factory import ALREADY_RIGHT, CORRECTED, UNCORRECTED, figures, row, run

FULL = Variant("full", (("method.prune", True), ("method.replace_probability", 0.7)))
PART = Ablations(variants=(FULL, Variant("no pruning", (("method.prune", False),)),
                  Variant("expand only", (("method.replace_probability", 0.0),))))  # fmt: skip

FULL_OPTIONS = {"prune": True, "replace_probability": 0.7}


def made(altered, outcomes, prune=True, p=0.7, seed=0):
    rows = tuple(
        row(k, outcome, altered=count if outcome == CORRECTED else 0, forward_passes=count, steps=k,
            figures=figures(test_accuracy=0.8 - count / 100, train_loss=0.25 + count))
        for k, (count, outcome) in enumerate(zip(altered, outcomes, strict=True))
    )  # fmt: skip
    return run(rows, seed=seed, options={"prune": prune, "replace_probability": p})


def runs():
    right = (CORRECTED,) * 4
    return [
        made((1, 2, 3, 4), right),
        made((2, 2, 2, 2), right, seed=1),
        made((5, 6, 7, 8), (CORRECTED, CORRECTED, UNCORRECTED, CORRECTED), prune=False),
        made((3, 3, 3, 3), (CORRECTED, UNCORRECTED, UNCORRECTED, CORRECTED), prune=False, seed=1),
        made((1, 2, 3, 4), right, p=0.0),
        made((9, 9, 9, 9), right, prune=False, p=0.0),  # of no variant
    ]


def table(files):
    found = {}
    for line in csv.DictReader(io.StringIO(files["tables/ablations.csv"].decode())):
        found[line["variant"], line["metric"]] = line
    return found


def test_the_variants_are_told_apart_by_every_key():
    found = table(PART.files(runs()))
    assert float(found["full", "POC"]["mean"]) == 100
    assert float(found["no pruning", "POC"]["mean"]) == pytest.approx((75 + 50) / 2)
    assert float(found["no pruning", "POC"]["sd"]) == pytest.approx(np.std([75, 50], ddof=1))
    assert float(found["full", "altered"]["mean"]) == pytest.approx((1 + 2 + 3 + 4 + 8) / 8)
    assert float(found["no pruning", "altered"]["mean"]) == pytest.approx((5 + 6 + 8 + 3 + 3) / 5)
    assert float(found["expand only", "altered"]["mean"]) == 2.5, "and not 9: that run is of no variant"
    assert float(found["no pruning", "dTL_median"]["mean"]) == 5
    assert float(found["no pruning", "forward_passes"]["mean"]) == pytest.approx((5 + 6 + 7 + 8 + 12) / 8), (
        "all"
    )


def test_differences_are_paired():
    found = table(PART.files(runs()))
    poc = found["no pruning", "POC_difference"]
    assert (float(poc["mean"]), int(poc["n"])) == (pytest.approx(100 * -3 / 8), 8)
    accuracy = found["no pruning", "dTA_difference"]
    pairs = [5 - 1, 6 - 2, 8 - 4, 3 - 2, 3 - 2]  # seed 0: samples 0, 1, 3; seed 1: samples 0, 3
    assert float(accuracy["mean"]) == pytest.approx(-np.mean(pairs) / 100)
    draws = np.random.default_rng(1).integers(0, 3, (20_000, 3))
    sums, counts = np.array([4 + 1, 4, 4 + 1]), np.array([2, 1, 2])  # by sample: 0, 1, 3
    low, high = np.percentile(-(sums[draws].sum(1) / counts[draws].sum(1)) / 100, (2.5, 97.5))
    assert (float(accuracy["low"]), float(accuracy["high"])) == (pytest.approx(low), pytest.approx(high))
    assert ("full", "POC_difference") not in found
    assert ("expand only", "POC_difference") in found


def test_a_sample_already_right_is_correct_but_alters_nothing():
    one = made((1, 2), (CORRECTED, ALREADY_RIGHT))
    found = table(PART.files([one]))
    assert float(found["full", "POC"]["mean"]) == 100
    assert float(found["full", "altered"]["mean"]) == 1


def test_what_is_missing_says_so_and_the_order_changes_nothing():
    every = runs()
    files = PART.files(every)
    assert set(files) == set(PART.names)
    random.Random(3).shuffle(every)
    assert PART.files(every) == files
    text = PART.files(every[:0])["tables/ablations.md"].decode()
    assert text.count("| missing") >= 3
    lost = PART.files([made((1,), (UNCORRECTED,))])["tables/ablations.md"].decode()
    assert "none corrected" in lost


def test_a_variant_with_a_key_of_its_own_is_refused():
    with pytest.raises(ReportError, match=r"method\.update"):
        Ablations(variants=(FULL, Variant("other", (("method.update.form", "x"),))))


def test_seeds_with_the_same_share_have_no_spread():
    one_wrong = [tuple(UNCORRECTED if k == seed else CORRECTED for k in range(947)) for seed in range(3)]
    files = PART.files([made((2,) * 947, outcomes, seed=seed) for seed, outcomes in enumerate(one_wrong)])
    found = table(files)
    assert found["full", "POC"]["sd"] == "", "and not 1.7e-14, which rounding leaves"
    assert found["full", "POPA"]["sd"] == ""
    assert "| full | 2,838 of 2,841 | 99.89 |" in files["tables/ablations.md"].decode()


def test_a_loss_that_is_not_finite_is_left_out_and_said():
    infinite = figures(train_loss=None)
    one = run(
        (row(0), row(1, figures=figures(train_loss=3.25)), row(2, figures=infinite)), options=FULL_OPTIONS
    )
    files = PART.files([one])
    found = table(files)
    assert (float(found["full", "dTL"]["mean"]), found["full", "dTL"]["n"]) == (1.5, "2")
    assert "Left out of ΔTL, since it is not finite: full 1." in files["tables/ablations.md"].decode()
    files = PART.files([run((row(0, figures=infinite),), options=FULL_OPTIONS)])
    assert table(files)["full", "dTL"]["mean"] == table(files)["full", "dTL_median"]["mean"] == "not finite"
    assert "none corrected" not in files["tables/ablations.md"].decode(), "it was"


def test_a_variant_without_a_seed_is_told():
    text = PART.files(runs())["tables/ablations.md"].decode()
    assert "Missing among the records: expand only (seed 1)." in text
    assert (
        "Missing among the records: no pruning (no run); expand only (no run)."
        in PART.files([made((1,), (CORRECTED,))])["tables/ablations.md"].decode()
    )
    assert "Missing among" not in Ablations(variants=(FULL,)).files(runs())["tables/ablations.md"].decode()


def test_the_number_of_pairs_that_both_correct_stands_beside_the_differences():
    text = PART.files(runs())["tables/ablations.md"].decode()
    line = next(line for line in text.splitlines() if line.startswith("| no pruning"))
    assert line.startswith("| no pruning | 5 of 8 |")
    assert "| 5 | -37.50 [" in line


def test_differences_that_cancel_leave_nothing_behind():
    accuracy = {True: (0.5, 0.5, 0.5), False: (0.6, 0.7, 0.2)}  # 0.1 + 0.2 - 0.3 is 5.6e-17
    pair = [
        run(
            tuple(row(k, figures=figures(test_accuracy=value)) for k, value in enumerate(accuracy[prune])),
            options={"prune": prune, "replace_probability": 0.7},
        )
        for prune in (True, False)
    ]
    assert table(PART.files(pair))["no pruning", "dTA_difference"]["mean"] == "0.0"
