"""Corrections in a row: where a method breaks, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.report.accumulation import with_trails
from experiments.report.contenders import frames_of
from experiments.report.in_a_row import MEASURES, InARow, since, values_of
from experiments.report.part import Part, Thesis
from experiments.report.standings import Aim
from tests.records_factory import UNCORRECTED, accumulated, row, run, side_effects
from tests.report.probe_records import rows_of

KNOWLEDGE = (("bgd_ii", "nothing"), ("bgd_c", "statistic"), ("least_harm_row", "keep_set"))
AIMS = (Aim("mlp", "untouched_loss", "at most", 0.02), Aim("mlp", "retention", "at least", 95.0))
PART = InARow(Thesis(knowledge=KNOWLEDGE), methods=("bgd_ii", "bgd_c", "least_harm_row"), aims=AIMS)


def trail(untouched, kept, method="bgd_ii", seed=0, options=None, wrong=()):
    """A run of which 8,000 images are untouched; `kept` of those corrected before are right."""
    rows = tuple(
        row(
            place,
            **({"outcome": UNCORRECTED} if place in wrong else {}),
            side_effects=side_effects(untouched_right=right),
            accumulated=accumulated(
                earlier=place, earlier_right=kept[place], union=2 + place, drift=0.5 * place
            ),
            search_seconds=2.0,
        )
        for place, right in enumerate(untouched)
    )
    return run(rows, setting="non_reloading", method=method, seed=seed, options=options)


def values(one):
    frames, _ = frames_of([one], "non_reloading", ("mlp",))
    samples = with_trails(frames.samples)
    return {item.name: item.values(samples)[0] for item in MEASURES}


def test_since_when_something_holds_for_good():
    assert since([False, True, False, True, True]) == 4
    assert since([True, True]) == 1
    assert since([False, True]) == 2
    for never in ([], [False], [True, True, False]):
        assert np.isnan(since(never))


def test_where_a_method_breaks_is_where_it_does_not_recover_from():
    # 80 of 8,000 images are a point.
    found = values(trail([7_910, 7_960, 7_920, 7_500, 7_590, 7_600], [0, 1, 2, 2, 4, 4]))
    assert found["lost_1"] == 3  # the first is a point below too, the second has recovered; the edge counts
    assert found["lost_5"] == 4
    assert np.isnan(found["lost_10"])
    assert found["forgotten"] == 6  # 2 of 3 is below 0.95, 4 of 4 is not, 4 of 5 is
    assert found["untouched_loss"] == 0.05
    assert found["untouched_accuracy"] == 0.95
    assert found["retention"] == 80
    assert (found["union"], found["drift"], found["seconds"], found["POC"]) == (7, 2.5, 12, 100)
    fine = values(trail([8_000, 8_000], [0, 1], wrong=(1,)))
    assert np.isnan(fine["lost_1"])
    assert np.isnan(fine["forgotten"])
    assert fine["POC"] == 50


def example():
    return [
        trail([7_990, 7_900, 7_000], [0, 1, 1]),
        trail([7_999, 7_990, 7_980], [0, 1, 2], "least_harm_row", options={"protect": True}),
        trail([7_999, 7_990, 7_800], [0, 1, 2], "least_harm_row", options={"protect": False}),
        trail([7_000, 7_000, 7_200], [0, 0, 0], "bgd_c", seed=0),
        trail([7_000, 7_000, 7_960], [0, 0, 2], "bgd_c", seed=1),
    ]


def test_the_table_says_it_for_each_method_and_option_and_marks_the_aims():
    files = PART.files(example())
    assert sorted(files) == sorted(PART.names)
    lines = {
        (line["method"], line["options"], line["quantity"]): line
        for line in rows_of(files["tables/in_a_row.csv"])
    }
    assert len(lines) == 4 * len(MEASURES)
    assert lines["least_harm_row", "protect True", "lost_1"]["value"] == "never"
    assert lines["least_harm_row", "protect False", "lost_1"]["value"] == "3.0"
    mean = lines["bgd_c", "", "lost_5"]
    assert (float(mean["value"]), mean["n"], mean["without"]) == (1, "1", "1")
    text = files["tables/in_a_row.md"].decode()
    ours = next(line for line in text.splitlines() if line.startswith("| Least harm, in a row, protect True"))
    assert "| 1.0 | 0.0025 ✓ | 100 ✓ | 4 |" in ours
    assert ours.endswith("| never | never | never | never |")
    assert "| 0.88 | 0.12 ✗ | 50 ✗ | 4 |" in text
    assert "(never in 1 of 2)" in text
    assert "missing, no runs of AlexNet in the non-reloading setting" in text
    place = [text.index(name) for name in ("| BGD-II |", "| BGD-C |", "| Least harm, in a row, protect")]
    assert place == sorted(place), "those that know least come first"


def test_lines_of_the_figure():
    frames, _ = frames_of(example()[:1], "non_reloading", ("mlp",))
    samples = with_trails(frames.samples)
    assert values_of(samples, "untouched_loss") == pytest.approx([0, 0.00125, 0.0125, 0.125])
    kept = values_of(samples, "retention")
    assert np.isnan(kept[:2]).all()
    assert kept[2:] == pytest.approx([1, 0.5])


def test_files_do_not_depend_on_the_order_and_work_without_runs():
    assert PART.files(example()) == PART.files([run((row(0),)), *example()[::-1]])
    files = PART.files([])
    assert sorted(files) == sorted(PART.names)
    assert "missing, no runs of MLP" in files["tables/in_a_row.md"].decode()
    without = replace(PART, aims=())
    assert "✓" not in without.files(example())["tables/in_a_row.md"].decode().split("AlexNet.\n")[-1]


def test_it_is_a_part():
    checked: Part = PART
    assert checked.presets == ("in_a_row", "in_a_row_dense", "in_a_row_refusal")
