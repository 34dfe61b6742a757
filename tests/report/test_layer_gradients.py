from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from experiments.report.frames import ReportError
from experiments.report.layer_gradients import LayerGradientsPart, _paint
from experiments.report.layer_shares import is_largest, layers_of
from experiments.report.part import Part, Thesis
from experiments.report.surveys import resamples, share_interval
from tests.report.probe_records import probe_run, rows_of

PART = LayerGradientsPart(Thesis(errors=(("mlp", 947),)))


def sample(magnitude, largest, normalised=(0.5, 0.5), names=("lin1.weight", "lin2.weight")):
    return {
        "layer": list(names),
        "size": [100, 10],
        "nonzero": [100, 10],
        "magnitude": list(magnitude),
        "largest": list(largest),
        "normalised": list(normalised),
        "normalised_largest": [0.1, 0.1],
    }


SAMPLES = [
    sample([3.0, 1.0], [0.5, 0.2]),
    sample([6.0, 2.0], [0.1, 0.2]),
    sample([1.0, 3.0], [0.1, 0.2]),
    sample([90.0, 6.0], [0.9, 0.8], [1.0, 0.0]),
]


@pytest.fixture
def run():
    return probe_run("layer_gradients", SAMPLES)


def test_shares_and_the_largest_layer(run):
    part = layers_of(run)
    assert part.before[:, 0].tolist() == [0.75, 0.75, 0.25, 0.9375]
    assert part.after[:, 1].tolist() == [0.5, 0.5, 0.5, 0]
    assert part.per_weight[0].tolist() == [0.03, 0.1]
    assert is_largest(part.magnitude)[:, 0].tolist() == [True, True, False, True]
    assert is_largest(part.per_weight)[:, 0].tolist() == [False, False, False, True]
    assert is_largest(part.largest)[:, 0].tolist() == [True, False, False, True]


def test_a_sample_without_a_gradient_has_no_largest_layer_and_no_prior():
    nothing = sample([0.0, 0.0], [0.0, 0.0], [0.0, 0.0])
    part = layers_of(probe_run("layer_gradients", [nothing, *SAMPLES]))
    assert not is_largest(part.magnitude)[0].any()
    assert np.isnan(part.before[0]).all()
    assert part.without_gradient == 1
    files = PART.files([probe_run("layer_gradients", [nothing, *SAMPLES])])
    text = files["tables/layer_gradients.md"].decode()
    assert "1 samples have no gradient at all and no prior." in text
    line = rows_of(files["tables/layer_gradients.csv"])[1]
    assert float(line["prior_before_percent"]) == pytest.approx((75 + 75 + 25 + 93.75) / 4)
    only = PART.files([probe_run("layer_gradients", [nothing])])
    assert "| none | none | 0 | 0 | 0 |" in only["tables/layer_gradients.md"].decode()


def test_table_and_verdict(run):
    files = PART.files([run])
    assert sorted(files) == sorted(PART.names)
    missing, first, second = rows_of(files["tables/layer_gradients.csv"])
    assert (missing["network"], missing["layer"], missing["samples"]) == ("alexnet", "missing", "0")
    assert (first["layer"], first["weights"], first["summed_mean"]) == ("lin1.weight", "100", "25.0")
    assert float(first["summed_sd"]) == pytest.approx(np.std([3, 6, 1, 90], ddof=1))
    quartiles = [float(first[f"summed_{name}"]) for name in ("low_quartile", "median", "high_quartile")]
    assert quartiles == [2.5, 4.5, 27.0]
    assert [float(line["per_weight_mean"]) for line in (first, second)] == [0.25, 0.3]
    assert float(first["prior_after_percent"]) == 62.5
    shares = [first[f"largest_{name}_percent"] for name in ("sum", "per_weight", "single")]
    assert shares == ["75.0", "25.0", "50.0"]
    low, high = share_interval(np.array([True, True, False, True]), resamples(4, "layer_gradients", "mlp"))
    assert [float(first["largest_sum_low"]), float(first["largest_sum_high"])] == [100 * low, 100 * high]
    text = files["tables/layer_gradients.md"].decode()
    assert f"lin1 has the largest summed |g| in 75 [{100 * low:g}, {100 * high:g}] % of the 4 samples" in text
    assert "| MLP | lin2 | 10 | 3 ± 2.16 | 0.30 | 32.81 | 37.50 | 25 | 75 | 50 |" in text
    assert "(thesis: 947)" in text
    assert "AlexNet: missing, no run of it is among the records." in text


def test_a_network_without_the_claimed_layer_is_told(run):
    text = replace(PART, claimed="conv1.weight").files([run])["tables/layer_gradients.md"].decode()
    assert "MLP has no layer conv1." in text


def test_bootstrap_of_a_share_is_that_of_a_loop():
    hits, draws = np.array([True, False, True, True, False]), resamples(5, "test")
    again = [np.repeat(hits, draw.astype(int)).mean() for draw in draws]
    assert share_interval(hits, draws) == pytest.approx(tuple(np.percentile(again, (2.5, 97.5))))
    assert share_interval(~hits & hits, draws) == (0, 0)


def paint(*runs):
    figure = Figure(layout="constrained")
    layers = {run.header.spec["network"]["name"]: layers_of(run) for run in runs}
    return figure.axes, _paint(figure, ("alexnet", "mlp"), layers), figure


def test_figure_draws_means_and_tells_a_gap(run):
    _, notes, figure = paint(run)
    gap, sums, gap_below, shares = figure.axes
    assert all("missing" in axes.texts[0].get_text() for axes in (gap, gap_below))
    assert [line.get_ydata().tolist() for line in sums.lines] == [[4.5, 2.5], [25.0, 3.0]]
    assert [label.get_text() for label in sums.get_xticklabels()] == ["lin1", "lin2"]
    means = [line.get_ydata().tolist() for line in shares.lines[1::2]]
    assert means == [pytest.approx([67.1875, 32.8125]), pytest.approx([62.5, 37.5])]
    assert sums.get_yscale() == "linear"
    assert not any("logarithmic" in line for line in notes)


def test_layers_that_differ_widely_have_a_logarithmic_axis():
    wide = probe_run("layer_gradients", [sample([1000.0, 1.0], [1, 1])] * 2, "alexnet")
    _, notes, figure = paint(wide)
    assert figure.axes[0].get_yscale() == "log"
    assert any("logarithmic" in line for line in notes)


def test_samples_of_different_layers_are_refused():
    mixed = [SAMPLES[0], sample([1, 1], [1, 1], names=("lin1.weight", "lin3.weight"))]
    with pytest.raises(ReportError, match="different layers"):
        PART.files([probe_run("layer_gradients", mixed)])


@pytest.mark.slow
def test_the_same_bytes_in_any_order_and_no_twins(run):
    runs = [run, probe_run("layer_gradients", SAMPLES[:2], "alexnet"), probe_run("gradient_ranks", [{}])]
    first = PART.files(runs)
    assert first == PART.files([*runs[:0:-1], replace(run, measurements=run.measurements[::-1])])
    assert first != PART.files([run])
    with pytest.raises(ReportError, match="two runs of layer_gradients on mlp"):
        PART.files([run, run])


def test_it_is_a_part():
    checked: Part = PART
    assert checked.presets == ("figure_4_13",)
