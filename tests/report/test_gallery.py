import io
import math
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from bgd.rng import stream
from experiments.records.schema import CORRECTED, UNCORRECTED, Measurement
from experiments.report.frames import ReportError
from experiments.report.gallery.card import card
from experiments.report.gallery.confusion import harm, matrix
from experiments.report.gallery.look import draw_png, share_of_scale, short
from experiments.report.gallery.network_map import HEIGHT, WIDTH, dot_area, lay_out, layer_names, layer_norms
from experiments.report.gallery.part import Gallery, gallery_csv, gallery_markdown, rule_text, story
from experiments.report.gallery.scene import METHODS, RULES, choose, probabilities, scenes
from experiments.report.part import Part
from experiments.report.style import METHODS as STYLES
from tests.records_factory import figures, row, run, side_effects
from tests.report.probe_records import probe_run, rows_of

PART = Gallery(networks=(("alexnet", 1), ("mlp", 1)))
MLP = {
    "lin1.weight": [12, 784],
    "lin1.bias": [12],
    "lin2.weight": [8, 12],
    "lin2.bias": [8],
    "lin3.weight": [10, 8],
    "lin3.bias": [10],
}
CONVOLUTIONS = {
    "conv1.weight": [4, 1, 5, 5],
    "conv1.bias": [4],
    "conv2.weight": [6, 4, 3, 3],
    "lin1.weight": [7, 24],
    "lin1.bias": [7],
}
LOSSES = (2.0, 0.5, 9.0, 3.0, 3.0, None)
ACCURACIES = (0.8, 0.79, 0.78, 0.2, 0.81, 0.8)
N0 = [0.0, 0.0, 0.0, 1.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0]


def samples(**changes):
    """Six samples whose easiest is 1, hardest 5, then 2, most harmful 3."""
    return tuple(
        row(place, sample_loss_before=loss, figures=figures(test_accuracy=accuracy), **changes)
        for place, (loss, accuracy) in enumerate(zip(LOSSES, ACCURACIES, strict=True))
    )


def portraits(network="mlp", count=6):
    faces = [{"pixels": [place] * 700 + [255] * 84, "logits": N0} for place in range(count)]
    return probe_run("portraits", faces, network, base={"id": "base", "errors": count, "parameters": 1000})


@pytest.fixture
def runs():
    failed = tuple(replace(item, outcome=UNCORRECTED, prediction_after=5, patch=None) for item in samples())
    dense = samples(
        altered=1000, l0=900, patch=None, layers={"lin1.weight": [900, 3.0, 1.0], "lin1.bias": [9, 4.0, 1.0]}
    )
    return [
        run(samples(), method="bgd_ii"),
        run(failed, method="random"),
        run(dense, method="retrain"),
        run(samples(), method="bgd_ii", seed=1),
        run(samples(), method="bgd_ii", setting="non_reloading"),
        portraits(),
    ]


def network_scenes(runs):
    return {network: scenes(runs, network, each) for network, each in PART.networks}


def places(choices):
    return [row.position for _, row in choices]


def test_each_rule_takes_its_first_samples_and_none_twice():
    rows = samples()
    assert places(choose(rows, 1))[:3] == [1, 5, 3]  # a loss that is not finite is the largest
    assert [rule for rule, _ in choose(rows, 1)] == list(RULES)
    left = [place for place in stream(0, "gallery").permutation(6) if place not in (1, 5, 3)]
    assert places(choose(rows, 1))[3] == left[0]
    many = places(choose(rows, 3))
    assert many == [1, 0, 3, 5, 2, 4]  # 3 and 4 are equally easy: the earlier one; then nothing is left
    assert places(choose(rows[::-1], 1)) == places(choose(rows, 1))
    assert choose((), 3) == []
    for rule in RULES:
        assert rule.words in rule_text()


def test_probabilities_are_the_softmax():
    logits = [0.5, -1.0, 1000.0, 999.0]
    total = sum(math.exp(value - 1000) for value in logits)
    assert probabilities(logits) == pytest.approx([math.exp(value - 1000) / total for value in logits])
    assert probabilities([0.0, None]) is None
    assert probabilities([]) is None


def test_a_scene_takes_the_reloading_runs_of_seed_0(runs):
    found = scenes(runs, "mlp", 1)
    assert [scene.number for scene in found] == [1, 2, 3, 4]
    assert list(found[0].rows) == ["bgd_ii", "retrain", "random"]
    assert found[0].title == "3 taken for 5"
    assert found[0].portrait.pixels.shape == (28, 28)
    assert found[0].portrait.pixels[0, 0] == 1  # of the second sample
    assert found[2].accuracy_change(found[2].rows["bgd_ii"]) == -0.6
    assert scenes(runs, "alexnet", 1) == []
    assert scenes(runs[1:], "mlp", 1) == []  # nothing to choose from
    assert [scene.portrait for scene in scenes(runs[:3], "mlp", 1)] == [None] * 4


