from dataclasses import replace

import numpy as np
import pytest

from bgd.rng import stream
from experiments.report.accumulation import MEASURES, Accumulation, first_fall, with_trails
from experiments.report.frames import REPLICAS
from experiments.report.part import Part
from experiments.report.scope import Scope
from tests.records_factory import BASE, BASELINE, accumulated, figures, row, run, side_effects
from tests.report.probe_records import rows_of

PART = Accumulation(methods=("bgd_ii", "retrain"))
SCOPE = Scope("non_reloading", PART.networks, PART.methods)


def trail(accuracies, seed=0, untouched=None, replica=0, **changes):
    """A non-reloading run with these test accuracies; `changes` have a list each of `Accumulated`'s values."""
    samples = []
    for place, accuracy in enumerate(accuracies):
        so_far = accumulated(earlier=place, **{name: values[place] for name, values in changes.items()})
        right = 8000 if untouched is None else untouched[place]
        samples.append(
            row(
                place,
                figures=figures(test_accuracy=accuracy),
                side_effects=side_effects(untouched_right=right),
                accumulated=so_far,
            )
        )
    return run(tuple(samples), setting="non_reloading", seed=seed, replica=replica)


def measures(runs, method="bgd_ii", seed=0):
    samples = with_trails(SCOPE.frames(runs).select(network="mlp", method=method, seed=seed).samples)
    return {item.name: item.values(samples)[0] for item in MEASURES}


def test_first_fall_counts_samples_and_the_edge_counts_as_fallen():
    # N0 has 0.8. 0.8 - 0.79 is above and 0.8 - 0.7 below what it should be in binary.
    samples = with_trails(SCOPE.frames([trail([0.81, 0.795, 0.79, 0.8, 0.75, 0.70])]).samples)
    assert first_fall(samples, "test_accuracy", 1) == 3
    assert first_fall(samples, "test_accuracy", 5) == 5
    assert first_fall(samples, "test_accuracy", 10) == 6
    assert np.isnan(first_fall(samples, "test_accuracy", 11))
    assert np.isnan(first_fall(samples, "untouched_accuracy", 1))


def test_parts_equal_those_counted_image_by_image():
    draws = stream(0, "test", "accumulation")
    images, listed = 40, np.zeros(40, dtype=bool)
    listed[[3, 7, 8, 20, 33]] = True  # all that N0 gets wrong
    rights = draws.random((6, images)) < 0.6
    rows = tuple(
        row(
            place,
            figures=figures(test_accuracy=float(np.mean(right))),
            side_effects=side_effects(untouched_right=int(right[~listed].sum())),
            accumulated=accumulated(earlier=place),
        )
        for place, right in enumerate(rights)
    )
    baseline = replace(BASELINE, untouched_images=35, untouched_right=35)
    base = replace(BASE, test_accuracy=35 / 40)
    found = run(rows, setting="non_reloading", test_images=images, baseline=baseline, base=base)
    samples = with_trails(SCOPE.frames([found]).samples)
    assert samples["listed_part"].tolist() == pytest.approx((rights & listed).sum(axis=1) / images)
    assert samples["untouched_accuracy"].tolist() == pytest.approx(rights[:, ~listed].mean(axis=1))
    assert samples["base_untouched_accuracy"].tolist() == [1] * 6
    assert samples["base_listed_part"].tolist() == [0] * 6
    values = measures([found])
    assert values["listed_part"] == pytest.approx((rights & listed)[-1].sum() / images)
    assert values["listed_part_mean"] == pytest.approx((rights & listed).sum() / images / 6)
    assert values["untouched_change"] == pytest.approx(rights[-1, ~listed].mean() - 1)


def test_retention_union_and_drift_of_a_run():
    values = measures(
        [trail([0.8] * 5, earlier_right=[0, 1, 1, 1, 3], union=[2, 4, 4, 5, 20], drift=[1, 2, 3, 2, 5.0])]
    )
    assert values["retention_halfway"] == 50  # the third of five: 1 of 2
    assert values["retention_end"] == 75
    assert values["union"] == 2  # 20 of 1,000 parameters
    assert values["drift"] == 5


