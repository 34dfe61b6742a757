"""Algorithm 1 beside the others: only the samples that all were run on, and the extrapolation by hand."""

import csv
import io
import random

import pytest

from bgd.report.idealized import Idealized
from tests.records_factory import CORRECTED, UNCORRECTED, figures, row, run

PART = Idealized()


def made(method, altered, passes, network="mlp", seconds=0.5, steps=1, wrong=(), options=None):
    rows = tuple(
        row(k, UNCORRECTED if k in wrong else CORRECTED, altered=0 if k in wrong else count, forward_passes=used,
            search_seconds=seconds, steps=steps, figures=figures(test_accuracy=0.8 - count / 100))
        for k, (count, used) in enumerate(zip(altered, passes, strict=True))
    )  # fmt: skip
    return run(rows, method=method, network=network, options=options)


def runs(network="mlp", tensors=None):
    return [
        made("idealized", (4, 8), (1003, 1005), network, steps=1000, options={"tensors": tensors}),
        made("bgd_ii", (2, 2, 50), (10, 20, 90), network),
        made("bgd_i", (3, 5, 50), (100, 300, 90), network, seconds=2.0, wrong=(1,)),
        made("top_k", (6, 7, 50), (1, 3, 90), network),
    ]


def table(files):
    lines = csv.DictReader(io.StringIO(files["tables/idealized_selector.csv"].decode()))
    return {(x["network"], x["method"], x["metric"]): x["value"] for x in lines}


def test_only_shared_samples_count():
    found = table(PART.files(runs()))
    assert float(found["mlp", "Idealized selector", "subset_mean"]) == 6
    assert float(found["mlp", "BGD-II", "subset_mean"]) == 2, "and not 18: the selector has no third sample"
    assert float(found["mlp", "BGD-II", "passes"]) == 15
    assert float(found["mlp", "BGD-I", "POC"]) == 50
    assert float(found["mlp", "BGD-I", "subset_max"]) == 3
    assert float(found["mlp", "Top-k", "dTA"]) == pytest.approx(-0.06), "the one sample that all four correct"
    assert float(found["mlp", "Idealized selector", "passes"]) == 1004
    assert not [key for key in found if "extrapolated" in key[1]], "it went through everything"


def test_what_was_left_out_is_extrapolated():
    files = PART.files(runs("alexnet", ["lin3.weight"]))
    found = table(files)
    name = "Idealized selector, whole network, extrapolated"
    assert (
        float(found["alexnet", name, "passes"]) == 1000 + (3 + 5) / 2
    )  # 1,000 parameters, retraining's passes
    assert float(found["alexnet", name, "seconds"]) == pytest.approx(1004 * (2.0 + 2.0) / (100 + 300))
    assert found["alexnet", name, "subset_mean"] == ""
    text = files["tables/idealized_selector.md"].decode()
    assert "of lin3.weight alone" in text
    assert "MLP: missing, no run of" in text


def test_a_method_without_runs_is_missing_and_the_order_changes_nothing():
    every = [*runs(), *runs("alexnet", ["lin3.weight"])]
    files = PART.files(every)
    assert set(files) == set(PART.names)
    random.Random(4).shuffle(every)
    assert PART.files(every) == files
    text = PART.files(runs()[1:])["tables/idealized_selector.md"].decode()
    assert "| MLP | Idealized selector | missing |" in text
    assert PART.files([])["tables/idealized_selector.md"].decode().count("| missing") >= 8
