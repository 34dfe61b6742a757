"""Rounding as a source of variance: a table and a figure."""

import csv
import io

import pytest

from experiments.report.frames import REPLICA, build_frames, draws
from experiments.report.part import Part
from experiments.report.rounding import Parting, Rounding, parting
from tests.records_factory import CORRECTED, UNCORRECTED, figures, row, run

PART = Rounding()


def path(*norms, right=None, accuracy=0.5, **about):
    """A run of the non-reloading setting whose corrections have these L2 norms; as many of them right as `right`."""
    right = len(norms) if right is None else right
    samples = tuple(
        row(
            place,
            CORRECTED if place < right else UNCORRECTED,
            l2=norm,
            figures=figures(test_accuracy=accuracy),
        )
        for place, norm in enumerate(norms)
    )
    return run(samples, **{"setting": "non_reloading", **about})


def lines_of(files):
    return list(csv.DictReader(io.StringIO(files["tables/rounding.csv"].decode())))


def value(files, quantity, axis, column="sd"):
    (line,) = [line for line in lines_of(files) if (line["quantity"], line["axis"]) == (quantity, axis)]
    return line[column]


def test_two_runs_part_at_the_first_other_change():
    ours = build_frames([path(1.0, 2.0, 3.0, 4.0)]).samples
    assert parting(ours, ours) == Parting(None, 4, 4)
    rounded = build_frames([path(1.0, 2.0 * (1 + 1e-6), 3.0, 4.0)]).samples
    assert parting(ours, rounded) == Parting(None, 4, 4)
    other = build_frames([path(1.0, 2.0, 3.1, 4.0)]).samples
    assert parting(ours, other) == Parting(2, 3, 4)
    failed = build_frames([path(1.0, 2.0, 3.0, 4.0, right=3)]).samples
    assert parting(ours, failed) == Parting(3, 3, 4)


RUNS = [
    path(1.0, 2.0, right=2),
    path(1.0, 2.0, right=1, replica=1),
    path(1.0, 2.5, right=2, replica=2),
    path(1.0, 2.0, right=0, seed=1),
    path(1.0, 2.0, right=1, order=1),
]


def test_the_spread_over_replicas_stands_beside_the_others():
    files = PART.files(RUNS)
    assert sorted(files) == sorted(PART.names)
    assert float(value(files, "POC", "replicas", "mean")) == pytest.approx(75)
    assert float(value(files, "POC", "replicas")) == pytest.approx(35.35533906)
    assert float(value(files, "POC", "seeds")) == pytest.approx(70.71067812)
    assert float(value(files, "POC", "orders")) == pytest.approx(35.35533906)
    assert value(files, "POC", "networks") == ""
    assert value(files, "first_to_differ", "replica 1", "mean") == "1"
    assert float(value(files, "same_corrections", "replica 2", "mean")) == 0.5


def test_runs_of_another_scale_are_not_set_beside_replicas():
    files = PART.files([*RUNS, path(1.0, 2.0, right=0, seed=2, train_images=100)])
    assert value(files, "POC", "seeds", "n") == "2"


def test_without_replicas_it_says_so():
    files = PART.files([path(1.0)])
    assert "no replica is among the records" in files["tables/rounding.md"].decode()


def test_a_replica_is_another_draw_where_corrections_accumulate_and_nowhere_else():
    single = path(1.0, setting="reloading", replica=1)
    chosen = draws([*RUNS[:2], single])
    assert chosen == RUNS[:2]
    runs = build_frames(chosen).runs
    assert runs["seed"].tolist() == [0, REPLICA]
    assert runs["replica"].tolist() == [0, 1]


def test_it_is_a_part():
    checked: Part = PART
    assert set(checked.presets) >= {"rounding", "rounding_alexnet", "rounding_beyond"}
