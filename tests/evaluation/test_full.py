"""The full evaluator against an image-by-image loop."""

import pytest
import torch
from oracles import differ, flat, mean_loss, with_parameters

from bgd.evaluation import Evaluation, FullEvaluator
from bgd.evaluation.full import evaluation_of
from bgd.parameters import ParameterSpace
from bgd.patch import Patch


@pytest.fixture(scope="module")
def images(tiny):
    return tiny.train.first(130).tensors()


def some_patch(network, seed=0):
    space, old = ParameterSpace.of(network), flat(network)
    index = torch.randperm(space.size, generator=torch.Generator().manual_seed(seed))[:30]
    return Patch.sparse(space, index, old[index], old[index] + 0.5)


def check(evaluation, network, images):
    with torch.no_grad():
        logits = torch.cat([network(image[None]) for image in images[0]]).double()
    losses = logits.logsumexp(1) - logits.gather(1, images[1][:, None])[:, 0]
    torch.testing.assert_close(evaluation.losses, losses, rtol=1e-5, atol=1e-5)
    assert evaluation.predictions.tolist() == logits.argmax(1).tolist()


@pytest.mark.parametrize("batch", [7, 64, 1000])
def test_an_evaluation_is_that_of_a_loop_over_images(trained, images, batch):
    evaluator = FullEvaluator(trained, *images, batch)
    check(evaluator.base, trained, images)
    patch = some_patch(trained)
    after = flat(trained)
    patch.apply(after)
    found = evaluator.after(patch)
    assert differ(found, evaluator.base)
    check(found, with_parameters(trained, after), images)


def test_after_leaves_the_network_and_advance_moves_it(trained, images):
    evaluator, before = FullEvaluator(trained, *images), flat(trained)
    patch = some_patch(trained)
    base, after = evaluator.base, evaluator.after(patch)
    assert not differ(FullEvaluator(trained, *images).base, base)
    assert evaluator.base is base
    evaluator.advance(patch)
    assert not differ(evaluator.base, after)
    assert torch.equal(flat(trained), before), "the evaluator has a copy of its own"


@pytest.mark.parametrize("of", [evaluation_of, Evaluation.of])
def test_an_image_with_a_logit_that_is_not_finite_has_no_class(of):
    logits = torch.eye(10)[:4] * 5
    logits[1, 3] = float("nan")
    logits[2, 4] = -float("inf")
    evaluation = of(logits, torch.arange(4))
    assert evaluation.predictions.tolist() == [0, -1, -1, 3]
    assert mean_loss(evaluation) != mean_loss(evaluation), "NaN"
