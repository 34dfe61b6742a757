"""Algorithm 1 beside the others: only the samples that all were run on, and the extrapolation by hand."""

import csv
import io
import random

import pytest

from experiments.report.idealized import Idealized
from tests.records_factory import CORRECTED, UNCORRECTED, figures, row, run

PART = Idealized()


def made(method, altered, passes, network="mlp", seconds=0.5, steps=1, wrong=(), options=None, seed=0):
    rows = tuple(
        row(k, UNCORRECTED if k in wrong else CORRECTED, altered=0 if k in wrong else count, forward_passes=used,
            search_seconds=seconds, steps=steps, figures=figures(test_accuracy=0.8 - count / 100))
        for k, (count, used) in enumerate(zip(altered, passes, strict=True))
    )  # fmt: skip
    return run(rows, method=method, network=network, options=options, seed=seed)


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
    assert "Idealized selector, last layer alone: lin3.weight |" in text
    assert text.count("whole network, extrapolated |") == 1, "it corrects nothing: not in the second block"
    assert "MLP: missing, no run of" in text


def test_a_method_without_runs_is_missing_and_the_order_changes_nothing():
    every = [*runs(), *runs("alexnet", ["lin3.weight"])]
    files = PART.files(every)
    assert set(files) == set(PART.names)
    random.Random(4).shuffle(every)
    assert PART.files(every) == files
    text = PART.files(runs()[1:])["tables/idealized_selector.md"].decode()
    assert "| MLP | Idealized selector | missing |" in text
    assert "| MLP | BGD-II | no shared samples |" in text, "it has a run"
    assert PART.files([])["tables/idealized_selector.md"].decode().count("| missing") >= 8


def test_subsets_over_the_samples_that_all_four_correct():
    found = table(PART.files(runs()))  # the first sample alone: BGD-I fails at the second
    assert [found["mlp", name, "n"] for name in ("Idealized selector", "BGD-I")] == ["1.0", "1.0"]
    assert float(found["mlp", "Idealized selector", "common_mean"]) == 4, "and not 6"
    assert float(found["mlp", "Top-k", "common_median"]) == 6
    assert float(found["mlp", "Top-k", "common_max"]) == 6, "and not 7"
    assert float(found["mlp", "Idealized selector", "subset_ratio"]) == 4 / 2
    assert float(found["mlp", "BGD-II", "subset_ratio"]) == 1


def test_passes_are_compared_and_timed():
    found = table(PART.files([*runs(), *runs("alexnet", ["lin3.weight"])]))
    assert float(found["mlp", "Idealized selector", "passes_ratio"]) == pytest.approx(1004 / 15)
    assert float(found["mlp", "BGD-I", "milliseconds"]) == pytest.approx(1000 * (2 + 2) / (100 + 300))
    name = "Idealized selector, whole network, extrapolated"
    assert float(found["alexnet", name, "milliseconds"]) == pytest.approx(10)
    assert float(found["alexnet", name, "passes_ratio"]) == pytest.approx(1004 / 15)


def test_the_caption_counts_where_the_selector_needs_less():
    every = [
        made(method, altered, (10,) * 4)
        for method, altered in (
            ("idealized", (1, 2, 9, 9)),
            ("bgd_ii", (2, 2, 4, 6)),
            ("bgd_i", (1, 1, 1, 1)),
            ("top_k", (1, 1, 1, 1)),
        )
    ]
    text = PART.files(every)["tables/idealized_selector.md"].decode()
    assert (
        "Of the 4 that all four correct, the selector's subset is smaller than BGD-II's on 1, as large on 1"
        in text
    )
    assert "and larger on 2; its mean is 1.50 times BGD-II's" in text
    every[3] = made("top_k", (1,) * 4, (10,) * 4, wrong=range(4))
    text = PART.files(every)["tables/idealized_selector.md"].decode()
    assert "No sample is corrected by all four." in text


def test_other_seeds_do_not_count():
    more = made("bgd_ii", (70, 80), (10, 20), seed=1)
    assert PART.files([*runs(), more]) == PART.files(runs())


def test_hours_where_seconds_are_many():
    text = PART.files([*runs()[:3], made("top_k", (6, 7), (1, 3), seconds=9000.0)])[
        "tables/idealized_selector.md"
    ].decode()
    assert "| 2.50 h |" in text