def test_what_a_card_could_confuse_is_refused(runs):
    with pytest.raises(ReportError, match="two runs of bgd_ii on mlp"):
        scenes([*runs, run(samples(), order=1)], "mlp", 1)
    with pytest.raises(ReportError, match="different N0"):
        scenes([*runs, run(samples(), method="l1", base_id="other")], "mlp", 1)
    faces = probe_run("portraits", [{"pixels": [0] * 784, "logits": N0}])  # of the N0 "mlp"
    with pytest.raises(ReportError, match="portraits of mlp are of another N0"):
        scenes([runs[0], faces], "mlp", 1)
    odd = replace(faces, header=runs[-1].header)
    odd = replace(odd, measurements=(Measurement(0, 0, 3, 0.0, {"pixels": [0] * 10, "logits": N0}),))
    with pytest.raises(ReportError, match="10 pixels"):
        scenes([runs[0], odd], "mlp", 1)


@pytest.mark.parametrize("tensors", [MLP, CONVOLUTIONS])
def test_blocks_hold_every_parameter_once_and_keep_to_their_panel(tensors):
    blocks = lay_out(tensors, 784)
    total = sum(math.prod(shape) for shape in tensors.values())
    held = sorted(index for block in blocks for index in range(block.first, block.first + block.size))
    assert held == list(range(total))
    for block in blocks:
        x, y = block.places(np.arange(block.size, dtype=np.float64))
        assert block.left <= x.min()
        assert x.max() <= block.left + block.width <= WIDTH + 1e-9
        assert block.top <= y.min()
        assert y.max() <= block.top + block.height <= HEIGHT + 1e-9
        assert len({*zip(x.round(9), y.round(9), strict=True)}) == block.size
    for one in blocks:
        for other in blocks:
            apart = one.left + one.width <= other.left or one.top + one.height <= other.top
            assert (
                one == other
                or apart
                or other.left + other.width <= one.left
                or other.top + other.height <= one.top
            )


