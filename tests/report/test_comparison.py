import csv
import io
from dataclasses import replace

import pandas as pd
import pytest

import experiments.report.metrics as metrics
from experiments.report.comparison import Comparison
from experiments.report.frames import ReportError, build_frames
from experiments.report.gradient_ranks import GradientRanksPart
from experiments.report.metrics import METRICS, MISSING
from experiments.report.part import Part
from experiments.report.statistics import Interval, wilson
from experiments.report.tables import TableSpec, evaluate, read_reference
from experiments.report.verdicts import (
    AGREES,
    DIFFERS,
    NOT_COMPARABLE,
    RANK,
    SHARE,
    SIMILAR,
    Printed,
    rank_verdict,
    verdict,
)
from experiments.thesis.tables import RANKS, REFERENCE, TABLES, THESIS
from tests.records_factory import CORRECTED, UNCORRECTED, figures, row, run
from tests.report.probe_records import probe_run
from tests.report.test_gradient_ranks import SAMPLES

pytestmark = pytest.mark.usefixtures("few_are_enough")


@pytest.mark.parametrize(
    ("text", "half"),
    [
        ("66.10", 0.005),
        ("100", 0.5),
        ("1.9e-05", 5e-7),
        ("5e-3", 5e-4),
        ("-3.3e-03", 5e-5),
        ("6.19e-05", 5e-8),
    ],
)
def test_half_of_the_last_printed_digit(text, half):
    assert Printed(text).half_digit == pytest.approx(half)


@pytest.mark.parametrize(
    ("text", "ours", "ends", "points", "expected"),
    [
        ("0.02", 0.026, (0.025, 0.03), False, AGREES),  # 0.025 rounds to 0.02 or 0.03
        ("0.02", 0.026, (0.0251, 0.03), False, SIMILAR),
        ("0.02", 0.04, (0.039, 0.041), False, SIMILAR),
        ("0.02", 0.041, (0.039, 0.043), False, DIFFERS),
        ("0.02", 0.0099, (0.0095, 0.0101), False, DIFFERS),
        ("0.02", -0.02, (-0.03, -0.01), False, DIFFERS),
        ("0.02", -0.02, (-0.06, 0.02), False, AGREES),
        ("0", 0.6, (0.55, 0.7), False, DIFFERS),
        ("61.35", 51.4, (50, 53), True, SIMILAR),
        ("61.35", 51.3, (50, 53), True, DIFFERS),
        ("100", 99.7, None, True, AGREES),
        ("100.00", 99.7, None, True, SIMILAR),
        ("100", None, None, True, MISSING),
    ],
)
def test_the_rule(text, ours, ends, points, expected):
    interval = None if ends is None else Interval(*ends)
    assert verdict(Printed(text), ours, interval, points) == expected


def test_the_rule_for_ranks():
    found = [rank_verdict(9, ours, (ours or 0, 9, 4)) for ours in (9, 8, None)]
    assert found == [AGREES, SIMILAR, MISSING]
    assert rank_verdict(9, 8, (8, 7, 4)) == DIFFERS


def test_printed_texts_are_the_numbers_beside_them():
    texts, numbers = pd.read_csv(REFERENCE, dtype=str, keep_default_na=False), read_reference(REFERENCE)
    assert [float(text) for text in texts["printed_mean"]] == numbers["mean"].tolist()
    sds = [float(text) if text else None for text in texts["printed_sd"]]
    assert sds == [None if pd.isna(sd) else sd for sd in numbers["sd"]]
    ranks = pd.read_csv(THESIS.ranks, dtype=str)
    assert ranks["printed_percent"].map(float).tolist() == ranks["percent_of_samples"].map(float).tolist()


def test_every_number_of_the_thesis_has_a_cell_even_without_runs():
    part: Part = Comparison(TABLES, RANKS, REFERENCE)
    files = part.files([])
    assert tuple(files) == part.names
    lines = list(csv.DictReader(io.StringIO(files["report/cells.csv"].decode())))
    printed = len(pd.read_csv(REFERENCE)) + 2 * len(pd.read_csv(THESIS.ranks))
    assert len(lines) == printed
    assert {line["verdict"] for line in lines} == {MISSING}
    assert len({tuple(line[name] for name in ("table", "metric", "method")) for line in lines}) == printed
    assert f"| all |  |  | {printed} | 0 | 0 | 0 | 0 | {printed} |" in files["report/cells.md"].decode()
    assert "no runs from other N0" in files["report/cells.md"].decode()


