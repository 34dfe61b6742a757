import math

import numpy as np
import pytest

from bgd.rng import stream
from experiments.report.one_correction import Distributions
from experiments.report.part import Part, Thesis
from experiments.report.scales import Panel, decades
from experiments.report.scope import Scope
from experiments.report.tails import tail
from tests.records_factory import ALREADY_RIGHT, CORRECTED, UNCORRECTED, figures, row, run
from tests.report.probe_records import rows_of

METHODS = ("bgd_ii", "retrain", "random", "l1")
PART = Distributions(methods=METHODS, thesis=Thesis(errors=(("mlp", 947),)))
SCOPE = Scope("reloading", ("alexnet", "mlp"), METHODS)


def percentile_by_hand(values, share):
    """The value at a place of the sorted values, linear between two neighbours."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def test_tail_equals_the_obvious_one():
    values = stream(0, "test", "tail").normal(size=37)
    found = tail(values, "smallest")
    assert found.median == pytest.approx(percentile_by_hand(values, 0.5))
    assert found.low == pytest.approx(percentile_by_hand(values, 0.05))
    assert found.high == pytest.approx(percentile_by_hand(values, 0.95))
    assert found.summary.mean == pytest.approx(sum(values) / 37)
    assert found.worst == min(values)
    assert tail(values, "largest").worst == max(values)


def test_a_value_that_is_not_finite_is_the_worst_case_and_in_no_mean():
    found = tail(np.array([1.0, np.nan, 3.0]), "largest")
    assert (found.summary.mean, found.summary.n, found.summary.left_out) == (2, 2, 1)
    assert (found.worst, found.worst_is_finite) == (3, False)
    assert tail(np.array([np.nan]), "largest").summary.note == "not finite"
    assert tail(np.empty(0), "largest", "none corrected").summary.note == "none corrected"


def losses(*values, outcome=CORRECTED):
    """A row for each training loss."""
    return tuple(row(place, outcome, figures=figures(train_loss=value)) for place, value in enumerate(values))


def example():
    """BGD-II with 4 corrected samples in 2 seeds; random without any; l1 without a run; one loss not finite."""
    unlucky = row(2, UNCORRECTED, figures=figures(train_loss=9.0))
    already = row(3, ALREADY_RIGHT, figures=figures(train_loss=9.0))
    return [
        run((*losses(0.35, 0.45), unlucky, already)),
        run((*losses(0.25, 1.25), unlucky, already), seed=1),
        run(losses(0.35, None), method="retrain"),
        run(losses(0.25, 0.25, outcome=UNCORRECTED), method="random"),
        run(losses(7.0), setting="non_reloading"),
        run(losses(7.0), method="idealized"),
    ]


def test_table_is_over_the_corrected_samples_of_all_seeds():
    files = PART.files(example())
    assert sorted(files) == sorted(PART.names)
    lines = {
        (line["network"], line["method"], line["quantity"]): line
        for line in rows_of(files["tables/distributions.csv"])
    }
    assert len(lines) == 2 * len(METHODS) * len(Distributions.quantities)
    line = lines["mlp", "bgd_ii", "dTL"]  # 0.1, 0.2, 0.0, 1.0
    numbers = [float(line[name]) for name in ("mean", "median", "p5", "p95", "worst")]
    assert numbers == pytest.approx([0.325, 0.15, 0.015, 0.88, 1.0])
    assert float(line["sd"]) == pytest.approx(np.std([0.1, 0.2, 0, 1], ddof=1))
    assert (line["n"], line["worst_end"], line["not_finite"]) == ("4", "largest", "0")
    retrain = lines["mlp", "retrain", "dTL"]
    assert (retrain["n"], retrain["worst"], retrain["not_finite"]) == ("1", "not finite", "1")
    assert lines["mlp", "random", "dTL"]["mean"] == "none corrected"
    assert lines["mlp", "l1", "dTL"]["mean"] == "missing"
    assert lines["alexnet", "bgd_ii", "dTL"]["mean"] == "missing"
    text = files["tables/distributions.md"].decode()
    assert "| MLP | BGD-II | 4 | 0.33 | 0.46 | 0.15 | 0.015 | 0.88 | 1 |" in text
    assert "| MLP | L1-Regularizer | 0 | missing |" in text
    assert "Not finite, and in neither n, mean nor percentiles: 1 of ΔTL (nats) (Re-training, MLP)." in text
    assert "ΔTA; worst: the smallest." in text


def test_caption_says_scale_and_what_is_missing():
    text = PART.files(example())["tables/distributions.md"].decode()
    assert "AlexNet: missing, no runs of AlexNet in the reloading setting among the records." in text
    assert "Missing, no reloading run among the records: L1-Regularizer." in text
    assert "(thesis: 947)" in text
    # N0 has 8,000 images that are not on the list.
    reduced = run(losses(0.3), network="alexnet", test_images=8_001, train_images=100, errors=5)
    text = PART.files([reduced])["tables/distributions.md"].decode()
    assert "AlexNet: Reduced scale: 1 of 5 misclassified samples, 100 training and 8,001 test images" in text
    assert "All 1 samples of the work list are among the 8,001 test images." in text
    assert "MLP: missing" in text


def test_without_runs_it_says_so():
    files = PART.files([])
    assert sorted(files) == sorted(PART.names)
    assert all(line["mean"] == "missing" for line in rows_of(files["tables/distributions.csv"]))


def test_the_same_bytes_in_any_order():
    runs = example()
    assert PART.files(runs) == PART.files(runs[::-1])


def test_axes_are_monotone_and_keep_zero():
    panel = Panel("x", "x", "symlog", 0.01)
    values = [-10, -0.1, -0.01, -0.005, 0, 0.005, 0.01, 0.1, 10]
    heights = panel.heights(values)
    assert (np.diff(heights) > 0).all()
    assert heights == pytest.approx(-heights[::-1])
    assert heights[-3:] == pytest.approx([1, 2, 4])
    assert Panel("x", "x", "log", 1e-3).heights([0, 1e-3, 1]) == pytest.approx([-3, -3, 0])


def test_ticks_are_decades_and_few():
    panel = Panel("x", "x", "symlog", 0.01)
    assert decades(panel, -0.3, 20.0) == pytest.approx([-0.1, -0.01, 0, 0.01, 0.1, 1, 10])
    assert decades(panel, 0.3, 0.7) == [0.3, 0.7]
    assert decades(panel, -7.0, -0.9) == [-5, -2, -1]
    assert decades(panel, 0.0, 0.004) == [0, 0.004]
    many = decades(panel, 0.0, 1e12)
    assert many[0] == 0
    assert len(many) <= 5
    assert many[-1] == pytest.approx(1e12)
    assert decades(Panel("x", "x", "log", 1.0), 0.0, 1000.0) == pytest.approx([1, 10, 100, 1000])


def test_it_is_a_part():
    checked: Part = Distributions()
    assert checked.presets == ("every_method",)
