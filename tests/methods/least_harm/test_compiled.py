"""Compiled code against its oracles in torch: the harm of changes, its models, the sample's margins, whole searches."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles import flat
from small_tails import WIDE, harm_of, images_of, network, posed, support_of, tail_of, wrong_samples

from bgd import rng
from bgd.methods.base import Problem, Sample
from bgd.methods.least_harm import harm as harms, search as searches
from bgd.methods.least_harm.compiled import FEW, CompiledDivergence
from bgd.methods.least_harm.compiled_protect import CompiledProtection
from bgd.methods.least_harm.compiled_target import LOOKS, CompiledTarget
from bgd.methods.least_harm.harm import Divergence
from bgd.methods.least_harm.lanes import LANES, _exp
from bgd.methods.least_harm.protect import Protection
from bgd.methods.least_harm.search import LeastHarm
from bgd.methods.least_harm.tail import Edited
from bgd.methods.least_harm.target import Target

SHAPES = [(WIDE, True), (WIDE, False), ((4, 3), True), ((7, 6, 5, 4, 3), True)]
COUNT = LANES + 37  # images: a whole lot, and a part of one


def close(found, wanted, tolerance=1e-4):
    return torch.allclose(found, wanted, rtol=tolerance, atol=tolerance * float(wanted.abs().max()))


def pair(sizes, bias, active, seed=0):
    """The compiled harm of a network and its oracle, in float32, from the outputs of another network."""
    made, images = network(sizes, bias, seed, torch.float32), images_of(COUNT, sizes, dtype=torch.float32)
    with torch.no_grad():
        before = network(sizes, bias, seed, torch.float32)(images + 0.01)
    tail, weights = tail_of(made), tail_of(made).weights(flat(made))
    compiled = CompiledDivergence(tail, weights, tail.inputs(images), before.T, active)
    return tail, compiled, harm_of(made, tail, images, active, before)


def test_the_exponential_is_right_to_two_units_in_the_last_place():
    x = np.concatenate([-np.logspace(-8, np.log10(86), 5000), [0.0, -87.0, -1e30, -np.inf]]).astype(
        np.float32
    )
    found = np.array([_exp(each) for each in x])
    wanted = np.exp(np.maximum(x, -86.0).astype(np.float64))
    assert np.abs(found / wanted - 1).max() < 2 * np.finfo(np.float32).eps


@pytest.mark.parametrize(("sizes", "bias"), SHAPES)
@pytest.mark.parametrize("active", [60, COUNT])
def test_harm_and_its_models_are_those_of_the_oracle(sizes, bias, active):
    tail, compiled, oracle = pair(sizes, bias, active)
    for seed, size in enumerate((0, 1, 2, 5, 9)):
        support, change = support_of(tail, seed, size)
        found, wanted = compiled.cost(support, change), oracle.cost(support, change)
        assert found.value == pytest.approx(wanted.value, rel=1e-4, abs=1e-7)
        assert abs(found.flips - wanted.flips) <= ties(oracle, support, change), "a tie may go either way"
        found, wanted = compiled.model(support, change), oracle.model(support, change)
        some, _ = support_of(tail, seed + 10, 4)
        assert close(found.gradient(), wanted.gradient())
        assert close(found.diagonal(), wanted.diagonal())
        assert close(found.columns(some), wanted.columns(some))
        assert all(close(one, other) for one, other in zip(found.on(some), wanted.on(some), strict=True))
        vector = torch.from_numpy(np.random.default_rng(seed).normal(size=tail.size)).float()
        assert close(found.multiply(vector), wanted.multiply(vector))


@pytest.mark.parametrize(("sizes", "bias"), SHAPES)
@pytest.mark.parametrize("count", [1, COUNT])
@pytest.mark.parametrize("lead", [0.7, -100.0], ids=["short", "not short"])
def test_what_protects_earlier_samples_is_that_of_the_oracle(sizes, bias, count, lead):
    made = network(sizes, bias, dtype=torch.float32)
    tail, weights = tail_of(made), tail_of(made).weights(flat(made))
    asked = tail, weights, wrong_samples(made, count, sizes), 0.1, lead
    compiled, oracle = CompiledProtection(*asked), Protection(*asked)
    for seed, size in enumerate((0, 1, 2, 5, 9)):
        support, change = support_of(tail, seed, size)
        assert compiled.value(support, change) == pytest.approx(
            oracle.value(support, change), rel=1e-4, abs=1e-7
        )
        found, wanted = compiled.model(support, change), oracle.model(support, change)
        some, _ = support_of(tail, seed + 10, 4)
        vector = torch.from_numpy(np.random.default_rng(seed).normal(size=tail.size)).float()
        assert close(found.gradient(), wanted.gradient())
        assert close(found.diagonal(), wanted.diagonal())
        assert close(found.columns(some), wanted.columns(some))
        assert close(found.multiply(vector), wanted.multiply(vector))
        assert all(close(one, other) for one, other in zip(found.on(some), wanted.on(some), strict=True))


def ties(oracle, support, change):
    """The share of images on which the class so far is as large as the largest other one, but for rounding."""
    logits = Edited(oracle.activations, oracle.weights, support, change).logits
    own = logits.gather(0, oracle._predictions)
    rivals = logits.scatter(0, oracle._predictions, -torch.inf).amax(0)
    return float(((own - rivals).abs() < 1e-5).double().mean()) + 1e-12


def test_of_a_cost_above_the_bound_no_more_is_known():
    tail, compiled, oracle = pair(WIDE, True, COUNT)
    for seed in range(20):
        support, change = support_of(tail, seed, 3)
        value = oracle.cost(support, change).value
        assert compiled.cost(support, change, 0.5 * value).value > 0.5 * value
        assert compiled.cost(support, change, 2 * value).value == pytest.approx(value, rel=1e-4)
        assert compiled.cost(support, change).value == pytest.approx(value, rel=1e-4), (
            "nothing cut short is kept"
        )


@pytest.mark.parametrize("value", [float("inf"), float("nan"), float("-inf"), 3e38])
def test_harm_is_infinite_where_a_logit_is_not_finite(value):
    tail, compiled, oracle = pair(WIDE, True, COUNT)
    for index in (0, tail.size - 1):
        change = torch.tensor([value]).double()
        support = tail.support(torch.tensor([index]))
        assert compiled.cost(support, change).value == oracle.cost(support, change).value or (
            value == 3e38 and compiled.cost(support, change).value > 1e3
        )


@pytest.mark.parametrize(("sizes", "bias"), SHAPES)
@pytest.mark.parametrize("offset", [False, True])
def test_margins_of_the_sample_are_those_of_the_oracle(sizes, bias, offset):
    made = network(sizes, bias, dtype=torch.float32)
    tail = tail_of(made)
    for sample in wrong_samples(made, 3, sizes):
        if offset:
            sample = replace(sample, offset=torch.linspace(-0.5, 0.5, sizes[-1]))
        with Problem(made).trying() as trial:
            weights = tail.weights(trial.original)
            found, wanted = (kind(trial, tail, weights, sample) for kind in (CompiledTarget, Target))
            for seed, size in enumerate((0, 1, 4, 9)):
                support, change = support_of(tail, seed, size)
                assert found.softened(support, change) == pytest.approx(
                    wanted.softened(support, change), rel=1e-4, abs=1e-4
                )
                (margin, rise), (other, oracle) = found.rise(support, change), wanted.rise(support, change)
                assert margin == pytest.approx(other, rel=1e-4, abs=1e-4)
                assert torch.allclose(rise, oracle, rtol=1e-3, atol=1e-4)
                if size:
                    assert_same_multiple(wanted, trial, found, support, oracle[support.indices])
            singles = torch.arange(0, tail.size, 2)
            steps = oracle[singles].double() + 0.1
            one, other = found.smallest_alone(singles, steps), wanted.smallest_alone(singles, steps)
            assert torch.equal(torch.isfinite(one), torch.isfinite(other))
            some = torch.isfinite(one)
            assert torch.allclose(one[some], other[some], rtol=1e-3)


def assert_same_multiple(wanted, trial, found, support, change):
    before = trial.forward_passes
    one = found.smallest(support, change)
    assert trial.forward_passes == before + LOOKS
    other = wanted.smallest(support, change)
    assert trial.forward_passes == before + 2 * LOOKS
    assert (one is None) == (other is None)
    if one is not None:
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-6), "within a step of the grid"


def test_a_change_of_many_parameters_is_left_to_the_oracle():
    sizes = (30, 20, 3)
    tail, compiled, oracle = pair(sizes, True, COUNT)
    support, change = support_of(tail, 0, FEW + 1)
    assert compiled.cost(support, change) == oracle.cost(support, change)
    made = network(sizes, dtype=torch.float32)
    asked = tail, tail.weights(flat(made)), wrong_samples(made, 5, sizes), 0.1, 0.7
    found, wanted = (kind(*asked).value(support, change) for kind in (CompiledProtection, Protection))
    assert found == wanted


@pytest.mark.parametrize(
    "options", [{"budget": 5}, {"budget": 3}, {"budget": 8, "growth": 1.0, "tries": 1}, {"budget": None}]
)
def test_a_whole_search_finds_what_it_finds_by_the_oracles(options, monkeypatch):
    """Its parts agree to rounding (above), which the iteration of `solve` multiplies: of like harm then."""
    method = LeastHarm(price=Divergence(COUNT, 100), tolerance=0.0, **options)
    same = 0
    for seed in range(3):
        made, images = network(seed=seed, dtype=torch.float32), images_of(COUNT, dtype=torch.float32)
        tail = tail_of(made)
        for sample in wrong_samples(made, 3):
            found = corrected(method, posed(made, images), sample)
            with monkeypatch.context() as patch:
                patch.setattr(harms, "is_compiled", lambda weights: False)
                patch.setattr(searches, "is_compiled", lambda weights: False)
                wanted = corrected(method, posed(made, images), sample)
            assert (found.patch is None) == (wanted.patch is None)
            if found.patch is None or torch.equal(found.patch.indices, wanted.patch.indices):
                same += found.patch is None or torch.allclose(
                    found.patch.new, wanted.patch.new, rtol=1e-2, atol=1e-2
                )
                continue
            one, other = (
                harm_of(made, tail, images).cost(tail.support(each.indices), each.new - each.old).value
                for each in (found.patch, wanted.patch)
            )
            assert one == pytest.approx(other, rel=0.1, abs=1e-6)
    assert same >= 6, "of 9"


def corrected(method, problem, sample: Sample):
    with problem.trying() as trial:
        return method.correct(trial, sample, rng.stream(0))
