"""A follower against running the edited network, and what a search needs besides against obvious statements."""

import numpy as np
import pytest
import torch
from oracles import PlainSampler, gradient, top_k, with_parameters
from test_glimpse import NETWORKS, widened

from bgd import rng
from bgd.flat import FlatNetwork
from bgd.methods.base import Problem, Sample
from bgd.methods.bgd.guard import FEW, ranked
from bgd.methods.bgd.prior import BLOCK, Sampler, Weights
from bgd.methods.bgd.search import SubsetSearch
from bgd.methods.follower import Follower
from bgd.methods.gradient import write_gradient
from bgd.methods.top_k import TopK
from experiments.mnist import training
from experiments.mnist.networks import MLP, AlexNet
from experiments.protocol.samples import samples_of


def prepared(make, dtype=torch.float64):
    torch.manual_seed(0)
    network = FlatNetwork(make().to(dtype))
    image = torch.randn(1, 1, 28, 28, dtype=dtype)
    return network, image, Follower(network.module, network.space, network.flat, image)


def edited(network, image, indices, values):
    """What a copy of the network says with these values."""
    moved = network.flat.clone()
    moved[indices] = values
    with torch.no_grad():
        return with_parameters(network.module, moved)(image)


def own(network, image, indices, values):
    """What the network itself says with these values, in the memory that a follower runs it in."""
    kept = network.flat[indices]
    network.flat[indices] = values
    with torch.no_grad():
        logits = network.module(image)
    network.flat[indices] = kept
    return logits


@pytest.mark.parametrize("make", NETWORKS)
def test_a_step_is_what_the_edited_network_says_also_after_many(make):
    network, image, follower = prepared(make)
    draw, space = np.random.default_rng(0), network.space
    starts = [0, *(space.span(name).start for name in space.names)]
    for count in range(40):
        low = starts[count % len(starts)]
        most = min(5, space.size - low)
        indices = torch.from_numpy(low + draw.choice(space.size - low, 1 + count % most, replace=False))
        values = network.flat[indices] + torch.from_numpy(draw.normal(size=len(indices)))
        before = network.flat.clone()
        step = follower.step(indices, values)
        assert torch.equal(network.flat, before)
        wanted = edited(network, image, indices, values)
        assert torch.allclose(step.logits, wanted, rtol=1e-9, atol=1e-10)
        assert torch.equal(follower.ran(indices, values), own(network, image, indices, values))
        if count % 2:
            follower.take(step)
            assert torch.equal(network.flat[indices], values)
    follower.run()
    with torch.no_grad():
        assert torch.equal(follower.logits, network.module(image)), "the network's own, bit for bit"
    assert follower.own


@pytest.mark.parametrize("make", [MLP, lambda: AlexNet(width=0.1)])
def test_in_float32_a_step_is_off_by_no_more_than_the_slack(make):
    network, image, follower = prepared(make, torch.float32)
    draw = np.random.default_rng(1)
    for scale in (0.01, 1.0, 100.0):
        for _ in range(20):
            indices = torch.from_numpy(draw.choice(network.space.size, 4, replace=False))
            values = network.flat[indices] + scale * torch.from_numpy(draw.normal(size=4)).float()
            step = follower.step(indices, values)
            wanted = edited(network, image, indices, values).double()
            assert float((step.logits - wanted).abs().max()) <= follower.slack(step)
            follower.take(step)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 3e38])
def test_what_may_overflow_is_what_the_network_says(value):
    network, image, follower = prepared(MLP, torch.float32)
    for name in network.space.names:
        index = torch.tensor([network.space.span(name).start + 1])
        step = follower.step(index, torch.tensor([value]))
        wanted = edited(network, image, index, torch.tensor([value])).double()
        assert torch.allclose(step.logits, wanted, rtol=1e-4, atol=1e-4, equal_nan=True)
        kept = network.flat[index]
        follower.take(step)
        follower.set(index, kept)


def test_an_edit_without_a_difference_has_none():
    network, _, follower = prepared(MLP)
    index = torch.tensor([5, 9000])
    step = follower.step(index, network.flat[index])
    assert step.places == {}
    assert torch.equal(step.logits, follower.logits)


