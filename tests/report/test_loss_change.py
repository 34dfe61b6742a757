from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from experiments.report.canvas import draw
from experiments.report.frames import ReportError
from experiments.report.loss_change import FORMS, LossChangePart, _draw, distribution
from experiments.report.part import Part, Thesis
from tests.report.probe_records import probe_run, rows_of

PART = LossChangePart(Thesis(errors=(("alexnet", 370), ("mlp", 947))))


def sample(bins, zero, percentiles, rising):
    """A measurement's columns, the second form ten times (4 bins) above the first."""
    values = {}
    for shift, form in enumerate(("gradient_product", "second_order_step")):
        values |= {
            f"{form}.exponent": [k + 4 * shift for k in bins],
            f"{form}.count": list(bins.values()),
            f"{form}.zero": [zero],
            f"{form}.percentiles": [10**shift * value for value in percentiles],
            f"{form}.rising": [rising],
        }
    return values


# 10 weights each.
SAMPLES = [
    sample({-8: 2, -7: 4}, 4, [0.1, 0.2], 3),
    sample({-7: 5}, 5, [0.2, 0.4], 5),
    sample({-5: 1, -7: 1}, 8, [0.3, 0.9], 1),
]


@pytest.fixture
def run():
    return probe_run("loss_change", SAMPLES)


def test_shares_of_the_weights_sample_by_sample(run):
    part = distribution(run, "gradient_product")
    assert part.exponents.tolist() == [-8, -7, -6, -5]  # -6 has none and its place all the same
    assert part.shares.tolist() == [[0.2, 0.4, 0, 0], [0, 0.5, 0, 0], [0, 0.1, 0, 0.1]]
    assert part.zero.tolist() == [0.4, 0.5, 0.8]
    assert part.rising.tolist() == [0.3, 0.5, 0.1]
    assert distribution(run, "second_order_step").exponents.tolist() == [-4, -3, -2, -1]
    assert distribution(run, "second_order_step").percentiles[1].tolist() == [2.0, 4.0]


def test_table_says_median_quartiles_and_what_is_missing(run):
    files = PART.files([run])
    assert sorted(files) == sorted(PART.names)
    lines = {
        (line["network"], line["form"], line["quantity"]): line
        for line in rows_of(files["tables/loss_change.csv"])
    }
    assert len(lines) == 2 * 2 * 4
    line = lines["mlp", "gradient_product", "percentile_98"]
    numbers = [float(line[name]) for name in ("low_quartile", "median", "high_quartile", "mean")]
    assert numbers == pytest.approx([0.3, 0.4, 0.65, 0.5])
    assert float(lines["mlp", "second_order_step", "percentile_98"]["median"]) == 4
    assert lines["mlp", "gradient_product", "zero_share"]["median"] == "0.5"
    assert lines["mlp", "gradient_product", "rising_share"]["n"] == "3"
    assert lines["alexnet", "gradient_product", "percentile_95"]["median"] == "missing"
    text = files["tables/loss_change.md"].decode()
    assert "| 3 | 0.20 [0.15, 0.25] | 0.40 [0.30, 0.65] | 50 [45, 65] | 30 [20, 40] |" in text
    assert "| missing | missing | missing | missing | missing |" in text
    assert "AlexNet: missing, no run of it is among the records." in text
    assert "all 3 misclassified samples" in text
    assert "(thesis: 947)" in text
    assert r"$\bar{G}$" in files["tables/loss_change.tex"].decode()
    assert "Ḡ" not in files["tables/loss_change.tex"].decode()


def paint(runs):
    figure = Figure(layout="constrained")
    found = {run.header.spec["network"]["name"]: run for run in runs}
    parts = {(name, form): distribution(item, form) for name, item in found.items() for form in FORMS}
    return figure, PART.paint(figure, found, parts)


def test_figure_has_a_panel_per_network_and_form_and_tells_a_gap(run):
    figure, notes = paint([run])
    assert len(figure.axes) == 4
    words = [axes.texts[0].get_text() for axes in figure.axes]
    assert ["missing" in text for text in words] == [True, False, True, False]
    assert "AlexNet: missing, no run of it is among the records." in notes
    printed, released = figure.axes[1], figure.axes[3]
    assert [line.get_xdata()[0] for line in released.lines] == [0.2, 0.4]
    assert [line.get_xdata()[0] for line in printed.lines] == [2.0, 4.0]
    pooled = released.patches[1].get_data()
    assert pooled.values.tolist() == pytest.approx([20 / 3, 100 / 3, 0, 10 / 3])
    assert pooled.edges.tolist() == pytest.approx([10 ** (k / 4) for k in (-8, -7, -6, -5, -4)])
    assert words[3].startswith("exactly 0: 56.67 %")


def test_percentiles_at_zero_are_told_and_not_drawn():
    zero = sample({-8: 1}, 99, [0.0, 0.0], 1)
    figure, _ = paint([probe_run("loss_change", [zero])])
    legend = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert legend == ["95th: 0, off the axis", "98th: 0, off the axis"]
    assert np.isnan([line.get_xdata()[0] for line in figure.axes[1].lines]).all()


def test_a_network_whose_estimates_are_all_zero_has_a_panel():
    nothing = sample({}, 10, [0.0, 0.0], 0)
    axes = Figure(layout="constrained").subplots()
    _draw(axes, distribution(probe_run("loss_change", [nothing]), "gradient_product"))
    assert axes.texts[0].get_text().startswith("exactly 0: 100 %")
    assert not axes.patches


def test_axis_leaves_out_thin_tails_only():
    heavy = sample({-120: 1, -8: 5000, -7: 4990, 90: 9}, 0, [1e-2, 2e-2], 1)
    axes = Figure(layout="constrained").subplots()
    _draw(axes, distribution(probe_run("loss_change", [heavy]), "gradient_product"))
    low, high = axes.get_xlim()
    assert 1e-3 < low < 1e-2
    assert high > 10**22  # 0.09 % of the weights are no thin tail


def test_other_percentiles_are_refused(run):
    spec = {**run.header.spec, "probe": {"name": "loss_change", "percentiles": [90.0, 98.0]}}
    with pytest.raises(ReportError, match="percentiles"):
        PART.files([replace(run, header=replace(run.header, spec=spec))])
    spec = {**spec, "probe": {"name": "loss_change", "percentiles": [95.0, 98.0]}}
    assert PART.files([replace(run, header=replace(run.header, spec=spec))]) == PART.files([run])


@pytest.mark.slow
def test_the_same_bytes_in_any_order_and_no_twins(run):
    runs = [run, probe_run("loss_change", SAMPLES[:2], "alexnet"), probe_run("gradient_ranks", [{}])]
    first = PART.files(runs)
    assert first == PART.files([*runs[:0:-1], replace(run, measurements=run.measurements[::-1])])
    assert first != PART.files([run])
    with pytest.raises(ReportError, match="two runs of loss_change on mlp"):
        PART.files([run, run])


def test_it_is_a_part():
    checked: Part = PART
    assert checked.presets == ("figure_4_3",)


def test_canvas_writes_each_line_once_and_ignores_the_callers_settings():
    import matplotlib

    def plain(figure):
        figure.subplots()
        return ["one", "one", "two"]

    def once(figure):
        figure.subplots()
        return ["one", "two"]

    assert draw(plain) == draw(once)
    assert draw(plain) != draw(lambda figure: once(figure)[:1])
    with matplotlib.rc_context({"font.size": 20}):
        assert draw(once) == draw(plain)
    assert b"<dc:date>" not in draw(once)["svg"]
