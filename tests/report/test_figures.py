import io
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from PIL import Image

from experiments.report.canvas import with_palette
from experiments.report.curves import curve
from experiments.report.figures import (
    KINDS,
    FigureSpec,
    after_correction,
    draw_sample_losses,
    render,
    scale_notes,
)
from experiments.report.frames import ReportError, at_one_scale, build_frames
from experiments.report.metrics import MISSING, NONE_CORRECTED, NOT_FINITE
from experiments.report.style import RC, method_style
from tests.records_factory import ALREADY_RIGHT, CORRECTED, UNCORRECTED, figures, row, rows, run


def test_a_palette_makes_a_picture_smaller_and_no_other():
    drawing, buffer = Figure(figsize=(7, 2)), io.BytesIO()
    axes = drawing.subplots()
    axes.fill_between([1, 3, 2], [1, 2, 3], color="#E69F00", alpha=0.2)
    axes.plot([1, 3, 2], color="#0072B2")
    axes.set_title("text")
    drawing.savefig(buffer, format="png", dpi=200)
    plain = buffer.getvalue()
    small = with_palette(plain)
    assert len(small) < 0.6 * len(plain)
    before, after = (
        np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), float) for data in (plain, small)
    )
    assert np.abs(before - after).max() <= 48
    assert np.abs(before - after).mean() < 0.3
    assert (after[1, 1] == 255).all(), "the paper stays white"


def losses(*values, outcomes=None, **changes):
    outcomes = outcomes or [CORRECTED] * len(values)
    made = zip(values, outcomes, strict=True)
    samples = [row(i, outcome, figures=figures(train_loss=value)) for i, (value, outcome) in enumerate(made)]
    return run(tuple(samples), setting="non_reloading", **changes)


def test_curve_starts_at_the_base_and_spans_the_seeds():
    frames = build_frames([losses(1.0, 3.0), losses(2.0, 5.0, seed=1)])
    item = curve(frames.samples, "train_loss")
    assert item.mean.tolist() == [0.25, 1.5, 4.0]
    assert (item.low.tolist(), item.high.tolist()) == ([0.25, 1.0, 3.0], [0.25, 2.0, 5.0])
    assert (item.seeds, item.not_finite) == (2, 0)


def test_curve_marks_samples_that_half_of_the_seeds_did_not_correct():
    outcomes = [
        (CORRECTED, UNCORRECTED, UNCORRECTED, ALREADY_RIGHT),
        (CORRECTED, CORRECTED, UNCORRECTED, CORRECTED),
        (CORRECTED, CORRECTED, UNCORRECTED, CORRECTED),
    ]
    for seeds, expected in (
        (3, [False, False, False, True, False]),
        (2, [False, False, True, True, False]),
        (1, [False, False, True, True, False]),
    ):
        runs = [losses(1, 1, 1, 1, outcomes=outcomes[seed], seed=seed) for seed in range(seeds)]
        assert curve(build_frames(runs).samples, "train_loss").uncorrected.tolist() == expected


def test_curve_skips_losses_that_are_not_finite_and_counts_them():
    frames = build_frames([losses(1.0, None, None), losses(2.0, 5.0, None, seed=1)])
    item = curve(frames.samples, "train_loss")
    assert item.mean[:3].tolist() == [0.25, 1.5, 5.0]
    assert math.isnan(item.mean[3])
    assert item.not_finite == 3


def test_curve_of_seeds_of_different_length():
    frames = build_frames([losses(1.0, 3.0), losses(2.0, seed=1)])
    item = curve(frames.samples, "train_loss")
    assert item.mean.tolist() == [0.25, 1.5, 3.0]
    assert item.not_finite == 0


def test_boxes_hold_corrected_samples_or_say_why_not():
    runs = [
        run((row(0, sample_loss_after=0.1), row(1, UNCORRECTED, sample_loss_after=9.0))),
        run(rows(UNCORRECTED), method="bgd_i"),
        run((row(0, sample_loss_after=None),), method="top_k"),
    ]
    methods = ("bgd_ii", "bgd_i", "top_k", "retrain")
    found = after_correction(build_frames(runs), methods, "sample_loss_after")
    assert found["bgd_ii"].tolist() == [0.1]
    assert [found[name] for name in methods[1:]] == [NONE_CORRECTED, NOT_FINITE, MISSING]


def test_a_sample_loss_of_zero_is_drawn_at_the_floor_and_told():
    axes = Figure().subplots()
    frames = build_frames([run((row(0, sample_loss_after=0.0), row(1, sample_loss_after=0.1)))])
    assert draw_sample_losses(axes, frames, ("bgd_ii",)) == ["BGD-II"]
    drawn = np.concatenate([line.get_ydata() for line in axes.lines if len(line.get_ydata())])
    assert drawn.min() == pytest.approx(1e-8)


