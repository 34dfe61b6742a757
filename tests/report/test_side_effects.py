from dataclasses import replace

import numpy as np
import pytest

from bgd.rng import stream
from experiments.report.metrics import untouched_accuracy_change
from experiments.report.one_correction import (
    SideEffects,
    close_locality,
    describe_close,
    locality,
    negative_flips,
    positive_flips,
)
from experiments.report.part import Part
from experiments.report.scope import Scope
from tests.records_factory import BASELINE, UNCORRECTED, row, run, side_effects
from tests.report.probe_records import rows_of

PART = SideEffects(methods=("bgd_ii", "top_k"))
SCOPE = Scope("reloading", ("alexnet", "mlp"), PART.methods)


def counted(before, after, labels, untouched, close):
    """Side effects and baseline of predictions, image by image."""
    images = range(len(labels))
    right_before = [before[i] == labels[i] for i in images]
    right_after = [after[i] == labels[i] for i in images]
    effects = side_effects(
        broken=sum(right_before[i] and not right_after[i] for i in images),
        fixed=sum(right_after[i] and not right_before[i] for i in images),
        agreeing=sum(before[i] == after[i] for i in images),
        agreeing_close=sum(before[i] == after[i] for i in images if close[i]),
        untouched_right=sum(right_after[i] for i in images if untouched[i]),
    )
    baseline = replace(
        BASELINE,
        close_images=int(sum(close)),
        untouched_images=int(sum(untouched)),
        untouched_right=sum(right_before[i] for i in images if untouched[i]),
    )
    return effects, baseline, right_before, right_after


def test_rates_equal_those_counted_image_by_image():
    draws = stream(0, "test", "side_effects")
    images = 50
    labels, before, after = (draws.integers(0, 3, images) for _ in range(3))
    untouched, close = draws.random(images) < 0.7, draws.random(images) < 0.2
    effects, baseline, right_before, right_after = counted(before, after, labels, untouched, close)
    found = SCOPE.frames([run((row(0, side_effects=effects),), test_images=images, baseline=baseline)])
    samples = found.samples
    flips = [b and not a for b, a in zip(right_before, right_after, strict=True)]
    assert negative_flips(samples)[0] == pytest.approx(100 * np.mean(flips))
    assert locality(samples)[0] == pytest.approx(100 * np.mean(before == after))
    assert close_locality(samples)[0] == pytest.approx(100 * np.mean((before == after)[close]))
    change = np.mean(np.array(right_after)[untouched]) - np.mean(np.array(right_before)[untouched])
    assert untouched_accuracy_change(samples)[0] == pytest.approx(change)
    # What is fixed less what is broken is the change of the test accuracy.
    net = positive_flips(samples)[0] - negative_flips(samples)[0]
    assert net == pytest.approx(100 * (np.mean(right_after) - np.mean(right_before)))


def test_no_close_and_no_untouched_image_is_no_number():
    none = replace(BASELINE, close_images=0, close_margin=None, untouched_images=0, untouched_right=0)
    frames = SCOPE.frames([run((row(0),), baseline=none)])
    assert np.isnan(close_locality(frames.samples)).all()
    assert np.isnan(untouched_accuracy_change(frames.samples)).all()
    assert "0 images, at most an unknown number of logits apart" in describe_close(frames, SCOPE.networks)
    assert "not finite" in PART.files([run((row(0),), baseline=none)])["tables/side_effects.md"].decode()


def example():
    effects = [
        side_effects(broken=10, fixed=1, agreeing=9_989, agreeing_close=995, untouched_right=7_990),
        side_effects(broken=30, fixed=3, agreeing=9_967, agreeing_close=985, untouched_right=7_970),
    ]
    never = row(2, UNCORRECTED, side_effects=side_effects(broken=5_000))
    return [
        run((*(row(place, side_effects=item) for place, item in enumerate(effects)), never)),
        run((never,), setting="non_reloading"),
    ]


def test_table_by_hand():
    files = PART.files(example())
    assert sorted(files) == sorted(PART.names)
    lines = {
        (line["network"], line["method"], line["quantity"]): line
        for line in rows_of(files["tables/side_effects.csv"])
    }
    assert len(lines) == 2 * 2 * len(SideEffects.quantities)
    expected = {
        "negative_flip_rate": (0.2, 0.3),
        "positive_flip_rate": (0.02, 0.01),
        "locality": (99.78, 99.67),
        "locality_close": (99.0, 98.5),
        "untouched_dTA": (-0.0025, -0.00375),
    }
    for name, (mean, worst) in expected.items():
        line = lines["mlp", "bgd_ii", name]
        assert (float(line["mean"]), float(line["worst"])) == pytest.approx((mean, worst)), name
        assert line["n"] == "2"
    text = files["tables/side_effects.md"].decode()
    assert "| MLP | BGD-II | 2 | 0.20 | 0.14 | 0.20 | 0.11 | 0.29 | 0.30 |" in text
    assert "two largest logits N0 has closest together: MLP 1,000 images, at most 2 logits apart." in text
    assert lines["mlp", "top_k", "locality"]["mean"] == "missing"


def test_files_do_not_depend_on_the_order_and_work_without_runs():
    runs = [*example(), run((row(0),), network="alexnet", method="top_k")]
    assert PART.files(runs) == PART.files(runs[::-1])
    files = PART.files([])
    assert sorted(files) == sorted(PART.names)
    assert all(line["mean"] == "missing" for line in rows_of(files["tables/side_effects.csv"]))
    assert "Close images" not in files["tables/side_effects.md"].decode()


def test_it_is_a_part():
    checked: Part = PART
    assert checked.presets == ("every_method",)