METHODS = ("bgd_ii", "retrain")
SPEC = TableSpec(
    "table_4_1", "A title.", "mlp", "reloading", METHODS, ("POC", "POPA", "dTL", "dTL_released", "dTA")
)


@pytest.fixture
def reference(tmp_path):
    path = tmp_path / "tables.csv"
    path.write_text(
        "table,network,setting,metric,method,mean,sd,printed_mean,printed_sd,note\n"
        "4.1,mlp,reloading,POC,bgd_ii,99.5,0.5,99.50,0.5,\n"
        "4.1,mlp,reloading,POPA,bgd_ii,0.25,0.1,0.25,0.1,a remark\n"
        "4.1,mlp,reloading,dTL,bgd_ii,-0.004,0.1,-4e-3,0.1,\n"
        "4.1,mlp,reloading,dTL,retrain,0.001,0.1,1e-03,0.1,\n"
        "4.1,mlp,reloading,dTA,bgd_ii,0.1,0.1,0.10,0.1,\n"
        "4.1,mlp,reloading,POPA,retrain,100,,100,,\n"
    )
    return path


def a_run(method="bgd_ii", seed=0, accuracies=(0.7, 0.75, 0.6), altered=(1, 2, 3), **about):
    """Three corrected samples and one that is not."""
    samples = [
        row(place, altered=count, figures=figures(test_accuracy=accuracy, train_loss=0.5))
        for place, (accuracy, count) in enumerate(zip(accuracies, altered, strict=True))
    ]
    return run((*samples, row(3, UNCORRECTED)), method=method, seed=seed, **about)


RUNS = [a_run(seed=seed, altered=(1 + seed, 2, 3)) for seed in range(3)]


def cells_of(reference, runs, spec=SPEC):
    found = Comparison((spec,), (), reference).cells(runs)
    return {(cell.metric, cell.method): cell for cell in found}


def test_a_cell_is_of_the_larger_scale_where_its_table_has_the_method(reference):
    """Whatever came out there; a method that was not run there, or a table without a larger scale, is as it was."""
    few = [a_run(seed=seed, altered=(1 + seed, 2, 3), epochs=40) for seed in range(3)]
    part = [
        a_run(name, seed, altered=(5, 6 + seed, 7), epochs=1, train_images=1500)
        for name in METHODS
        for seed in range(3)
    ]
    whole, reduced = cells_of(reference, few), cells_of(reference, part)
    wide = replace(SPEC, name="table_4_1_full", preset="full", methods=METHODS)
    found = {
        (cell.metric, cell.method): cell
        for cell in Comparison((SPEC,), (), reference, (wide,)).cells([*few, *part])
    }
    for key, cell in found.items():
        assert cell == (whole if key[1] == "bgd_ii" else reduced)[key]
    assert whole["POPA", "bgd_ii"] != reduced["POPA", "bgd_ii"]
    assert cells_of(reference, [*few, *part]) == reduced


def test_ours_are_the_values_of_the_tables(reference):
    runs = [*RUNS, a_run("retrain", altered=(1000,) * 3)]
    found = cells_of(reference, runs)
    table = evaluate(SPEC, build_frames(runs), read_reference(reference))
    for (metric, method), cell in found.items():
        ours = table.cells["dTL_released" if metric == "dTL" else metric, method].ours
        assert cell.ours == pytest.approx(abs(ours.mean) if metric == "dTA" else ours.mean)
        assert cell.interval.low <= cell.ours <= cell.interval.high
    share = wilson(3, 4)  # over samples: the seeds of one are not independent
    assert found["POC", "bgd_ii"].interval == Interval(100 * share.low, 100 * share.high)
    assert (found["POC", "bgd_ii"].n, found["POC", "bgd_ii"].kind) == (4, "wilson")
    popa = found["POPA", "bgd_ii"]
    assert (popa.n, popa.kind, popa.printed.text) == (9, "bootstrap", "0.25")
    assert (popa.difference, popa.ratio) == (pytest.approx(popa.ours - 0.25), pytest.approx(popa.ours / 0.25))
    assert "a remark" in popa.notes
    assert "reduced scale" not in " ".join(popa.notes)
    assert found["POPA", "retrain"].verdict == AGREES