@pytest.mark.parametrize("seed", range(40))
def test_the_sampler_draws_what_one_table_draws(seed):
    """Also across blocks, tables made anew and the printed update."""
    draw = np.random.default_rng(seed)
    count = int(draw.integers(1, 6 * BLOCK))
    weights = torch.from_numpy(draw.random(count) ** draw.integers(1, 12)).float()
    weights[torch.from_numpy(draw.random(count) < 0.3)] = 0
    if seed % 5 == 0:
        weights[: min(count, 2 * BLOCK)] = 0  # whole blocks of nothing
    kept = weights.clone()
    fast, plain = Sampler(Weights.listed(weights), rng.stream(seed)), PlainSampler(weights, rng.stream(seed))
    for _ in range(700):
        if draw.random() < 0.01:
            by = torch.from_numpy(draw.random(count)).float() * weights.mean()
            fast.lower(by)
            plain.lower(by)
        index = fast.draw()
        assert index == plain.draw()
    assert torch.equal(weights, kept), "the weights themselves are not touched"


@pytest.mark.parametrize("rank", [1, 50, 9000, 9500, 9999, 10000])
@pytest.mark.parametrize("kind", ["spread", "ties", "sorted", "misleading", "odd"])
def test_the_value_of_a_rank(rank, kind):
    values = torch.rand(10_000, generator=torch.Generator().manual_seed(0)) ** 4
    if kind == "ties":
        values = (4 * values).round()
    elif kind == "sorted":
        values = values.sort().values
    elif kind == "misleading":  # what the bound is taken from is above all else
        values[::251] += 10
    elif kind == "odd":
        values[5:40], values[50:70] = float("inf"), float("nan")
    known = values.kthvalue(rank, keepdim=True).values
    assert torch.equal(ranked(values, rank), known) or (ranked(values, rank).isnan() and known.isnan())
    several = torch.stack([values, values.flip(0), values * 0 + 2])
    for count in (len(values), 10 * FEW // len(values) * len(values)):  # by numpy, and one after another
        rows = several.repeat(1, count // len(values))
        for row, found in zip(rows, ranked(rows, rank), strict=True):
            assert torch.allclose(
                found, row.kthvalue(rank, keepdim=True).values, rtol=0, atol=0, equal_nan=True
            )


@pytest.mark.parametrize("make", NETWORKS)
def test_a_gradient_written_in_place_is_the_gradient(make):
    """Two ways to it: in float64, where they differ by rounding alone."""
    torch.manual_seed(0)
    network = FlatNetwork(make().double())
    image, label = torch.randn(1, 1, 28, 28, dtype=torch.float64), torch.tensor([3])
    out = torch.full_like(network.flat, float("nan"))

    class Posed:
        pass

    posed = Posed()
    posed.image, posed.label = image, label
    found = write_gradient(network.module, network.space, Sample(0, image, label), out)
    assert found is out
    assert torch.allclose(found, gradient(network.module, posed), rtol=1e-10, atol=1e-14)
    assert not any(layer._forward_hooks for layer in network.module.modules())


@pytest.mark.parametrize("options", [{}, {"growth": 1.01}, {"first": 20, "step": 1.0}, {"step": 1e-6}])
def test_top_k_is_the_walk_over_k(options, trained, samples):
    problem, wide = widened(trained, samples)
    for sample in wide:
        with problem.trying() as trial:
            correction = TopK(**options).correct(trial, sample, rng.stream(0))
        with problem.trying() as plain:
            k = top_k(TopK(**options), plain, sample)
        assert (correction.altered or None) == k
        assert trial.forward_passes == plain.forward_passes


def test_a_search_that_rounds_worse_than_the_slack_prunes_by_the_network_alone(
    trained_alexnet, tiny, monkeypatch
):
    monkeypatch.setattr("bgd.methods.bgd.followed.DEAR", 0)
    errors = training.misclassified(trained_alexnet, tiny)
    problem = Problem(trained_alexnet)
    plain_step, found = Follower.step, []

    def lying(follower, indices, values):
        step = plain_step(follower, indices, values)
        if step.places:  # always right, by far
            step.logits[0, int(sample.label)] += 1e3
        return step

    for sample in samples_of(*tiny.test.tensors(), errors, 3):
        with problem.trying() as trial:
            wanted = SubsetSearch(replace_probability=0.0).correct(trial, sample, rng.stream(0))
        with monkeypatch.context() as patch, problem.trying() as trial:
            patch.setattr(Follower, "step", lying)
            correction = SubsetSearch(replace_probability=0.0).correct(trial, sample, rng.stream(0))
        if wanted.patch is not None:
            found.append(sample)
            assert torch.equal(correction.patch.indices, wanted.patch.indices)
    assert found