def test_mean_and_sd_are_over_seeds_and_what_never_happens_is_counted():
    runs = [
        trail([0.8, 0.70], seed=0, earlier_right=[0, 1], drift=[1.0, 2.0]),
        trail([0.74, 0.75], seed=1, earlier_right=[0, 0], drift=[1.0, 4.0]),
        trail([0.8, 0.81], seed=2, earlier_right=[0, 1], drift=[1.0, None], replica=1),
        run((row(0, accumulated=accumulated()),), method="retrain", setting="non_reloading"),
    ]
    files = PART.files(runs)
    assert sorted(files) == sorted(PART.names)
    lines = {
        (line["network"], line["method"], line["quantity"], line["seed"]): line
        for line in rows_of(files["tables/accumulation.csv"])
    }
    assert len(lines) == len(MEASURES) * (3 + 1 + 1 + 1 + 2)
    total = lines["mlp", "bgd_ii", "test_accuracy", "all"]
    assert (float(total["value"]), total["n"]) == (pytest.approx((0.7 + 0.75 + 0.81) / 3), "3")
    assert float(total["sd"]) == pytest.approx(np.std([0.7, 0.75, 0.81], ddof=1))
    fall = lines["mlp", "bgd_ii", "test_accuracy_fall_5", "all"]
    assert (float(fall["value"]), fall["n"], fall["without"]) == (1.5, "2", "1")
    assert lines["mlp", "bgd_ii", "test_accuracy_fall_5", "2"]["value"] == "never"
    assert lines["mlp", "bgd_ii", "untouched_accuracy_fall_1", "all"]["value"] == "never"
    assert lines["mlp", "bgd_ii", "drift", "2"]["value"] == "not finite"
    assert lines["mlp", "retrain", "retention_end", "all"]["value"] == "none corrected"
    assert lines["alexnet", "bgd_ii", "drift", "all"]["value"] == "missing"
    text = files["tables/accumulation.md"].decode()
    assert "1.50 [1, 2] (never in 1 of 3)" in text
    assert "3 [2, 4] (not finite in 1 of 3)" in text
    assert (
        "| MLP | BGD-II | 3 | 100 [0, 100] |" not in text
    )  # halfway is the first of two: none corrected yet
    assert "| MLP | BGD-II | 3 | none corrected | 100 [0, 100] |" in text


@pytest.mark.slow
def test_files_do_not_depend_on_the_order_and_work_without_runs():
    runs = [trail([0.8, 0.7, 0.6]), trail([0.8, 0.75, 0.7], seed=1)]
    assert PART.files(runs) == PART.files([run((row(0),)), *runs[::-1]])  # a reloading run is not looked at
    files = PART.files([])
    assert sorted(files) == sorted(PART.names)
    assert all(line["value"] == "missing" for line in rows_of(files["tables/accumulation.csv"]))
    assert b"missing, no runs of MLP in the non-reloading setting" in files["tables/accumulation.md"]


@pytest.mark.slow
def test_without_a_replica_there_is_no_spread():
    files = PART.files([trail([0.8, 0.7], seed=seed) for seed in range(3)])
    lines = [line for line in rows_of(files["tables/accumulation.csv"]) if line["seed"] == "all"]
    assert {line["sd"] for line in lines} == {""}
    assert "±" not in files["tables/accumulation.md"].decode().split("|", 1)[1]


def test_the_same_run_from_every_replica_is_one_run():
    def runs_of(*trails):
        rows = rows_of(PART.files(trails)["tables/accumulation.csv"])
        return {line["replica"] for line in rows if line["method"] == "bgd_ii" and line["replica"] != "all"}

    assert runs_of(*(trail([0.8, 0.7], replica=replica) for replica in range(3))) == {"0"}
    assert runs_of(trail([0.8, 0.7]), trail([0.8, 0.5], replica=1)) == {"0", "1"}


def test_it_is_a_part():
    checked: Part = PART
    assert checked.presets == ("every_method", *REPLICAS)