def test_a_weight_lies_at_its_pixel_in_its_units_receptive_field():
    first = lay_out(MLP, 784)[0]
    assert first.grid == (4, 3)
    side = first.width / 4
    for unit, pixel_row, pixel_column in ((0, 0, 0), (5, 27, 3), (11, 13, 27)):
        offset = unit * 784 + pixel_row * 28 + pixel_column
        x, y = first.places(np.array([float(offset)]))
        left, top = first.left + side * (unit % 4), first.top + side * (unit // 4)
        assert x[0] == pytest.approx(left + side * (pixel_column + 0.5) / 28)
        assert y[0] == pytest.approx(top + side * (pixel_row + 0.5) / 28)


def test_a_weight_of_a_matrix_lies_at_its_row_and_column():
    blocks = {block.name: block for block in lay_out(MLP, 784)}
    block = blocks["lin2.weight"]
    assert block.grid is None
    assert block.first == 9408 + 12
    x, y = block.places(np.array([5.0 * 12 + 3]))
    assert x[0] == pytest.approx(block.left + block.width * 3.5 / 12)
    assert y[0] == pytest.approx(block.top + block.height * 5.5 / 8)


def test_scales_grow_with_what_they_show():
    areas = dot_area(np.array([1e-9, -1e-3, 0.1, -10.0, 1e9]))
    assert (np.diff(areas) > 0).all()
    assert share_of_scale(0) == 0
    assert [short(size) for size in (12.34, 0.5, 0.0321, 2.3e-5, 1234.0, 2e6)] == [
        "12",
        "0.5",
        "0.03",
        "2e−5",
        "1234",
        "2e6",
    ]


def test_layers_take_weight_and_bias_together():
    assert layer_names(MLP) == ["lin1", "lin2", "lin3"]
    changed = row(
        0, layers={"lin1.weight": [2, 3.0, 1.0], "lin1.bias": [1, 4.0, 4.0], "lin3.weight": [1, 0.5, 0.5]}
    )
    assert layer_norms(changed) == {"lin1": 5.0, "lin3": 0.5}


def test_harm_is_what_is_lost_on_the_diagonal_or_won_beside_it():
    counts, without = matrix([[3, 3, -7], [3, 5, 4], [2, -1, 3], [4, 4, 2], [4, 1, -2]])
    assert without == 3
    assert (counts[3, 3], counts[3, 5], counts.sum()) == (-7, 4, -3)
    signed = harm(counts)
    for label in range(10):
        for prediction in range(10):
            value = counts[label, prediction]
            assert signed[label, prediction] == (-value if label == prediction else value)


def test_a_png_has_few_colours_and_true_ones():
    def paint(page):
        for place, style in enumerate(STYLES.values()):
            page.chip(0.1 + 0.2 * place, 0.5, style.colour)

    content = draw_png(3, 1, paint)
    assert content == draw_png(3, 1, paint)
    image = Image.open(io.BytesIO(content))
    assert image.mode == "P"
    assert image.size == (330, 110)
    pixels = {colour for _, colour in image.convert("RGB").getcolors()}
    assert (255, 255, 255) in pixels
    for style in STYLES.values():
        wanted = np.array([int(style.colour[place : place + 2], 16) for place in (1, 3, 5)])
        assert min(np.abs(wanted - colour).max() for colour in pixels) <= 3
    assert len(image.getpalette()) <= 3 * 256


@pytest.mark.slow
def test_the_same_files_whatever_the_runs(runs):
    part: Part = PART
    made = part.files(runs)
    assert set(made) == set(part.names)
    assert len(part.names) == len(set(part.names))
    assert made == part.files(runs[::-1])
    nothing = part.files([])
    assert set(nothing) == set(part.names)
    assert nothing["report/gallery.md"].decode().count("missing, no reloading run of BGD-II") == 2
    assert made["figures/gallery_alexnet_01.png"] == nothing["figures/gallery_alexnet_01.png"]
    cards = {made[f"figures/gallery_mlp_{number:02d}.png"] for number in range(1, 5)}
    assert len(cards) == 4
    fewer = part.files([run(samples()[:2])])
    assert set(fewer) == set(part.names)
    assert fewer["figures/gallery_mlp_03.png"] == nothing["figures/gallery_mlp_03.png"]


def test_a_card_changes_with_what_it_shows(runs):
    def card_after(**changes):
        changed = tuple(replace(item, **changes) for item in runs[0].rows)
        return card(scenes([run(changed), *runs[1:]], "mlp", 1)[0])

    plain = card_after()
    for changes in (
        {"logits_after": [5.0, *[0.0] * 9]},
        {"logits_after": [None] * 10},
        {"patch": {"index": [0, 900], "old": [0.0, 0.0], "new": [0.1, 0.1]}},
        {"patch": {"index": [0, 1], "old": [0.0, 0.0], "new": [0.1, -0.1]}},
        {"layers": {"lin1.weight": [2, 9.0, 0.1]}},
        {"side_effects": side_effects(confusion=[[3, 3, -5]])},
        {"outcome": UNCORRECTED},
    ):
        assert card_after(**changes) != plain, changes


def test_the_text_links_to_what_there_is(runs):
    text = gallery_markdown(network_scenes(runs))
    images = re.findall(r"\]\(\.\./(figures/[^)]*)\)", text)
    assert len(images) == 4
    assert set(images) <= set(PART.names)
    anchors = re.findall(r'<a id="([^"]*)">', text)
    assert re.findall(r"\]\(#([^)]*)\)", text) == anchors
    assert (
        "| [1](#gallery_mlp_01) | easiest | 10 | 3 | 5 | 0.50 | 2 | -0.010 | missing | missing | 1,000 |"
        in text
    )
    assert rule_text() in text


def test_the_story_names_the_least_and_the_most_harmful_and_the_failed(runs):
    gentle = run(tuple(replace(item, figures=figures(test_accuracy=0.8)) for item in samples()), method="l1")
    text = story(scenes([*runs, gentle], "mlp", 1)[2])
    assert "the right 3 a probability of 0.088 and the 5 one of 0.65" in text  # e / (e + e^3 + 8)
    assert re.search(r"Least harm[^;]*: L1-Regularizer with 2 parameters \(ΔTA 0, 0 test images broken", text)
    assert "; most: BGD-II with 2 parameters (ΔTA −0.60," in text
    assert "Not corrected by Random." in text
    assert "Missing: BGD-C, BGD-I, BGD-Norm, Fine-tuning and Top-k." in text


def test_the_numbers_of_every_card(runs):
    lines = rows_of(gallery_csv(network_scenes(runs)).encode())
    assert len(lines) == 4 * len(METHODS)
    by_key = {(line["card"], line["method"]): line for line in lines}
    line = by_key["3", "bgd_ii"]
    assert (line["rule"], line["index"], line["outcome"]) == ("most harmful", "30", CORRECTED)
    assert float(line["test_accuracy_change"]) == -0.6
    assert float(line["label_probability_before"]) == pytest.approx(math.e / (math.e + math.e**3 + 8))
    assert float(line["label_probability_after"]) == pytest.approx(math.e**2 / (math.e**2 + math.e + 8))
    assert by_key["1", "random"]["altered"] == "0"
    assert by_key["2", "bgd_ii"]["sample_loss_before"] == ""  # not finite
    assert by_key["1", "top_k"]["outcome"] == "missing"


def test_a_sample_that_the_probe_has_not_seen(runs):
    faces = runs[-1]
    other = replace(faces, measurements=(Measurement(0, 99_999, 3, 0.0, faces.measurements[0].values),))
    found = network_scenes([*runs[:-1], other])
    lines = rows_of(gallery_csv(found).encode())
    assert {line["label_probability_before"] for line in lines} == {""}
    assert "N0 takes this 3 for 5." in gallery_markdown(found)
    assert card(found["mlp"][0]) != card(network_scenes(runs)["mlp"][0])


def test_torch_is_not_needed():
    code = "import sys, experiments.report.gallery.part; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