@pytest.fixture
def frames():
    runs = [
        run(rows(CORRECTED, UNCORRECTED), method=method, setting=setting, seed=seed)
        for method in ("bgd_ii", "a_new_one")
        for setting in ("reloading", "non_reloading")
        for seed in (0, 1)
    ]
    return build_frames(runs)


def spec(kind, network="mlp"):
    setting = "non_reloading" if kind == "curves" else "reloading"
    methods = ("bgd_ii", "a_new_one", "top_k")
    return FigureSpec("figure", kind, (network,), setting, methods, "train_loss" if kind == "curves" else "")


@pytest.mark.parametrize("network", ["mlp", "alexnet"])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_renders_the_same_bytes_twice(kind, network, frames):
    first, second = render(spec(kind, network), frames), render(spec(kind, network), frames)
    assert first == second
    assert b"<dc:date>" not in first["svg"]
    assert Image.open(io.BytesIO(first["png"])).mode == "P"
    height, width = imread(io.BytesIO(first["png"])).shape[:2]
    assert width == 7 * RC["savefig.dpi"]
    assert height > width / 4


def texts(kind, network, frames):
    """The words in a figure, read from an svg that keeps them."""
    figure = Figure(layout="constrained")
    notes = KINDS[kind](figure, frames, spec(kind, network))
    found = [text.get_text() for axes in figure.axes for text in axes.texts]
    return " ".join([*found, *notes]).replace("\n", " ")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_network_without_runs_is_told_in_words(kind, frames):
    assert re.search("no runs of AlexNet in the .*reloading setting", texts(kind, "alexnet", frames))
    assert "no runs of" not in texts(kind, "mlp", frames)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_method_without_runs_is_told_in_words(kind, frames):
    assert "missing" in texts(kind, "mlp", frames).lower()


def test_a_part_of_d_is_told_at_the_full_scale_too():
    """Accuracy over a part of D is no reduced scale, and still not what the axis says."""
    whole = run(rows(CORRECTED))
    figure = spec("accuracies", "mlp")
    assert scale_notes(figure, build_frames([whole])) == []
    part = replace(whole, header=replace(whole.header, train_part=3000))
    (said,) = scale_notes(figure, build_frames([part]))
    assert said.startswith("MLP: full scale: ")
    assert "54,000 training (by a stratified 3,000 of them)" in said


def test_losses_below_the_floor_are_told_once_for_all_panels():
    networks, methods = ("mlp", "alexnet"), ("bgd_ii", "top_k")
    loss = {"mlp": 0.0, "alexnet": 1e-9}
    runs = [run((row(0, sample_loss_after=loss[name]),), network=name) for name in networks]
    both = FigureSpec("figure_0", "sample_losses", networks, "reloading", methods)
    told = [line for line in KINDS["sample_losses"](Figure(), build_frames(runs), both) if "below" in line]
    assert told == ["Losses below 1e-08 are drawn there: (a) BGD-II; (b) BGD-II."]


def test_a_method_has_its_colour_in_curves_and_boxes(frames):
    colour = method_style("a_new_one").colour
    for kind in KINDS:
        figure = Figure(layout="constrained")
        KINDS[kind](figure, frames, spec(kind))
        assert colour in {line.get_color() for axes in figure.axes for line in axes.lines}, kind


def test_callers_settings_of_matplotlib_are_neither_used_nor_changed(frames):
    import matplotlib

    plain = render(spec("curves"), frames)
    with matplotlib.rc_context({"axes.titleweight": "bold", "font.size": 20}):
        assert render(spec("curves"), frames) == plain
        assert matplotlib.rcParams["font.size"] == 20


def test_an_unknown_kind_is_refused():
    with pytest.raises(ReportError, match="no kind"):
        spec("pie")


def test_a_network_is_drawn_at_its_largest_scale_that_has_every_method():
    spec = FigureSpec(
        "figure_0", "accuracies", ("mlp", "alexnet"), "reloading", ("bgd_ii", "top_k"), larger=("more",)
    )
    assert spec.presets == ("figure_0", "more")
    samples = rows(CORRECTED, UNCORRECTED)
    small = [
        run(samples, network="alexnet", method=method, seed=seed, train_images=100)
        for method in spec.methods
        for seed in (0, 1)
    ]
    large = [run(samples, network="alexnet", method=method, epochs=40) for method in spec.methods]
    other = [run(samples, method=method) for method in spec.methods]
    for given, wanted in (
        ([*small, *large, *other], [*large, *other]),
        ([*small, *large[:1], *other], [*small, *other]),
        ([*large[:1], *other[:1]], [*large[:1], *other[:1]]),
        ([], []),
    ):
        chosen = at_one_scale(given, spec.methods)
        assert sorted(one.header.run_id for one in chosen) == sorted(one.header.run_id for one in wanted)
    drawn = {
        name: spec.files(given)
        for name, given in (("both", [*small, *large, *other]), ("large", [*large, *other]))
    }
    assert drawn["both"] == drawn["large"] != spec.files([*small, *other])
