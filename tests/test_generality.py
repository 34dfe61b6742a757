"""Whether a correction holds for what is like the sample: against loops over pixels and images."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import records_factory
import torch
from oracles import bystanders_of, flat, with_parameters

from bgd import rng
from bgd.curvature.gradient import mean_gradient
from bgd.flat import FlatNetwork
from bgd.knowledge import Knowledge
from bgd.methods.base import Correction, Problem, Sample
from bgd.methods.bgd.search import SubsetSearch
from bgd.patch import Patch
from experiments.mnist import training
from experiments.protocol import generality
from experiments.protocol.figures import Images, full
from experiments.protocol.generality import (
    ANGLES,
    DRAWS,
    KINDS,
    NOISE,
    SHIFTS,
    Variations,
    rotated,
    shifted,
    variants,
)
from experiments.protocol.samples import samples_of
from experiments.protocol.settings import Setting, Stage
from experiments.records.archive import Records, export, load
from experiments.records.schema import CORRECTED, dump, row_from

SHAPES = [(1, 28, 28), (3, 5, 8), (2, 1, 1), (1, 7, 4)]


def image_of(shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32))


def sample_of(image, index=3, label=1):
    return Sample(index, image, torch.tensor([label]))


def moved_slowly(image, down, right):
    """Pixel by pixel."""
    out = torch.full_like(image, float(image.min()))
    _, channels, height, width = image.shape
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                if 0 <= y + down < height and 0 <= x + right < width:
                    out[0, c, y + down, x + right] = image[0, c, y, x]
    return out


def turned_slowly(image, degrees):
    """Each pixel from the four around the place that it shows, in float64; y goes down."""
    _, channels, height, width = image.shape
    values, low = image.double(), float(image.min())
    out = torch.empty_like(values)
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))

    def at(c, y, x):
        return float(values[0, c, y, x]) if 0 <= y < height and 0 <= x < width else low

    for c in range(channels):
        for y in range(height):
            for x in range(width):
                right, down = x - (width - 1) / 2, y - (height - 1) / 2
                from_x = cosine * right - sine * down + (width - 1) / 2
                from_y = sine * right + cosine * down + (height - 1) / 2
                left, top = math.floor(from_x), math.floor(from_y)
                far, deep = from_x - left, from_y - top
                out[0, c, y, x] = (
                    (1 - deep) * ((1 - far) * at(c, top, left) + far * at(c, top, left + 1))
                    + deep * ((1 - far) * at(c, top + 1, left) + far * at(c, top + 1, left + 1))
                )  # fmt: skip
    return out


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shift_moves_every_pixel_by_one(shape):
    image = image_of(shape)
    for down, right in SHIFTS:
        assert torch.equal(shifted(image, down, right), moved_slowly(image, down, right))


def test_the_shifts_are_the_eight_neighbours():
    assert len(set(SHIFTS)) == 8
    assert all(max(map(abs, shift)) == 1 for shift in SHIFTS)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("degrees", [*ANGLES, 0.0, 30.0, 180.0])
def test_a_rotation_is_bilinear_about_the_middle(shape, degrees):
    image = image_of(shape)
    assert torch.allclose(rotated(image, degrees).double(), turned_slowly(image, degrees), atol=2e-5)


def test_a_quarter_turn_is_anticlockwise():
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 2, 4] = 1.0  # at the right
    turned = rotated(image, 90.0)
    assert float(turned[0, 0, 0, 2]) == pytest.approx(1.0, abs=1e-5), "now at the top"


def test_the_variants_are_eight_shifts_four_rotations_and_eight_draws_of_noise():
    image = image_of((2, 6, 9))
    made = variants(sample_of(image, index=11))
    assert made.shape == (20, 2, 6, 9) == (sum(KINDS.values()), *image.shape[1:])
    assert made.dtype == image.dtype
    for place, shift in enumerate(SHIFTS):
        assert torch.equal(made[place : place + 1], shifted(image, *shift))
    for place, angle in enumerate(ANGLES):
        assert torch.equal(made[8 + place : 9 + place], rotated(image, angle))
    draws = rng.stream(0, "generality", 11)
    for place in range(DRAWS):
        noise = torch.from_numpy(draws.normal(0.0, NOISE, size=(2, 6, 9)))
        assert torch.equal(made[12 + place], image[0] + noise.float())


def test_the_noise_is_the_samples_own_and_of_the_stated_size():
    image = torch.zeros(1, 1, 28, 28)
    one, again, other = (
        variants(sample_of(image, index, label)) for index, label in ((3, 1), (3, 7), (4, 1))
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert float(one[12:].std()) == pytest.approx(NOISE, rel=0.03)
    assert len({tuple(draw.flatten()[:5].tolist()) for draw in one[12:]}) == DRAWS


def right_slowly(network, images, label):
    """One image after another; an image with a logit that is not finite is wrong."""
    count = 0
    for image in images:
        with torch.no_grad():
            logits = network(image[None])[0]
        count += bool(torch.isfinite(logits).all()) and int(logits.argmax()) == label
    return count


def nudged(network, label, by):
    """A patch that lifts a label's output bias."""
    model = FlatNetwork(network)
    place = torch.tensor([model.space.span("lin3.bias").start + label])
    return model, Patch.sparse(model.space, place, model.flat[place], model.flat[place] + by)


