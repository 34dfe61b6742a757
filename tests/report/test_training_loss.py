"""Both accounts of the training loss, against losses image by image."""

import numpy as np
import pytest
import records_factory as make
import torch

from bgd.evaluation import Evaluation
from experiments.protocol.figures import Images, summarised
from experiments.report.frames import build_frames
from experiments.report.loss_accounts import Accounts
from experiments.report.part import Thesis
from experiments.report.training_loss import TrainingLoss
from experiments.thesis.tables import REFERENCE

PART = TrainingLoss(Thesis(tables=REFERENCE))


def figures_of(losses):
    classes = torch.zeros(len(losses) + 1, dtype=torch.int64)
    found = Evaluation(torch.cat([torch.from_numpy(losses), torch.ones(1).double()]), classes)
    return summarised(found, Images(classes, classes, len(losses))).figures


@pytest.mark.parametrize("images", [64 * 5, 64 * 5 + 7, 40])
def test_the_algebra_holds_for_any_losses(images):
    draws = np.random.default_rng(images)
    before = draws.exponential(size=images)
    after = [before + draws.normal(size=images) * size for size in (0.01, 1.0, 30.0)]
    base = figures_of(before)
    rows = tuple(make.row(place, figures=figures_of(losses)) for place, losses in enumerate(after))
    samples = build_frames([make.run(rows, base=base, train_images=images)]).samples
    account = Accounts.of(samples, "a test")
    last = images - (images - 1) % 64 - 1
    short = 1 - (images - last) / 64
    for place, losses in enumerate(after):
        assert account.true[place] == pytest.approx(losses.mean() - before.mean())
        expected = -before.mean() / 64 + (losses[last:].mean() - short * before[last:].mean()) / images
        assert account.released[place] == pytest.approx(expected)
    assert np.abs(account.released - account.constant).max() <= account.bound * (1 + 1e-9)


def runs():
    losses = ((0.30, 0.20, 0.26), (0.25, 0.24, 0.22))
    return [
        make.run(
            tuple(
                make.row(place, figures=make.figures(train_loss=loss, released_after=1e-5 + place * 1e-6))
                for place, loss in enumerate(each)
            ),
            method=method,
        )
        for method, each in zip(("bgd_ii", "top_k"), losses, strict=True)
    ]


def test_the_table_and_the_words_are_from_the_records():
    files = PART.files(runs())
    assert set(files) == set(PART.names)
    header, *lines = (line.split(",") for line in files["tables/training_loss.csv"].decode().splitlines())
    found = {(line[0], line[1]): dict(zip(header, line, strict=True)) for line in lines}
    own = found["mlp", "bgd_ii"]
    assert float(own["mean"]) == pytest.approx((0.05 - 0.05 + 0.01) / 3)
    assert float(own["lowered_share"]) == pytest.approx(1 / 3)
    assert float(own["constant"]) == pytest.approx(-0.25 / 64)
    assert own["thesis"] == "-0.0066;-0.0067;-0.0033"
    assert found["alexnet", "bgd_ii"]["n"] == "missing"
    prose = files["report/training_loss.md"].decode()
    assert "33.33 % of its corrections lower it" in prose
    assert "**AlexNet.** missing: no run among the records." in prose


def test_without_runs_it_says_so():
    assert b"missing: no run of the main preset" in PART.files([])["report/training_loss.md"]


@pytest.mark.slow
def test_the_same_whatever_the_order_of_the_runs():
    assert PART.files(runs()) == PART.files(runs()[::-1])
