import pytest

from experiments.report.frames import ReportError, build_frames
from experiments.report.metrics import MISSING
from experiments.report.part import Thesis
from experiments.report.tables import TableSpec, common_samples, evaluate, read_reference
from tests.records_factory import CORRECTED, UNCORRECTED, figures, row, rows, run

METRICS = ("POC", "POPA", "dTL", "dTL_released", "dTA")


@pytest.fixture
def reference(tmp_path):
    path = tmp_path / "tables.csv"
    path.write_text(
        "table,network,setting,metric,method,mean,sd\n"
        "4.1,mlp,reloading,POC,bgd_ii,99.5,0.5\n"
        "4.1,mlp,reloading,POPA,retrain,100,\n"
        "4.10,mlp,reloading,POC,bgd_ii,1,1\n"
    )
    return read_reference(path)


def spec(methods=("bgd_ii", "retrain"), metrics=METRICS, **changes):
    return TableSpec("table_4_1", "A title.", "mlp", "reloading", methods, metrics, **changes)


def test_values_of_ours_and_of_the_thesis(reference):
    runs = [
        run((row(0, altered=5), row(1, UNCORRECTED)), seed=0),
        run((row(0, altered=10), row(1, altered=15)), seed=1),
        run(rows(CORRECTED), method="top_k"),
        run(rows(CORRECTED), network="alexnet"),
        run(rows(UNCORRECTED), setting="non_reloading"),
    ]
    table = evaluate(spec(("bgd_ii",)), build_frames(runs), reference)
    poc, popa = table.cells["POC", "bgd_ii"], table.cells["POPA", "bgd_ii"]
    assert (poc.ours.mean, poc.ours.n, poc.thesis_mean, poc.thesis_sd) == (75.0, 2, 99.5, 0.5)
    assert (popa.ours.mean, popa.ours.sd, popa.ours.n) == (1.0, 0.5, 3)
    assert popa.thesis_mean is None
    assert set(table.cells) == {(metric, "bgd_ii") for metric in METRICS}


def test_a_method_without_runs_is_missing_and_not_guessed(reference):
    table = evaluate(spec(), build_frames([run(rows(CORRECTED))]), reference)
    cells = [table.cells[metric, "retrain"].ours for metric in METRICS]
    assert {(cell.mean, cell.sd, cell.n, cell.note) for cell in cells} == {(None, None, 0, MISSING)}
    assert "† missing: no run of Re-training in this setting" in table.caption
    assert table.cells["POPA", "retrain"].thesis_mean == 100


def test_common_samples_are_the_intersection_seed_by_seed():
    outcomes = {
        ("a", 0): (CORRECTED, CORRECTED, CORRECTED, UNCORRECTED),
        ("b", 0): (CORRECTED, UNCORRECTED, CORRECTED, CORRECTED),
        ("a", 1): (UNCORRECTED, CORRECTED, CORRECTED, CORRECTED),
        ("b", 1): (CORRECTED, CORRECTED, UNCORRECTED, UNCORRECTED),
        ("a", 2): (CORRECTED,) * 4,  # b has no seed 2
    }
    runs = [run(rows(*value), method=method, seed=seed) for (method, seed), value in outcomes.items()]
    expected = {
        (seed, 10 * position)
        for seed in (0, 1)
        for position in range(4)
        if outcomes["a", seed][position] == outcomes["b", seed][position] == CORRECTED
    }
    shared = common_samples(build_frames(runs).samples, ("a", "b"))
    assert {(seed, index) for seed, index in zip(shared["seed"], shared["index"], strict=True)} == expected
    assert len(shared) == 2 * len(expected)


def test_common_samples_narrow_every_row_but_poc(reference):
    methods = ("bgd_ii", "bgd_i", "top_k")
    runs = [
        run((row(0, altered=1), row(1, altered=3)), method="bgd_ii"),
        run((row(0, altered=5), row(1, UNCORRECTED)), method="bgd_i"),
        run((row(0, altered=7), row(1, altered=9)), method="top_k"),
    ]
    table = evaluate(spec(methods, common_samples=True), build_frames(runs), reference)
    assert [table.cells["POC", method].ours.mean for method in methods] == [100, 50, 100]
    assert [table.cells["POPA", method].ours.mean for method in methods] == pytest.approx([0.1, 0.5, 0.7])
    assert "only the 1 pairs of seed and sample that BGD-II, BGD-I and Top-k all corrected" in table.caption
    apart = evaluate(spec(methods), build_frames(runs), reference)
    assert apart.cells["POPA", "bgd_ii"].ours.mean == pytest.approx(0.2)


