"""Other readings of the thesis: a line for each, and methods that keep their optimizer apart from those that do not."""

from dataclasses import replace

from experiments.report.frames import build_frames
from experiments.report.readings import Readings
from experiments.report.tables import TableSpec
from experiments.thesis.tables import STUDIES
from tests.records_factory import UNCORRECTED, row, run

PART = next(part for part in STUDIES if isinstance(part, Readings))
KEPT = run((row(0), row(1)), method="retrain", setting="non_reloading", options={"carry_momentum": True})


def test_one_optimizer_for_all_samples_is_a_method_of_its_own():
    fresh = run((row(0),), method="retrain", setting="non_reloading", options={"carry_momentum": False})
    assert build_frames([fresh, KEPT]).runs["method"].tolist() == ["retrain", "retrain_kept"]
    spec = TableSpec("table_4_8", "", "mlp", "non_reloading", ("retrain_kept",), ("POC",))
    assert [spec.shows(each.header) for each in (fresh, KEPT)] == [False, True]


def test_each_reading_has_a_line_with_the_errors_of_its_network():
    random = run((row(0), row(1, UNCORRECTED)), method="bgd_i", options={"prior": {"class": "UniformPrior"}})
    other = replace(
        random, header=replace(random.header, run_id="x", base=random.header.base | {"errors": 952})
    )
    spec = {**other.header.spec, "scale": {"recipe": {"learning_rate": 3.3e-4}}, "method": {"name": "bgd_i"}}
    other = replace(other, header=replace(other.header, spec=spec))
    printed = run((row(0),), method="bgd_ii", options={"stop": "never", "replace": "printed"})
    files = PART.files([KEPT, random, other, printed])
    assert files == PART.files([printed, other, KEPT, random])
    text = files["tables/readings.md"].decode()
    assert "| MLP | BGD-I, uniform prior | reloading | 2 | 1 | 50 |" in text
    assert "| MLP | BGD-I | reloading | 952 | 1 | 50 |" in text
    assert "| MLP | Re-training, one optimizer | non-reloading | 2 | 1 | 100 |" in text
    assert "| MLP | BGD-II, all iterations, printed Replace | reloading | 1 | 1 | 100 |" in text
    assert b"mlp,reloading,952,BGD-I,POC,50.0" in files["tables/readings.csv"]
    assert sorted(PART.files([])) == sorted(PART.names)