def test_the_counts_are_those_of_a_loop(trained, samples):
    variations, found = Variations(), []
    for sample in samples:
        label = int(sample.label)
        model, patch = nudged(trained, label, 1.0)
        vector = flat(trained)
        patch.apply(vector)
        moved, images = with_parameters(trained, vector), variants(sample)
        expected = {
            kind: [len(part), right_slowly(trained, part, label), right_slowly(moved, part, label)]
            for kind, part in zip(KINDS, images.split(list(KINDS.values())), strict=True)
        }
        measured = variations.measure(model, sample, patch, [4, 0, 2])
        assert vars(measured) == {**expected, "same_confusion": [4, 0, 2]}
        assert torch.equal(model.flat, flat(trained)), "the network is as it was, bit for bit"
        found.append(measured)
    assert any(0 < each.shifts[1] < 8 for each in found), "N0 gets some variants right and others wrong"
    assert any(each.noise[2] > each.noise[1] for each in found)


def test_an_overflow_is_not_right(trained, samples):
    model, patch = nudged(trained, int(samples[0].label), math.inf)
    assert [part[2] for part in vars(Variations().measure(model, samples[0], patch, [0, 0, 0])).values()] == [
        0
    ] * 4


def test_what_n0_says_is_asked_once_for_a_sample(trained, samples, monkeypatch):
    asked, right = [], generality._right
    monkeypatch.setattr(generality, "_right", lambda *arguments: asked.append(1) or right(*arguments))
    model, patch = nudged(trained, int(samples[0].label), 2.0)
    variations = Variations()
    first = variations.measure(model, samples[0], patch, [0, 0, 0])
    assert variations.measure(model, samples[0], patch, [0, 0, 0]) == first
    assert len(asked) == 3


@pytest.fixture
def stage(trained, tiny):
    images, errors = Images.of(tiny, 100, 200), training.misclassified(trained, tiny)
    chosen = samples_of(*tiny.test.tensors(), [*errors[:8], *errors[-4:]])
    assert chosen[7].index < 200 < chosen[8].index, "some samples are not among the test images"

    def make(method, accumulate=False, seed=0):
        bystanders = bystanders_of(trained, images, [sample.index for sample in chosen])
        gradient = mean_gradient(trained, images.train, images.train_labels)
        problem = Problem(trained, Knowledge(lambda: gradient))
        return Stage(Setting(accumulate), method, seed, problem, full(trained, images), chosen, bystanders)

    return make


def test_every_correction_of_the_reloading_setting_has_its_generality(stage, trained, tiny):
    made = stage(SubsetSearch())
    rows = list(made.rows())
    images, labels = tiny.test.first(200).tensors()
    with torch.no_grad():
        before = trained(images).argmax(1)
    found = []
    for row, sample in zip(rows, made.samples, strict=True):
        assert (row.generality is not None) == (row.outcome == CORRECTED)
        if row.generality is None:
            continue
        vector = flat(trained)
        vector[row.patch["index"]] = torch.tensor(row.patch["new"])
        moved = with_parameters(trained, vector)
        with torch.no_grad():
            after = moved(images).argmax(1)
        alike = [
            i
            for i in range(200)
            if i != row.index and int(labels[i]) == row.label and int(before[i]) == row.prediction_before
        ]
        right = sum(int(after[i]) == row.label for i in alike)
        assert row.generality.same_confusion == [len(alike), 0, right]
        found.append(row.generality)
        parts = variants(sample).split(list(KINDS.values()))
        for kind, part in zip(KINDS, parts, strict=True):
            expected = [len(part), *(right_slowly(each, part, row.label) for each in (trained, moved))]
            assert getattr(row.generality, kind) == expected
    assert any(each.same_confusion[2] for each in found)
    assert any(each.shifts[2] > each.shifts[1] for each in found)


def test_every_method_and_seed_meets_the_same_images(stage):
    found = {}
    for seed in (0, 1):
        for row in stage(SubsetSearch(), seed=seed).rows():
            if row.generality is not None:
                before = [part[:2] for part in vars(row.generality).values()]
                assert found.setdefault(row.index, before) == before
    assert len(found) > 2


def test_no_generality_where_corrections_accumulate_or_nothing_was_corrected(stage):
    assert {row.generality for row in stage(SubsetSearch(), accumulate=True).rows()} == {None}
    rows = list(stage(Failing()).rows())
    assert rows
    assert {row.generality for row in rows} == {None}


class Failing:
    def correct(self, trial, sample, stream):
        return Correction.failed("told to")


GENERALITY = records_factory.generality()


def test_a_row_is_read_as_it_was_written_and_an_old_one_without_the_key_too():
    row = records_factory.row(0, generality=GENERALITY)
    assert row_from(json.loads(dump(row))) == row
    old = records_factory.row(0)
    assert "generality" not in json.loads(dump(old)), "an old row is written as it was read"
    assert row_from(json.loads(dump(old))) == old
    assert old.generality is None


def test_committed_records_keep_it_in_sweeps_too(tmp_path):
    rows = (records_factory.row(0, generality=GENERALITY), records_factory.row(1))
    run = records_factory.run(rows)
    records = Records({run.header.run_id: run}, {"sweep": (run.header.run_id,)})
    export(records, tmp_path, whole=[])
    kept = load(tmp_path).runs[run.header.run_id].rows
    assert [row.generality for row in kept] == [GENERALITY, None]
    assert kept[0].patch is None
    assert replace(kept[0], generality=None) == replace(kept[1], position=0, index=0)
