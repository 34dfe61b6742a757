"""Iterative hard thresholding: at most k parameters, right, and no worse for its exchanges."""

from dataclasses import replace

import pytest
import torch
from conftest import known
from oracles import flat, is_right, with_parameters

from bgd import rng
from bgd.methods.base import Problem, Sample
from bgd.methods.hard_threshold import HardThreshold
from bgd.methods.least_harm.harm import Distance, Divergence
from bgd.methods.least_harm.search import terms_of
from bgd.methods.least_harm.tail import Tail

PLAIN = HardThreshold(Divergence(200, 200, training=True), 5, 2, 200, 4)


@pytest.fixture(scope="module")
def shared(trained, tiny):
    return Problem(trained, known(trained, tiny))


def corrected(method, problem, sample):
    """The correction, with the network checked to be as it was, bit for bit."""
    before = problem.current.flat.clone()
    with problem.trying() as trial:
        correction = method.correct(trial, sample, rng.stream(0, "method", sample.index))
    assert torch.equal(problem.current.flat.view(torch.int32), before.view(torch.int32))
    assert trial.forward_passes >= correction.steps >= 1
    return correction


def assert_right(network, correction, sample):
    after = flat(network)
    correction.patch.apply(after)
    assert is_right(with_parameters(network, after), sample)


@pytest.mark.parametrize("budget", [2, 5, 20])
def test_no_more_than_k_parameters_make_the_sample_right(budget, shared, trained, samples):
    found = 0
    for sample in samples[:5]:
        correction = corrected(replace(PLAIN, budget=budget), shared, sample)
        if correction.patch is None:
            words = f"wrong after a change of at most {budget} parameters"
            assert correction.reason.startswith(words)
            continue
        found += 1
        assert 1 <= len(correction.patch) == correction.altered <= budget
        assert 2 <= correction.steps <= PLAIN.rounds + 2
        assert_right(trained, correction, sample)
    assert found >= (2 if budget == 2 else 4)


def test_without_a_budget_the_solution_is_dense(shared, trained, samples):
    found = 0
    for sample in samples[:5]:
        correction = corrected(replace(PLAIN, budget=None), shared, sample)
        whole = corrected(replace(PLAIN, budget=10**6), shared, sample)
        assert (correction.patch is None) == (whole.patch is None)
        if correction.patch is None:
            assert correction.reason == "wrong after any change of the last layers that was looked at"
            continue
        found += 1
        assert torch.equal(correction.patch.new, whole.patch.new)
        assert len(correction.patch) > 100
        assert correction.steps == 1
        assert_right(trained, correction, sample)
    assert found >= 4


def harm_of_correction(problem, sample, correction):
    with problem.trying() as trial:
        terms = terms_of(trial, sample, PLAIN.price, PLAIN.scope)
        places = terms.tail.places.tolist()
        indices = torch.tensor([places.index(index) for index in correction.patch.indices.tolist()])
        change = correction.patch.new - correction.patch.old
        return terms.harm.cost(terms.tail.support(indices), change).value


def test_exchanges_never_make_it_worse_and_sometimes_better(shared, samples):
    better = 0
    for sample in samples[:6]:
        costs = []
        for rounds in (0, 2):
            correction = corrected(replace(PLAIN, rounds=rounds), shared, sample)
            costs.append(harm_of_correction(shared, sample, correction) if correction.patch else 1e9)
        assert costs[1] <= costs[0] * (1 + 1e-4) + 1e-9
        better += costs[1] < 0.99 * costs[0]
    assert better


def test_the_same_again(shared, trained, tiny, samples):
    other, found = Problem(trained, known(trained, tiny)), 0
    for sample in reversed(samples[:3]):
        one, two = corrected(PLAIN, shared, sample), corrected(PLAIN, other, sample)
        assert (one.steps, one.reason) == (two.steps, two.reason)
        if one.patch is None:
            continue
        found += 1
        assert torch.equal(one.patch.indices, two.patch.indices)
        assert torch.equal(one.patch.new, two.patch.new)
    assert found
    assert not PLAIN.draws(trained)


def test_knowing_nothing_it_keeps_the_parameters_that_move_the_sample_most(trained, samples):
    """Of one layer and by distance: the dense solution is a multiple of a, and so is its best part."""
    problem, sample = Problem(trained), samples[0]
    method = replace(PLAIN, price=Distance(), budget=4, scope=1, rounds=0, iterations=1)
    correction = corrected(method, problem, sample)
    with problem.trying() as trial:
        tail = Tail(trial.network, trial.space, 1, sample.image)
        terms = terms_of(trial, sample, Distance(), 1)
        _, rise = terms.target.rise(tail.support(torch.arange(0)), torch.empty(0))
    assert set(correction.patch.indices.tolist()) <= set(tail.places[rise.abs().topk(6).indices].tolist())


def test_a_network_without_a_way_is_a_failure_in_words(trained, tiny, samples):
    broken = with_parameters(trained, torch.full_like(flat(trained), float("nan")))
    images = tiny.train.tensors()[0][:20]
    problem = Problem(broken, replace(known(broken, tiny), training=lambda: (images, torch.zeros(20))))
    for budget in (3, None):
        correction = corrected(replace(PLAIN, budget=budget), problem, replace(samples[0], index=0))
        assert (correction.patch, correction.altered) == (None, 0)
        assert correction.reason.startswith("wrong after")


def test_a_dead_network_is_corrected_by_its_output_bias(trained, tiny):
    dead = with_parameters(trained, torch.zeros_like(flat(trained)))
    sample = Sample(0, tiny.test.tensors()[0][:1], torch.tensor([3]))
    problem = Problem(dead, known(dead, tiny))
    for budget in (1, 4):
        correction = corrected(replace(PLAIN, budget=budget), problem, sample)
        assert correction.patch.tensors == ["lin3.bias"]
        assert_right(dead, correction, sample)


@pytest.mark.parametrize("key", ["budget", "scope", "iterations", "rounds"])
def test_an_option_out_of_range_is_named(key):
    value = -1 if key == "rounds" else 0
    with pytest.raises(ValueError, match=f"{key}={value}: must be at least"):
        replace(PLAIN, **{key: value})
