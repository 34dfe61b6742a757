"""The full evaluator against an image-by-image loop, and the released accounting against its restatement."""

import pytest
import torch
from oracles import evaluate, flat, with_parameters

from bgd.evaluation import FullEvaluator, Images
from bgd.evaluation.full import summarise
from bgd.parameters import ParameterSpace
from bgd.patch import Patch


@pytest.fixture(scope="module")
def images(tiny):
    return Images.of(tiny, 130, 70)


def some_patch(network, seed=0):
    space, old = ParameterSpace.of(network), flat(network)
    index = torch.randperm(space.size, generator=torch.Generator().manual_seed(seed))[:30]
    return Patch.sparse(space, index, old[index], old[index] + 0.5)


def check(evaluation, network, images):
    loss, accuracy, _ = evaluate(network, images.train, images.train_labels)
    assert evaluation.figures.train_loss == pytest.approx(loss, rel=1e-5)
    assert evaluation.figures.train_accuracy == pytest.approx(accuracy)
    loss, accuracy, _ = evaluate(network, images.test, images.test_labels)
    assert evaluation.figures.test_loss == pytest.approx(loss, rel=1e-5)
    assert evaluation.figures.test_accuracy == pytest.approx(accuracy)


@pytest.mark.parametrize("batch", [7, 64, 1000])
def test_figures_are_those_of_a_loop_over_images(trained, images, batch):
    evaluator = FullEvaluator(trained, images, batch)
    check(evaluator.base, trained, images)
    patch = some_patch(trained)
    after = flat(trained)
    patch.apply(after)
    found = evaluator.after(patch)
    assert found.figures != evaluator.base.figures
    check(found, with_parameters(trained, after), images)


def test_after_leaves_the_network_and_advance_moves_it(trained, images):
    evaluator, before = FullEvaluator(trained, images), flat(trained)
    patch = some_patch(trained)
    base, after = evaluator.base, evaluator.after(patch)
    assert FullEvaluator(trained, images).base.figures == base.figures
    assert evaluator.base is base
    evaluator.advance(patch)
    assert evaluator.base.figures == after.figures
    assert torch.equal(flat(trained), before), "the evaluator has a copy of its own"


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
    figures = summarise(logits, labels, logits, labels).figures
    assert figures.released_before == pytest.approx(sum(means) / count, rel=1e-12)
    assert figures.released_after == pytest.approx(means[-1] / count, rel=1e-12)
    assert figures.train_loss == pytest.approx(sum(losses) / count, rel=1e-12)


def test_an_image_with_a_logit_that_is_not_finite_is_wrong():
    logits = torch.eye(10)[:4] * 5
    logits[1, 3] = float("nan")
    logits[2, 4] = -float("inf")
    evaluation = summarise(logits, torch.arange(4), logits, torch.arange(4))
    assert evaluation.test_predictions.tolist() == [0, -1, -1, 3]
    assert evaluation.figures.test_accuracy == 0.5
    assert evaluation.figures.test_loss is None