def test_accuracies_are_compared_by_size(reference):
    loss = cells_of(reference, RUNS)["dTA", "bgd_ii"]
    assert loss.ours == pytest.approx((0.1 + 0.05 + 0.2) / 3)
    assert (loss.verdict, loss.interval.low) == (AGREES, pytest.approx(0.05))
    assert "ours is a loss of accuracy" in loss.notes[0]
    gain = cells_of(reference, [a_run(accuracies=(0.9, 0.85, 1.0))])["dTA", "bgd_ii"]
    assert gain.ours == pytest.approx(loss.ours)
    assert "ours is a gain of accuracy" in gain.notes[0]


def test_the_loss_is_compared_by_the_released_accounting(reference):
    found = cells_of(reference, [*RUNS, a_run("retrain")])
    bgd = found["dTL", "bgd_ii"]
    assert bgd.ours == pytest.approx(0.00001 - 0.004)
    assert bgd.other_reading == pytest.approx(0.25)
    assert bgd.verdict == AGREES
    retrain = found["dTL", "retrain"]
    assert retrain.verdict == NOT_COMPARABLE
    assert "not compared" in retrain.notes[0]


def test_common_samples_as_in_the_table(reference):
    spec = replace(SPEC, common_samples=True)
    other = run((row(0, altered=500), row(1, UNCORRECTED), row(2), row(3)), method="retrain")
    found = cells_of(reference, [*RUNS, other], spec)
    assert found["POPA", "bgd_ii"].n == 2  # samples 0 and 2 of seed 0
    assert found["POPA", "bgd_ii"].ours == pytest.approx((1 + 3) / 2 / 1000 * 100)
    assert found["POC", "bgd_ii"].n == 4


def test_a_mean_over_few_samples_is_not_compared(reference, monkeypatch):
    monkeypatch.setattr(metrics, "ENOUGH_SAMPLES", 4)
    cell = cells_of(reference, RUNS)["POPA", "bgd_ii"]
    assert (cell.verdict, cell.n) == (NOT_COMPARABLE, 9)
    assert "fewer than" in cell.notes[-1]


def in_a_row(method="bgd_ii", seed=0, altered=(1, 2, 3), **about):
    return a_run(method, seed, altered=altered, setting="non_reloading", replica=1, **about)


def test_popa_of_sequences_counts_an_empty_subset(reference):
    spec = replace(SPEC, setting="non_reloading", metrics=(*SPEC.metrics, "POPA_corrected"))
    runs = [in_a_row(seed=seed, altered=(seed, 2, 3)) for seed in range(3)]
    fixed = [in_a_row("retrain", seed, altered=(1000,) * 3) for seed in range(2)]
    found = cells_of(reference, [*runs, *fixed], spec)
    popa, dense = found["POPA", "bgd_ii"], found["POPA", "retrain"]
    assert popa.ours == pytest.approx((5 + 6 + 7) / 12 / 10)  # of 1,000 parameters, in %
    assert popa.other_reading == pytest.approx((5 + 6 + 7) / 9 / 10)
    assert (popa.kind, popa.interval.low) == ("runs", pytest.approx(5 / 4 / 10, abs=0.01))
    assert dense.ours == 100
    assert "fixed in advance" in dense.notes[0]


def test_a_sequence_without_its_end_is_not_compared(reference):
    spec = replace(SPEC, setting="non_reloading")
    runs = [in_a_row(seed=seed, altered=(seed, 2, 3), errors=900) for seed in range(3)]
    cell = cells_of(reference, runs, spec)["POC", "bgd_ii"]
    assert (cell.verdict, cell.kind) == (NOT_COMPARABLE, "runs")
    assert "before N0's last error" in " ".join(cell.notes)


def test_other_networks_give_a_spread_and_nothing_else(reference):
    # N0 of seed 1: 4, 5 and 6 parameters instead of 1, 2 and 3.
    others = [a_run(altered=(4, 5, 6), network_seed=1, base_id="other")]
    alone, found = cells_of(reference, RUNS), cells_of(reference, [*RUNS, *others])
    popa = found["POPA", "bgd_ii"]
    assert popa.networks == 2
    assert popa.sd_over_networks == pytest.approx(0.3 / 2**0.5)  # of 0.2 % and 0.5 %
    assert replace(popa, networks=0, sd_over_networks=None) == alone["POPA", "bgd_ii"]
    text = Comparison((SPEC,), (), reference).files([*RUNS, *others])["report/cells.md"].decode()
    assert "2 N0 at most" in text


