"""Retrain, fine-tune, L1 and top-k against obvious statements of them."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from oracles import flat, gradient, is_right, widened, with_parameters

from bgd import rng
from bgd.methods.base import Problem
from bgd.methods.descent import SampleDescent
from bgd.methods.top_k import TopK


def correct(method, problem, sample, carry=None):
    with problem.trying() as trial:
        trial.carry = carry
        return method.correct(trial, sample, rng.stream(0, "method", sample.index)), trial


def descend(network, sample, steps, names=None, l1=0.0, optimizer=None):
    """Plain SGD on the sample until it is right; the parameters and the number of steps."""
    network = copy.deepcopy(network)
    chosen = [p for name, p in network.named_parameters() if names is None or name in names]
    optimizer = torch.optim.SGD(chosen, lr=0.001, momentum=0.9)
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(sample.image), sample.label)
        loss = loss + l1 * sum(p.abs().sum() for p in network.parameters())
        loss.backward()
        optimizer.step()
        if is_right(network, sample):
            return flat(network), step
    return None, steps


@pytest.mark.parametrize("l1", [0.0, 0.01])
@pytest.mark.parametrize("names", [None, ("lin2.weight",), ("lin1.weight", "lin1.bias")])
def test_descent_is_sgd_on_the_sample(trained, samples, names, l1):
    trained, samples = widened(trained, samples)
    problem, outcomes = Problem(trained), set()
    for sample in samples:
        correction, trial = correct(SampleDescent(steps=6, tensors=names, l1=l1), problem, sample)
        wanted, steps = descend(trained, sample, 6, names, l1)
        assert correction.steps == steps
        assert trial.backward_passes == steps
        assert trial.forward_passes == 2 * steps
        outcomes.add(wanted is None)
        if wanted is None:
            assert correction.patch is None
            assert correction.reason == "wrong after 6 steps"
            continue
        after = flat(trained)
        correction.patch.apply(after)
        assert torch.allclose(after, wanted, atol=1e-12)
        sizes = {name: p.numel() for name, p in trained.named_parameters()}
        assert correction.altered == sum(sizes[name] for name in names or sizes)
        assert names is None or set(correction.patch.tensors) <= set(names)
    assert outcomes, "there must be samples"


def test_dropout_is_the_only_thing_that_a_seed_changes(trained_alexnet, tiny):
    from experiments.mnist import training
    from experiments.protocol.samples import samples_of

    sample = samples_of(*tiny.test.tensors(), training.misclassified(trained_alexnet, tiny), 1)[0]
    problem = Problem(trained_alexnet)

    def weights(seed, training_mode):
        method = SampleDescent(steps=1, learning_rate=1e-6, training_mode=training_mode)
        with problem.trying() as trial:
            method.correct(trial, sample, rng.stream(seed, "method", 0))
            return trial.flat.clone()

    assert torch.equal(weights(0, True), weights(0, True))
    assert not torch.equal(weights(0, True), weights(1, True))
    assert torch.equal(weights(0, False), weights(1, False))
    assert not problem.current.module.training


def test_momentum_is_carried_only_where_asked_for(trained, problem, samples):
    first, second = samples[:2]
    method = SampleDescent(steps=1, carry_momentum=True)
    correction, _ = correct(method, problem, first)
    assert set(correction.carry) == {name for name, _ in trained.named_parameters()}
    with problem.trying() as trial:
        trial.carry = correction.carry
        kept = {name: buffer.clone() for name, buffer in correction.carry.items()}
        method.correct(trial, second, rng.stream(0))
        found = trial.flat.clone()
    assert all(torch.equal(correction.carry[name], kept[name]) for name in kept), (
        "what is handed in is not changed"
    )
    g1, g2 = gradient(trained, first), gradient(trained, second)
    assert torch.allclose(found, flat(trained) - 0.001 * (0.9 * g1 + g2), atol=1e-6)
    assert correct(SampleDescent(steps=1), problem, first)[0].carry is None


def test_an_unknown_tensor_is_named_with_what_there_is(problem, samples):
    with pytest.raises(ValueError, match=r"lin9.weight.*the network has lin1.weight"):
        correct(SampleDescent(steps=1, tensors=("lin9.weight",)), problem, samples[0])


def brute_force_top_k(network, sample, step, first, growth):
    """Try each k of the grid from nothing."""
    g, original = gradient(network, sample), flat(network)
    weights = [
        j for name, s in named_spans(network) if name.endswith("weight") for j in range(s.start, s.stop)
    ]
    ranked = sorted((j for j in weights if g[j] != 0), key=lambda j: (-abs(float(g[j])), j))
    k = min(first, len(ranked))
    while True:
        after = original.clone()
        chosen = ranked[:k]
        after[chosen] = original[chosen] - step * g[chosen]
        if is_right(with_parameters(network, after), sample):
            return k, after
        if k == len(ranked):
            return None, None
        k = min(len(ranked), max(k + 1, math.ceil(k * growth)))


def named_spans(network):
    place = 0
    for name, parameter in network.named_parameters():
        yield name, slice(place, place + parameter.numel())
        place += parameter.numel()


@pytest.mark.parametrize(("first", "growth"), [(1, 1.25), (4, 3.0)])
def test_top_k_is_the_first_k_of_the_grid_that_works(trained, samples, first, growth):
    trained, samples = widened(trained, samples)
    problem, found = Problem(trained), 0
    for sample in samples:
        correction, _ = correct(TopK(first=first, growth=growth), problem, sample)
        k, after = brute_force_top_k(trained, sample, 0.01, first, growth)
        if k is None:
            assert correction.patch is None
            assert "wrong with all" in correction.reason
            continue
        found += 1
        assert correction.altered == k
        moved = flat(trained)
        correction.patch.apply(moved)
        assert torch.allclose(moved, after, atol=1e-12)
    assert found


def test_ties_are_ranked_by_index_however_far_the_ranking_goes():
    from bgd.methods.top_k import Ranking

    magnitude = torch.zeros(5000)
    magnitude[10:4000] = 1.0
    magnitude[[7, 4500]] = 2.0
    ranking = Ranking(magnitude)
    wanted = [7, 4500, *range(10, 4000)]
    assert ranking.between(0, 3).tolist() == wanted[:3]
    assert ranking.between(3, 2000).tolist() == wanted[3:2000]
    assert ranking.between(0, ranking.count).tolist() == wanted


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: SampleDescent(steps=0), "steps=0"),
        (lambda: SampleDescent(steps=1, learning_rate=-1.0), "learning_rate="),
        (lambda: SampleDescent(steps=1, l1=-1.0), "l1="),
        (lambda: TopK(step=0.0), "step="),
        (lambda: TopK(growth=1.0), "growth="),
        (lambda: TopK(first=0), "first="),
    ],
)
def test_options_out_of_range_are_named(make, key):
    with pytest.raises(ValueError, match=key):
        make()
