"""Figures over D and the test images against loops, and the released accounting against its restatement."""

import pytest
import torch
from oracles import evaluate

from bgd.evaluation import Evaluation
from experiments.protocol.figures import Images, full, summarised


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
