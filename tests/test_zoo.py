"""Every network of the zoo: what is fast equals running it whole, and what is refused is refused in a sentence."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracles import differ, flat
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from zoo import CLASSES, ZOO, inputs, make

from bgd.curvature.base import CurvatureError
from bgd.curvature.diagonal import EmpiricalFisher, TrueFisher
from bgd.curvature.gradient import mean_gradient
from bgd.curvature.hutchinson import Hutchinson
from bgd.curvature.kfac import KFAC
from bgd.errors import ConfigError
from bgd.evaluation import FullEvaluator, IncrementalEvaluator
from bgd.flat import FlatNetwork
from bgd.knowledge import Knowledge
from bgd.layers import LayerError, chain, is_plain, output_layer, running_linears, unwrapped
from bgd.methods.anchored import AnchoredDescent, ElasticWeightConsolidation
from bgd.methods.base import Problem, Sample
from bgd.methods.bgd.informed import ActivationPrior
from bgd.methods.bgd.prior import Magnitude
from bgd.methods.follower import Follower
from bgd.methods.glimpse import Edits, Glimpse
from bgd.methods.gradient import write_gradient
from bgd.methods.last_layer.fault_sneaking import FaultSneaking
from bgd.methods.last_layer.linear_program import LastLayerLP
from bgd.methods.last_layer.output_bias import OutputBias
from bgd.methods.last_layer.weight import LastLayerWeight
from bgd.methods.least_harm.harm import Distance, Divergence
from bgd.methods.least_harm.kronecker import Kronecker
from bgd.methods.least_harm.search import LeastHarm
from bgd.methods.lora import LoRA
from bgd.methods.rank_one import RankOne
from bgd.methods.top_k import TopK
from bgd.parameters import ParameterSpace
from bgd.patch import Patch

BATCH, FEW = 8, 6
FREE = [name for name, animal in ZOO.items() if animal.differentiable]
HEADED = [name for name, animal in ZOO.items() if animal.head is not None]
HEADLESS = [name for name, animal in ZOO.items() if animal.head is None]


def labels_of(count):
    return torch.arange(count) % CLASSES


def images_of(name):
    """29 inputs and their labels, more than a whole number of batches."""
    return torch.cat([inputs(name, 20, 2), inputs(name, 9, 3)]), torch.cat([labels_of(20), labels_of(9)])


def patches(network):
    """In every tensor a small change of one entry, a large one of another, and one of the whole tensor."""
    space, before = ParameterSpace.of(network), flat(network)
    for name in space.names:
        span = space.span(name)
        for place, by in ((span.start, 1e-3), (span.stop - 1, 2.5), (span, 0.1)):
            after = before.clone()
            after[place] += by
            yield name, Patch.between(space, before, after)


def assert_same(found, wanted, what):
    assert torch.equal(found.predictions, wanted.predictions), what
    torch.testing.assert_close(found.losses, wanted.losses, rtol=1e-9, atol=1e-12, msg=what, equal_nan=True)


def assert_incremental_is_full(network, images):
    """Before and after every patch, and after some that stay."""
    fast = IncrementalEvaluator(network, *images, BATCH)
    slow = FullEvaluator(network, *images, BATCH)
    assert_same(fast.base, slow.base, "base")
    seen = 0
    for name, patch in patches(network):
        wanted = slow.after(patch)
        assert_same(fast.after(patch), wanted, name)
        seen += differ(wanted, slow.base)
    assert seen, "no patch shows"
    every = {name: patch for name, patch in patches(network)}
    for name in list(every)[:1]:
        for evaluator in (fast, slow):
            evaluator.advance(every[name])
        assert_same(fast.base, slow.base, f"{name}, for good")


@pytest.mark.parametrize("name", ZOO)
def test_evaluators_agree(name):
    assert_incremental_is_full(make(name), images_of(name))


@pytest.mark.parametrize("name", ["in place on the images", "in place in a residual", "row in place"])
def test_evaluators_leave_the_images_as_they_are(name):
    given = images_of(name)
    kept = given[0].clone()
    assert_incremental_is_full(make(name), given)
    assert torch.equal(given[0], kept)


def one_by_one(network, image, label):
    """The gradient of one image's loss (|W|,), 0 where there is none."""
    parameters = [each for each in network.parameters() if each.requires_grad]
    loss = F.cross_entropy(network(image.clone()), label)
    found = iter(torch.autograd.grad(loss, parameters, materialize_grads=True))
    parts = [next(found) if each.requires_grad else torch.zeros_like(each) for each in network.parameters()]
    return torch.cat([part.detach().flatten() for part in parts])