def test_no_common_sample_is_said(reference):
    runs = [run(rows(CORRECTED, UNCORRECTED)), run(rows(UNCORRECTED, CORRECTED), method="retrain")]
    table = evaluate(spec(common_samples=True), build_frames(runs), reference)
    assert table.cells["POPA", "bgd_ii"].ours.note == "no common sample"
    assert table.cells["POC", "bgd_ii"].ours.mean == 50


def test_losses_left_out_are_counted_in_the_caption(reference):
    made = (row(0, figures=figures(train_loss=None)), row(1))
    table = evaluate(spec(("bgd_ii",)), build_frames([run(made)]), reference)
    assert table.cells["dTL", "bgd_ii"].ours.n == 1
    assert "Rows left out because a loss is not finite: ΔTL of BGD-II: 1." in table.caption
    clean = evaluate(spec(("bgd_ii",)), build_frames([run(rows(CORRECTED))]), reference)
    assert "not finite" not in clean.caption


def test_caption_tells_network_base_and_scale(reference):
    runs = [run(rows(CORRECTED, CORRECTED), seed=seed) for seed in (0, 1)]
    caption = evaluate(
        spec(("bgd_ii",), thesis=Thesis(errors=(("mlp", 947),))), build_frames(runs), reference
    ).caption
    for part in (
        "A title. MLP, reloading setting.",
        "N0 gets 2 test images wrong (thesis: 947).",
        "Full scale: all 2 misclassified samples, 54,000 training and 10,000 test images, seeds 0 and 1.",
    ):
        assert part in caption
    assert "missing" not in caption


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"errors": 5}, "2 of 5 misclassified samples, 54,000 training and 10,000 test images, seed 0"),
        ({"train_images": 600}, "all 2 misclassified samples, 600 training and 10,000 test images, seed 0"),
        ({"test_images": 400}, "all 2 misclassified samples, 54,000 training and 400 test images, seed 0"),
    ],
)
def test_reduced_scale_is_said(reference, changes, text):
    frames = build_frames([run(rows(CORRECTED, CORRECTED), **changes)])
    caption = evaluate(spec(("bgd_ii",)), frames, reference).caption
    assert f"Reduced scale: {text}." in caption


def test_scale_is_told_method_by_method_where_methods_differ(reference):
    runs = [
        run(rows(CORRECTED, CORRECTED)),
        run(rows(CORRECTED, CORRECTED), seed=1),
        run(rows(CORRECTED), method="retrain", errors=2, train_images=600),
    ]
    caption = evaluate(spec(), build_frames(runs), reference).caption
    assert (
        "BGD-II: all 2 misclassified samples, 54,000 training and 10,000 test images, seeds 0 and 1"
        in caption
    )
    assert "Re-training: 1 of 2 misclassified samples, 600 training" in caption


@pytest.mark.parametrize(("errors", "bold"), [(314, True), (315, False), (425, False), (426, True)])
def test_a_base_outside_its_band_is_loud(reference, errors, bold):
    frames = build_frames([run(rows(CORRECTED), errors=errors, expected=[315, 425])])
    table = evaluate(spec(("bgd_ii",)), frames, reference)
    expected = [f"WARNING: N0 has {errors} errors, outside the expected 315 to 425."] if bold else []
    assert table.warnings == expected


def test_different_bases_in_one_table_are_loud(reference):
    runs = [run(rows(CORRECTED), base_id="a"), run(rows(CORRECTED), method="retrain", base_id="b")]
    table = evaluate(spec(), build_frames(runs), reference)
    assert table.warnings == ["WARNING: the runs start from 2 different N0."]


def test_an_unknown_metric_is_refused():
    with pytest.raises(ReportError, match="no metric"):
        spec(metrics=("POC", "speed"))


def test_a_reference_without_a_column_is_refused(tmp_path):
    path = tmp_path / "tables.csv"
    path.write_text("table,network,setting,metric,method,mean\n")
    with pytest.raises(ReportError, match="sd"):
        read_reference(path)
