"""The sweep over the first-order step: means, intervals, and what counts as consistent with the thesis."""

import csv
import io
import random
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from experiments.report.frames import build_frames
from experiments.report.part import Thesis
from experiments.report.steps import FirstOrderStep, consistent, of_metric
from experiments.report.surveys import Estimate, estimate
from experiments.report.tables import REFERENCE_COLUMNS
from tests.records_factory import CORRECTED, UNCORRECTED, figures, row, run

PRINTED = pd.DataFrame(
    [
        ("4.3", "alexnet", "reloading", "POC", "bgd_i", 50.0, 0.1),
        ("4.3", "alexnet", "reloading", "POPA", "bgd_i", 0.2, None),
        ("4.4", "mlp", "reloading", "POC", "bgd_i", 75.0, None),
        ("4.4", "mlp", "reloading", "dTA", "bgd_i", 0.1, None),
        ("4.8", "mlp", "non_reloading", "POC", "bgd_i", 100.0, 1.0),
    ],
    columns=REFERENCE_COLUMNS,
)


def one(step, right, network="mlp", setting="reloading", method="bgd_i", count=8):
    """`right` of `count` samples corrected, 2 of 1,000 parameters altered, test accuracy 0.1 lower."""
    rows = tuple(
        row(k, CORRECTED if k < right else UNCORRECTED, figures=figures(test_accuracy=0.7))
        for k in range(count)
    )
    options = {
        "bgd_i": {"update": {"step": step}},
        "top_k": {"step": step},
        "retrain": {"learning_rate": step},
    }
    made = run(rows, network=network, setting=setting, method=method, options=options[method])
    return replace(made, header=replace(made.header, run_id=f"{made.header.run_id}-{step}"))


def sweep():
    """At 0.1 half of AlexNet's samples and three quarters of the MLP's are corrected, at 0.01 none, at 1 all."""
    return [
        *(one(step, right, "alexnet") for step, right in ((0.01, 0), (0.1, 4), (1.0, 8))),
        *(one(step, right) for step, right in ((0.01, 0), (0.1, 6), (1.0, 8))),
        *(one(step, right, setting="non_reloading") for step, right in ((0.01, 0), (0.1, 8), (1.0, 8))),
        one(0.1, 5, method="top_k"),
        one(0.1, 7, method="retrain"),
    ]


def test_the_estimate_is_the_mean_with_a_bootstrap_interval():
    values = np.array([0.0, 0.0, 100.0, 100.0])
    found = estimate(values, np.arange(4), "test")
    assert (found.mean, found.n) == (50.0, 4)
    draws = np.random.default_rng(3).choice(values, (20_000, 4)).mean(axis=1)  # a bootstrap of our own
    low, high = np.percentile(draws, (2.5, 97.5))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert estimate(np.full(5, 2.0), np.arange(5), "test") == Estimate(2.0, 2.0, 2.0, 5)
    assert estimate([], [], "test").n == 0


def test_what_counts_as_consistent():
    poc = Estimate(50.0, 40.0, 60.0, 10)
    assert consistent(poc, "POC", 60.0, None)
    assert not consistent(poc, "POC", 60.5, None)
    assert consistent(poc, "POC", 60.5, 0.3), "two of the thesis' deviations wider"
    popa = Estimate(1.0, 0.8, 1.2, 10)
    assert [consistent(popa, "POPA", value, None) for value in (0.39, 0.4, 2.4, 2.5)] == [
        False,
        True,
        True,
        False,
    ]
    rose = Estimate(-0.01, -0.02, -0.005, 10)
    assert consistent(rose, "dTA", 0.03, None), "without its sign"
    assert not consistent(rose, "dTA", 0.05, None)
    around = Estimate(0.0, -0.02, 0.01, 10)
    assert consistent(around, "dTA", 0.0, None)
    assert not consistent(Estimate(np.nan, np.nan, np.nan, 0), "POC", 1.0, None)


def test_the_metrics_are_over_their_samples():
    samples = build_frames([one(0.1, 6)]).samples
    assert of_metric(samples, "POC").mean == 75.0
    assert (of_metric(samples, "POPA").mean, of_metric(samples, "POPA").n) == (pytest.approx(0.2), 6)
    assert of_metric(samples, "dTA").mean == pytest.approx(0.1), "a drop is above 0"


@pytest.fixture
def reference(tmp_path):
    """Values of a thesis, as a file."""

    def written(values=PRINTED):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.csv"
        values.to_csv(path, index=False)
        return path

    return written


@pytest.mark.slow
def test_the_step_that_fits_every_cell_is_named(reference):
    part = FirstOrderStep(Thesis(tables=reference()))
    files = part.files(sweep())
    text = files["tables/first_order_step_bgd_i.md"].decode()
    assert "consistent with every one of the 4 reloading cells that have runs among the records: 0.1." in text
    found = list(csv.DictReader(io.StringIO(files["tables/first_order_step_bgd_i.csv"].decode())))
    met = {
        step: [line["consistent"] for line in found if float(line["step"]) == step] for step in (0.01, 0.1, 1)
    }
    assert met == {
        0.01: [*"0000", ""],
        0.1: [*"1111", ""],
        1: [*"0101", ""],
    }  # the last is non-reloading: one run
    other = PRINTED.assign(mean=PRINTED["mean"].where(PRINTED["metric"] != "POPA", 5.0))
    text = (
        FirstOrderStep(Thesis(tables=reference(other)))
        .files(sweep())["tables/first_order_step_bgd_i.md"]
        .decode()
    )
    assert "4 reloading cells that have runs among the records: none. The most, 3, are met at 0.1." in text


def test_the_curves_table_has_every_method_and_the_thesis(reference):
    files = FirstOrderStep(Thesis(tables=reference())).files(sweep())
    lines = list(csv.DictReader(io.StringIO(files["tables/first_order_step.csv"].decode())))
    means = {
        (x["network"], x["method"], float(x["step"])): float(x["mean"]) for x in lines if x["metric"] == "POC"
    }
    assert means["mlp", "top_k", 0.1] == 62.5
    assert means["mlp", "retrain", 0.1] == 87.5
    assert means["alexnet", "bgd_i", 0.1] == 50.0
    thesis = {(x["network"], x["method"]): x["thesis_mean"] for x in lines if x["metric"] == "POC"}
    assert (thesis["mlp", "bgd_i"], thesis["mlp", "top_k"]) == ("75.0", "")


@pytest.mark.slow
def test_the_same_bytes_in_any_order_and_what_is_missing_says_so(reference):
    part, runs = FirstOrderStep(Thesis(tables=reference())), sweep()
    files = part.files(runs)
    assert set(files) == set(part.names)
    random.Random(2).shuffle(runs)
    assert part.files(runs) == files
    nothing = part.files([])
    assert all(b"missing" in nothing[name] for name in nothing if name.endswith(".md"))
    rest = part.files(sweep()[3:])["tables/first_order_step_bgd_i.md"].decode()
    assert "missing" in rest, "AlexNet is not there"
    assert "every one of the 2 reloading cells that have runs among the records: 0.1." in rest
    assert "in no count: 4.3 AlexNet POC (%) and 4.3 AlexNet POPA (%)." in rest
    assert "in no count" not in files["tables/first_order_step_bgd_i.md"].decode(), "every cell has a run"