def every_gradient(network, images, labels):
    """One by one (N, |W|)."""
    pairs = zip(images.split(1), labels.split(1), strict=True)
    return torch.stack([one_by_one(network, image, label) for image, label in pairs])


@pytest.mark.parametrize("name", FREE)
def test_a_gradient_is_that_of_autograd(name):
    network = make(name)
    copied = FlatNetwork(network)
    for image, label in zip(inputs(name, 3), labels_of(3), strict=True):
        out = torch.full_like(copied.flat, math.nan)
        write_gradient(copied.module, copied.space, Sample(0, image[None].clone(), label[None]), out)
        torch.testing.assert_close(out, one_by_one(network, image[None], label[None]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ZOO)
def test_looks_at_edited_networks_are_what_they_say(name):
    """By many at once, and by one after another."""
    network, image = make(name), inputs(name, 1)
    copied = FlatNetwork(network)
    glimpse = Glimpse(copied.module, copied.space, copied.flat, image)
    follower = Follower(copied.module, copied.space, copied.flat, image)
    indices = np.array([copied.space.span(each).start for each in copied.space.names])
    values = copied.flat[indices] + 0.7
    found = glimpse.of(Edits(len(indices), np.arange(len(indices)), indices, values))
    for place, row in enumerate(found):
        step = follower.step(torch.from_numpy(indices[place : place + 1]), values[place : place + 1])
        with torch.no_grad():
            kept = copied.flat[indices[place]].clone()
            copied.flat[indices[place]] = values[place]
            wanted = copied.module(image)[0]
            copied.flat[indices[place]] = kept
        torch.testing.assert_close(row, wanted, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(step.logits[0], wanted, rtol=1e-9, atol=1e-12)


# ---- curvature


def squared(network, name, vectors):
    """Mean over images of the summed squares of v_k J (|W|,), by one backward pass after another."""
    total, images = 0, inputs(name, FEW)
    for image in images:
        for vector in vectors(network(image[None].clone()).detach()):
            parameters = [each for each in network.parameters() if each.requires_grad]
            value = (network(image[None].clone()) * vector).sum()
            found = iter(torch.autograd.grad(value, parameters, materialize_grads=True))
            parts = [next(found) if p.requires_grad else torch.zeros_like(p) for p in network.parameters()]
            total = total + torch.cat([part.detach().flatten() for part in parts]).square()
    return total / len(images)


def of_classes(logits):
    """sqrt(p_c) (p - e_c), for every class c."""
    p = logits.softmax(1)
    return [p[0, c].sqrt() * (p - F.one_hot(torch.tensor([c]), CLASSES)) for c in range(CLASSES)]


def estimated(estimator, network, name):
    return estimator.estimate(
        network, ParameterSpace.of(network), inputs(name, FEW), labels_of(FEW), np.random.default_rng(0)
    )


@pytest.mark.parametrize("name", ZOO)
def test_r10_a_fisher_is_the_mean_square_of_gradients_and_carries_no_graph(name):
    """Whatever the layers; r9: 0 at what is frozen or unused."""
    network = make(name)
    found = estimated(TrueFisher(batch_size=4), network, name).diagonal()
    torch.testing.assert_close(found, squared(network, name, of_classes), rtol=1e-8, atol=1e-13)
    empirical = estimated(EmpiricalFisher(batch_size=4), network, name).diagonal()
    each = every_gradient(network, inputs(name, FEW), labels_of(FEW))
    torch.testing.assert_close(empirical, each.square().mean(0), rtol=1e-8, atol=1e-13)
    kfac = estimated(KFAC(batch_size=4), network, name).diagonal()
    assert torch.isfinite(kfac).all()
    for diagonal in (found, empirical, kfac):
        assert not diagonal.requires_grad
    copy.deepcopy(network)  # nothing of the estimate is left behind in it


@pytest.mark.parametrize("name", ["frozen layer", "frozen head", "unused head", "adapter inside a layer"])
def test_r9_what_is_frozen_or_unused_has_gradient_and_curvature_zero(name):
    network, given = make(name), images_of(name)
    space = ParameterSpace.of(network)
    still = {
        "frozen layer": ["3."],
        "frozen head": ["5."],
        "unused head": ["auxiliary."],
        "adapter inside a layer": ["3.adapter."],
    }[name]
    gradient = mean_gradient(network, *given, 8)
    each = every_gradient(network, *given)
    torch.testing.assert_close(gradient, each.mean(0), rtol=1e-9, atol=1e-13)
    found = [
        gradient,
        *(
            estimated(kind(), network, name).diagonal()
            for kind in (Hutchinson, EmpiricalFisher, TrueFisher, KFAC)
        ),
    ]
    for values in found:
        assert not values.requires_grad
        for tensor in space.names:
            zero = not values[space.span(tensor)].any()
            assert zero == tensor.startswith(tuple(still)), tensor


def problem_of(name):
    """The network, with all that may be known of it."""
    network, given = make(name), images_of(name)

    def curvature(estimator):
        return estimated(estimator, network, name)

    return network, Problem(
        network,
        Knowledge(
            curvature=curvature,
            keep_images=lambda: given[0],
            training=lambda: given,
        ),
    )


def wrong_samples(network, name, count):
    """Samples with the runner-up for a label."""
    images = inputs(name, count, 4)
    with torch.no_grad():
        order = network(images.clone()).argsort(1, descending=True)
    return [Sample(at, images[at : at + 1].clone(), order[at, 1:2]) for at in range(count)]


def tried(method, problem, sample):
    with problem.trying() as trial:
        return method.correct(trial, sample, np.random.default_rng(0))


def assert_right(network, correction, sample):
    """The patch makes a copy of the network right; the network itself is as it was."""
    with torch.no_grad():
        moved = FlatNetwork(network)
        correction.patch.apply(moved.flat)
        assert int(moved.module(sample.image.clone()).argmax()) == int(sample.label)


@pytest.mark.parametrize(
    "name", ["batch norm", "PReLU", "layer norm", "groups", "padding same, uneven", "embedding"]
)
def test_r10_ewc_runs_on_any_layer(name):
    network, problem = problem_of(name)
    penalty = ElasticWeightConsolidation(1.0, EmpiricalFisher(images=FEW))
    method = AnchoredDescent(steps=300, learning_rate=0.05, penalty=penalty)
    for sample in wrong_samples(network, name, 2):
        assert_right(network, tried(method, problem, sample), sample)


# ---- heads


LEAST_HARM = {
    "harm_budget": None, "tolerance": 0.0, "scope": 10**6, "singles": 8, "growth": 0.0, "tries": 1, "iterations": 2,
}  # fmt: skip
HEAD_METHODS = {
    "output_bias": OutputBias(),
    "last_layer_weight": LastLayerWeight(),
    "last_layer_lp": LastLayerLP(keep=5, slack_price=1.0),
    "fault_sneaking": FaultSneaking(keep=5, iterations=100, alpha=1.0),
    "least_harm": LeastHarm(price=Divergence(10, 5), budget=2, **LEAST_HARM),
    "least_change": LeastHarm(price=Distance(), budget=1, **LEAST_HARM),
}


@pytest.mark.parametrize("name", HEADED)
def test_r12_the_head_is_the_linear_layer_that_the_outputs_come_from(name):
    network = make(name)
    assert output_layer(FlatNetwork(network).module, inputs(name, 1)) == ZOO[name].head


@pytest.mark.parametrize("name", HEADLESS)
def test_r12_a_network_without_a_head_that_may_be_edited_is_refused_in_one_sentence(name):
    network, problem = problem_of(name)
    (sample,) = wrong_samples(network, name, 1)
    for method in HEAD_METHODS.values():
        with pytest.raises(LayerError, match=ZOO[name].why) as refused:
            tried(method, problem, sample)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", HEADED)
def test_r12_methods_of_the_head_correct_whatever_comes_before_it(name):
    network, problem = problem_of(name)
    (sample,) = wrong_samples(network, name, 1)
    before = flat(network)
    for kind, method in HEAD_METHODS.items():
        correction = tried(method, problem, sample)
        if kind == "output_bias" and "without biases" in name:
            assert correction.reason == "the last layer has no bias"
            continue
        assert correction.patch is not None, (kind, correction.reason)
        assert_right(network, correction, sample)
        if kind not in ("least_harm", "least_change"):
            assert all(tensor.startswith(ZOO[name].head) for tensor in correction.patch.tensors), kind
    assert torch.equal(flat(network), before)


def test_r9_what_is_frozen_is_changed_by_no_method_of_linear_layers():
    network, problem = problem_of("frozen layer")
    least_harm, lora = (
        LeastHarm(price=Distance(), budget=20, **LEAST_HARM),
        LoRA(steps=200, learning_rate=0.05),
    )
    corrected = {"LeastHarm": 0, "LoRA": 0}
    for sample in wrong_samples(network, "frozen layer", 4):
        for method in (least_harm, lora):
            correction = tried(method, problem, sample)
            if correction.patch is not None:
                corrected[type(method).__name__] += 1
                assert not [tensor for tensor in correction.patch.tensors if tensor.startswith("3.")]
        for method in (RankOne(layer="3"), LoRA(steps=2, learning_rate=0.1, layers=("3",))):
            with pytest.raises(
                LayerError, match=r"layer '3' may not be changed: it is frozen; requires_grad_\(True\)"
            ):
                tried(method, problem, sample)
    assert all(corrected.values())


@pytest.mark.parametrize("name", HEADED)
def test_r12_rank_one_corrects_or_says_why_not(name):
    """It edits the last but one linear layer that runs, for samples that it is active on."""
    network, problem = problem_of(name)
    samples, corrected = wrong_samples(network, name, 6), 0
    ran = [seen.name for seen in running_linears(problem.current.module, samples[0].image)]
    try:
        for sample in samples:
            correction = tried(RankOne(), problem, sample)
            if correction.patch is not None:
                corrected += 1
                assert_right(network, correction, sample)
                assert all(tensor.startswith(f"{ran[-2]}.") for tensor in correction.patch.tensors)
        assert corrected
    except ConfigError as refused:
        why = str(refused)
        assert "\n" not in why
        if len(set(ran)) < 2:
            assert "the last but one linear layer is meant" in why
        elif ran.count(ran[-2]) > 1 or name == "flattened from the second":
            assert "must run once, on one" in why
        else:
            assert name in (
                "hook on a hidden layer",
                "pre-hook",
                "backward hook",
                "forward of a layer's own",
                "pruned",
                "old weight norm",
                "weight norm",
                "spectral norm",
                "tied weights",
                "subclass of Linear",
                "frozen layer",
                "adapter inside a layer",
            )
            assert "is not plain" in why or "may not be changed" in why


@pytest.mark.parametrize(
    "name", ["row", "usual example", "called by keyword", "compiled example", "pruned", "GRU"]
)
def test_r12_lora_and_the_activation_prior_follow_however_layers_are_called(name):
    network, problem = problem_of(name)
    corrected = 0
    for sample in wrong_samples(network, name, 4):
        correction = tried(LoRA(steps=200, learning_rate=0.05), problem, sample)
        if correction.patch is not None:
            corrected += 1
            assert_right(network, correction, sample)
        with problem.trying() as trial:
            if name in ("GRU", "pruned"):
                with pytest.raises(LayerError, match=r"is a GRU|is not plain: it is pruned"):
                    ActivationPrior().at(trial, sample)
            else:
                weights = (
                    ActivationPrior().at(trial, sample).weights(Magnitude(trial.flat, trial.space)).whole()
                )
                assert torch.isfinite(weights).all()
                assert weights.any()
    assert corrected


@pytest.mark.parametrize(
    "name", ["nested rows", "usual example", "compiled", "data parallel", "compiled in part"]
)
def test_r12_least_harm_by_kronecker_factors_names_layers_as_the_network_does(name):
    network, problem = problem_of(name)
    (sample,) = wrong_samples(network, name, 1)
    method = LeastHarm(price=Kronecker(KFAC(images=FEW)), budget=2, **LEAST_HARM)
    if name == "compiled in part":  # no hook is seen inside N0, and so no factor is known
        with pytest.raises(CurvatureError, match=r"no Kronecker factors of 0\._orig_mod\.[135]\.weight"):
            tried(method, problem, sample)
        return
    assert_right(network, tried(method, problem, sample), sample)


# ---- hooks, reparametrisations


@pytest.mark.parametrize("name", ["row", "nested rows", "data parallel"])
def test_r3_a_hook_that_comes_later_is_seen(name):
    """On a layer of the trial's network, and on all modules of the process: before, with and after it."""
    network, given = make(name), images_of(name)
    copied = FlatNetwork(network)
    image = inputs(name, 1)
    layer = [link.module for link in chain(copied.module) if isinstance(link.module, nn.Linear)][1]
    handle = layer.register_forward_hook(lambda _, __, output: -output)
    glimpse = Glimpse(copied.module, copied.space, copied.flat, image)
    with torch.no_grad():
        torch.testing.assert_close(glimpse.logits, copied.module(image))
    handle.remove()
    fast, slow = (kind(network, *given, BATCH) for kind in (IncrementalEvaluator, FullEvaluator))
    tensors = list(patches(network))
    assert_same(fast.after(tensors[0][1]), slow.after(tensors[0][1]), "before")
    handle = register_module_forward_hook(
        lambda module, _, output: -output if isinstance(module, nn.Linear) else None
    )
    try:
        assert not chain(network)
        for tensor, patch in tensors:
            assert_same(fast.after(patch), slow.after(patch), tensor)
    finally:
        handle.remove()
    for tensor, patch in tensors:
        assert_same(fast.after(patch), slow.after(patch), tensor)


@pytest.mark.parametrize("name", [each for each in ZOO if "hook" in each or "forward of" in each])
def test_r3_no_patch_of_a_hooked_network_leaves_the_sample_wrong(name):
    network, problem = problem_of(name)
    found = 0
    for sample in wrong_samples(network, name, 4):
        correction = tried(TopK(step=0.5), problem, sample)
        if correction.patch is not None:
            found += 1
            assert_right(network, correction, sample)
    assert found


@pytest.mark.parametrize(
    "name", ["pruned", "old weight norm", "weight norm", "spectral norm", "parametrized"]
)
def test_r4_edits_of_the_originals_of_a_reparametrised_layer_show(name):
    network, given = make(name), images_of(name)
    originals = [each for each in ParameterSpace.of(network).names if "orig" in each or each.endswith("_v")]
    assert originals
    fast = IncrementalEvaluator(network, *given, BATCH)
    kept = {tensor: patch for tensor, patch in patches(network) if tensor in originals}
    for patch in kept.values():
        assert differ(fast.after(patch), fast.base)


@pytest.mark.parametrize(
    "name", [each for each in ZOO if each.endswith(("of the head", "head")) and ZOO[each].head is None]
)
def test_r4_no_parameter_of_a_reparametrised_head_is_changed(name):
    network, problem = problem_of(name)
    before = problem.current.flat.clone()
    (sample,) = wrong_samples(network, name, 1)
    with pytest.raises(LayerError, match=ZOO[name].why):
        tried(OutputBias(), problem, sample)
    assert torch.equal(problem.current.flat, before)


def test_what_is_plain_is_plain_and_all_else_is_not():
    """The fast paths of the evaluator, by how many of the layers it follows."""
    followed = {name: [link.plain for link in chain(make(name))] for name in ZOO}
    for name in (
        "row",
        "row without biases",
        "row in place",
        "one ReLU twice",
        "dropout at the end",
        "padding same",
    ):
        assert all(followed[name]), name
    assert followed["nested rows"] == [True] * 7
    assert followed["data parallel"] == followed["compiled"] == [True] * 6
    assert [at for at, plain in enumerate(followed["pruned"]) if not plain] == [3]
    assert [at for at, plain in enumerate(followed["tied weights"]) if not plain] == [3, 5]
    for name in ("hook on the network", "usual example", "residual", "forward of its own", "attention"):
        assert followed[name] == [], name
    for name in (
        "hook on a hidden layer",
        "adapter inside a layer",
        "subclass of Linear",
        "forward of a layer's own",
    ):
        assert not followed[name][3], name
    assert not is_plain(nn.Dropout())
    assert is_plain(nn.Dropout().eval())
    assert unwrapped(make("data parallel"))[0] == "module."


def test_there_are_enough_of_them():
    assert len(ZOO) >= 30
