"""Figures over D and the test images against loops, and the released accounting against its restatement."""

from copy import deepcopy

import pytest
import torch
from oracles import evaluate

from bgd.evaluation import Evaluation
from experiments.protocol.figures import Images, full, summarised


@pytest.fixture
def other(trained):
    """A network near N0."""
    network = deepcopy(trained)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.2)
    return network


def summary_of(logits, labels):
    images = Images.joined(logits, labels, logits, labels)
    return summarised(Evaluation.of(torch.cat([logits, logits]), images.labels), images)


def test_figures_are_those_of_a_loop_over_images(trained, tiny):
    images = Images.of(tiny, 130, 70)
    figures = full(trained, images).base.figures
    loss, accuracy, _ = evaluate(trained, images.train, images.train_labels)
    assert figures.train_loss == pytest.approx(loss, rel=1e-5)
    assert figures.train_accuracy == pytest.approx(accuracy)
    loss, accuracy, _ = evaluate(trained, images.test, images.test_labels)
    assert figures.test_loss == pytest.approx(loss, rel=1e-5)
    assert figures.test_accuracy == pytest.approx(accuracy)


def test_images_are_the_same_in_either_order_of_memory(tiny):
    one, other = Images.of(tiny, 13, 7), Images.of(tiny, 13, 7, by_pixel=True)
    wanted = torch.cat([tiny.train.first(13).tensors()[0], tiny.test.first(7).tensors()[0]])
    assert torch.equal(one.images, wanted)
    assert torch.equal(other.images, wanted)
    assert torch.equal(one.labels, other.labels)
    assert one.images.is_contiguous()
    assert other.images.flatten(1).t().is_contiguous()


@pytest.mark.parametrize("count", [1, 63, 64, 65, 128, 130])
def test_the_released_accounting(count):
    generator = torch.Generator().manual_seed(count)
    logits, labels = (
        torch.randn(count, 10, generator=generator),
        torch.randint(10, (count,), generator=generator),
    )
    losses = [
        float(row.logsumexp(0) - row[label]) for row, label in zip(logits.double(), labels, strict=True)
    ]
    batches = [losses[start : start + 64] for start in range(0, count, 64)]
    means = [sum(batch) / len(batch) for batch in batches]
    figures = summary_of(logits, labels).figures
    assert figures.released_before == pytest.approx(sum(means) / count, rel=1e-12)
    assert figures.released_after == pytest.approx(means[-1] / count, rel=1e-12)
    assert figures.train_loss == pytest.approx(sum(losses) / count, rel=1e-12)


def test_an_image_with_a_logit_that_is_not_finite_is_wrong():
    logits = torch.eye(10)[:4] * 5
    logits[1, 3] = float("nan")
    logits[2, 4] = -float("inf")
    summary = summary_of(logits, torch.arange(4))
    assert summary.test_predictions.tolist() == [0, -1, -1, 3]
    assert summary.figures.test_accuracy == 0.5
    assert summary.figures.test_loss is None


def test_a_part_that_is_all_of_d_gives_the_figures_of_all_of_it(trained, other, tiny):
    whole = Images.of(tiny, 300, 70)
    before, after = (full(network, whole)._evaluator.base for network in (trained, other))
    images, on_n0 = whole.part(before, 300)
    assert torch.equal(on_n0.losses, before.losses)
    found, wanted = summarised(after, images).figures, summarised(after, whole).figures
    assert (found.train_loss_error, found.train_accuracy_error) == (0, 0)
    for name, value in vars(wanted).items():
        if value is not None:
            assert getattr(found, name) == pytest.approx(value, rel=1e-9), name


def test_a_part_of_d_gives_n0_its_own_figures_and_another_network_estimates(trained, other, tiny):
    whole = Images.of(tiny, 800, 70)
    before = full(trained, whole)._evaluator.base
    images, on_n0 = whole.part(before, 250)
    assert (images.size, len(images.labels)) == (250, 320)
    same, n0 = summarised(on_n0, images).figures, summarised(before, whole).figures
    assert (same.train_loss, same.train_accuracy) == pytest.approx((n0.train_loss, n0.train_accuracy))
    found = full(other, images).base.figures
    wanted = full(other, whole).base.figures
    assert 0 < abs(found.train_loss - wanted.train_loss) < 5 * found.train_loss_error
    assert abs(found.train_accuracy - wanted.train_accuracy) < 5 * found.train_accuracy_error
    assert found.released_after == pytest.approx(wanted.released_after, rel=1e-5), (
        "the last batch is in every part"
    )
    assert (found.test_loss, found.test_accuracy) == pytest.approx((wanted.test_loss, wanted.test_accuracy))