def test_in_a_row_another_network_is_one_more_run(reference):
    spec = replace(SPEC, setting="non_reloading")
    runs = [in_a_row(seed=seed, altered=(seed, 2, 3)) for seed in range(2)]
    more = in_a_row(altered=(9, 9, 9), network_seed=1, base_id="other")
    alone, found = (cells_of(reference, own, spec)["POPA", "bgd_ii"] for own in (runs, [*runs, more]))
    assert (alone.n, found.n, found.networks) == (8, 12, 0)
    assert found.interval.high > alone.interval.high


def test_reduced_scale_and_rows_left_out_are_noted(reference):
    samples = (row(0, CORRECTED, figures=figures(released_after=None)), row(1))
    found = cells_of(reference, [run(samples, errors=900, train_images=1500)])
    notes = "; ".join(found["dTL", "bgd_ii"].notes)
    assert "loss is not finite: 1" in notes
    assert "reduced scale, 2 of 900 misclassified samples, 1,500 training" in notes


def test_a_number_without_a_table_is_refused(reference):
    spec = replace(SPEC, methods=("bgd_ii",))
    with pytest.raises(ReportError, match="no dTL_released of retrain"):
        cells_of(reference, RUNS, spec)
    text = reference.read_text().replace("printed_mean", "other")
    reference.write_text(text)
    with pytest.raises(ReportError, match="no column"):
        cells_of(reference, RUNS)


def test_gradient_ranks():
    part = GradientRanksPart(THESIS, ("table_4_10", "figure_4_12"), ("mlp",))
    runs = [probe_run("gradient_ranks", SAMPLES), *RUNS]
    comparison = Comparison((), (part,), REFERENCE)
    assert comparison.presets == ("table_4_10", "figure_4_12", "base_networks")
    found = {(cell.metric, cell.method): cell for cell in comparison.cells(runs)}
    assert len(found) == 18
    # Best by testing accuracy: rank 2 (a tie with 3), rank 1, rank 1, none. The thesis: ranks 1, 19 and 40.
    first, second, third = (found[RANK, f"testing_accuracy {place}"] for place in (1, 2, 3))
    assert (first.ours, first.verdict, first.ratio) == (1, AGREES, None)
    assert (second.ours, second.verdict, second.difference) == (2, DIFFERS, -17)
    assert (third.ours, third.verdict) == (None, MISSING)
    share, ends = found[SHARE, "testing_accuracy 1"], wilson(2, 4)
    assert (share.ours, share.other_reading) == (50, 75)
    assert share.interval == Interval(100 * ends.low, 100 * ends.high)
    # Best by training accuracy: rank 1 (a tie with 2), rank 2, rank 3. The thesis has rank 1 first.
    assert found[RANK, "training_accuracy 1"].verdict == AGREES
    beyond = found[SHARE, "training_loss 1"]  # rank 59
    assert (beyond.verdict, beyond.ours) == (MISSING, None)


def test_files_do_not_depend_on_the_order_of_runs(reference):
    part = Comparison((SPEC,), RANKS, reference)
    runs = [*RUNS, a_run("retrain"), probe_run("gradient_ranks", SAMPLES)]
    files = part.files(runs)
    assert files == part.files(runs[::-1])
    (line,) = (
        text for text in files["report/cells.md"].decode().splitlines() if "| BGD-II | agrees | 0.10" in text
    )
    assert line.startswith("| ΔTA | BGD-II | agrees | 0.10 | 0.1 | 0.12 | 0.050 | 0.20 | 0.017 | 1.17 |")
    lines = list(csv.DictReader(io.StringIO(files["report/cells.csv"].decode())))
    assert [line["metric"] for line in lines[:2]] == ["POC", "POPA"]
    assert float(lines[1]["ours"]) == pytest.approx(
        METRICS["POPA"].values(build_frames(RUNS).samples).sum() / 9
    )


def test_tables_stand_in_the_order_of_the_thesis():
    cells = Comparison(TABLES, RANKS, REFERENCE).cells([])
    numbers = list(dict.fromkeys(cell.table for cell in cells))
    assert numbers == [f"4.{number}" for number in range(1, 13)]
