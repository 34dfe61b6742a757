"""The least harm of a support: closed forms, a general solver, and what cannot be."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from small_tails import (
    WIDE,
    harm_of,
    images_of,
    margin_of,
    network,
    rewritten,
    support_of,
    tail_of,
    target_of,
    wrong_samples,
)

from bgd.methods.least_harm import solve as module
from bgd.methods.least_harm.harm import QuadraticHarm
from bgd.methods.least_harm.solve import Solution, scaled, solve
from bgd.methods.least_harm.target import MARGIN


def test_quadratic_harm_of_one_layer_and_two_classes_has_a_closed_form():
    """There the margin is a line m + a'd: d = (MARGIN - m) F^-1 a / (a'F^-1 a)."""
    made = network((6, 2))
    tail = tail_of(made)
    diagonal = torch.rand(tail.size, generator=torch.Generator().manual_seed(0)).double() + 0.2
    harm = QuadraticHarm(tail, diagonal)
    for sample in wrong_samples(made, 5, (6, 2)):
        target, _ = target_of(made, tail, sample)
        _, a = target.rise(tail.support(torch.arange(0)), torch.empty(0))
        for support in (tail.support(torch.arange(tail.size)), support_of(tail, 1, 4)[0]):
            on = support.indices
            wanted = a[on] / diagonal[on] * (MARGIN - margin_of(made, sample))
            wanted /= float(a[on] @ (a[on] / diagonal[on]))
            found = solve(harm, target, support, torch.zeros(len(on)), 3)
            assert torch.allclose(found.change.double(), wanted, rtol=1e-3, atol=1e-6)
            assert found.cost.value == pytest.approx(0.5 * float(diagonal[on] @ wanted**2), rel=1e-3)


@pytest.mark.parametrize("seed", range(2))
def test_divergence_of_one_layer_and_two_classes_against_a_general_solver(seed):
    """A convex programme: harm is convex in the logits, which are linear in the change, and so is the margin."""
    sizes = (5, 2)
    made, images = network(sizes, seed=seed), images_of(30, sizes)
    tail = tail_of(made)
    harm = harm_of(made, tail, images)
    for sample in wrong_samples(made, 2, sizes):
        target, _ = target_of(made, tail, sample)
        support, _ = support_of(tail, seed, 6)
        found = solve(harm, target, support, torch.zeros(6), 20)
        assert_right(made, tail, sample, found)

        def margin(change, support=support, sample=sample):
            return margin_of(rewritten(made, tail, support, torch.from_numpy(change)), sample) - MARGIN

        best = minimize(
            lambda change, support=support: harm.cost(support, torch.from_numpy(change)).value,
            np.zeros(6),
            constraints={"type": "ineq", "fun": margin},
            method="SLSQP",
            options={"ftol": 1e-12, "maxiter": 300},
        )
        assert best.success
        assert best.fun * (1 - 1e-6) <= found.cost.value <= best.fun * 1.01 + 1e-7


@pytest.mark.parametrize("share", [0.9, 0.5, 0.3])
def test_a_room_is_kept_and_costs_what_a_general_solver_finds_in_it(share):
    """The same convex programme, each parameter held to a share of the largest change that it is free to make."""
    sizes, ended = (5, 2), 0
    for seed in range(4):
        made = network(sizes, seed=seed)
        tail = tail_of(made)
        harm = harm_of(made, tail, images_of(30, sizes))
        for sample in wrong_samples(made, 3, sizes):
            target, _ = target_of(made, tail, sample)
            support, _ = support_of(tail, seed, 6)
            free = solve(harm, target, support, torch.zeros(6), 20)
            most = share * float(free.change.abs().max())
            room = (torch.full((6,), -most).double(), torch.full((6,), most).double())
            found = solve(harm, target, support, torch.zeros(6), 20, room)
            assert found.change.abs().max() <= most * (1 + 1e-6)

            def margin(change, support=support, sample=sample, made=made, tail=tail):
                return margin_of(rewritten(made, tail, support, torch.from_numpy(change)), sample) - MARGIN

            best = minimize(
                lambda change, support=support, harm=harm: harm.cost(support, torch.from_numpy(change)).value,
                np.zeros(6),
                constraints={"type": "ineq", "fun": margin},
                bounds=[(-most, most)] * 6,
                method="SLSQP",
                options={"ftol": 1e-12, "maxiter": 300},
            )
            if np.isinf(found.cost.value):
                ended += 1
                assert not best.success, "with no parameter farther than that the sample stays wrong"
                continue
            assert_right(made, tail, sample, found)
            assert found.cost == harm.cost(support, found.change)
            assert best.fun * (1 - 1e-6) <= found.cost.value <= best.fun * 1.05 + 1e-7
    assert (ended == 12) == (share < 0.5), "so little is not enough for any, half of it for some"


def test_a_room_without_ends_changes_nothing():
    made, images = network(), images_of(30)
    tail = tail_of(made)
    harm = harm_of(made, tail, images)
    for sample in wrong_samples(made, 3):
        target, _ = target_of(made, tail, sample)
        for seed in range(4):
            support, start = support_of(tail, seed, 5)
            wide = torch.full((5,), torch.inf, dtype=torch.float64)
            free, held = (solve(harm, target, support, start, 4, room) for room in (None, (-wide, wide)))
            assert (free is None) == (held is None or np.isinf(held.cost.value))
            if free is not None:
                assert torch.allclose(free.change, held.change, rtol=1e-5)


def assert_right(made, tail, sample, found):
    assert found.change.dtype == torch.float32
    assert margin_of(rewritten(made, tail, found.support, found.change), sample) > 0.5 * MARGIN


@pytest.mark.parametrize(("sizes", "least"), [(WIDE, 5), ((4, 3), 12), ((6, 5, 2), 8)])
def test_what_is_found_is_right_and_costs_what_it_says(sizes, least):
    made, images = network(sizes), images_of(20, sizes)
    tail = tail_of(made)
    harm, found = harm_of(made, tail, images), 0
    for sample in wrong_samples(made, 2, sizes):
        target, _ = target_of(made, tail, sample)
        for seed in range(4):
            support, start = support_of(tail, seed, (1, 3, 8, tail.size)[seed])
            for begin in (torch.zeros(len(support)), start.float()):
                solution = solve(harm, target, support, begin, 4)
                if solution is not None:
                    found += 1
                    assert_right(made, tail, sample, solution)
                    assert solution.support is support
                    assert solution.cost == harm.cost(support, solution.change)
                elif len(sizes) == 2:
                    assert seed < 2, "where all is linear, many parameters are enough"
    assert found >= least


def last_layer(tail):
    """Of which the logits are a linear function: there a solution is always found."""
    return tail.support(torch.arange(tail.layers[-1].start, tail.size))


def test_more_quadratic_programmes_do_less_harm():
    made, images = network(), images_of(30)
    tail = tail_of(made)
    harm, support = harm_of(made, tail, images), last_layer(tail)
    gains = []
    for sample in wrong_samples(made, 4):
        target, _ = target_of(made, tail, sample)
        one, many = (
            solve(harm, target, support, torch.zeros(len(support)), iterations).cost.value
            for iterations in (1, 12)
        )
        assert many <= 1.001 * one
        gains.append(one / many)
    assert max(gains) > 1.1, "curvature is that of where a change leads, not of where it starts"


@pytest.mark.parametrize("size", [3, 20, 74])
def test_both_ways_to_a_step_give_the_same(size, monkeypatch):
    """Direct and by conjugate gradients, near a change, where the slope of harm counts too."""
    made, images = network(), images_of(60)
    tail = tail_of(made)
    harm, sample = harm_of(made, tail, images), wrong_samples(made, 1)[0]
    target, _ = target_of(made, tail, sample)
    support, change = support_of(tail, 0, size)
    change *= 0.2
    model, (margin, rise) = harm.model(support, change), target.rise(support, change)
    monkeypatch.setattr(module, "RESIDUAL", 1e-9)
    monkeypatch.setattr(module, "CONJUGATE", 5000)
    direct, price = module._program(model, support, rise, MARGIN - margin)
    monkeypatch.setattr(module, "DIRECT", 0)
    other, other_price = module._program(model, support, rise, MARGIN - margin)
    assert price > 0
    assert other_price == pytest.approx(price, rel=1e-3)
    # Not the last digits: a floor under the diagonal and the damping of what has none differ.
    assert float((direct - other).norm()) < 0.02 * float(direct.norm())


def test_the_step_is_that_of_the_quadratic_programme():
    """Against all of its conditions: H s + g = lam a on the support, and m + a's = MARGIN where lam is above 0."""
    made, images = network(), images_of(60)
    tail = tail_of(made)
    harm, sample = harm_of(made, tail, images), wrong_samples(made, 1)[0]
    target, _ = target_of(made, tail, sample)
    support, change = support_of(tail, 0, 9)
    model, (margin, rise) = harm.model(support, change), target.rise(support, change)
    g, matrix = model.on(support)
    damped = matrix + module.DAMPING * matrix.diagonal().diag()
    for need in (MARGIN - margin, 5.0, -50.0):
        step, price = module._program(model, support, rise, need)
        a = rise[support.indices]
        assert torch.allclose(damped @ step + g, price * a, atol=1e-6)
        assert float(a @ step) >= need - 1e-9
        assert price == 0 or float(a @ step) == pytest.approx(need, rel=1e-9)
    assert price == 0, "the last one asks for nothing"


def test_conjugate_gradients_as_they_are_run_cost_little_more(monkeypatch):
    made, images = network(), images_of(60)
    tail = tail_of(made)
    harm, support = harm_of(made, tail, images), last_layer(tail)
    for sample in wrong_samples(made, 2):
        costs = []
        for direct in (512, 0):
            monkeypatch.setattr(module, "DIRECT", direct)
            target, _ = target_of(made, tail, sample)
            costs.append(solve(harm, target, support, torch.zeros(len(support)), 12).cost.value)
        assert costs[1] < 1.1 * costs[0]


@pytest.mark.parametrize("direct", [512, 0])
def test_where_nothing_helps_there_is_no_solution(direct, monkeypatch):
    monkeypatch.setattr(module, "DIRECT", direct)
    made, images = network(), images_of(20)
    with torch.no_grad():
        made.lin1.bias[2] = -1e3
    tail = tail_of(made)
    target, _ = target_of(made, tail, wrong_samples(made, 1)[0])
    dead = tail.support(torch.arange(2 * WIDE[0], 3 * WIDE[0]))
    none = tail.support(torch.arange(0))
    for harm in (harm_of(made, tail, images), QuadraticHarm(tail, torch.ones(tail.size).double())):
        assert solve(harm, target, dead, torch.zeros(len(dead)), 4) is None
        assert solve(harm, target, none, torch.zeros(0), 4) is None


@pytest.mark.parametrize("direct", [512, 0])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_is_not_finite_has_no_solution(direct, value, monkeypatch):
    monkeypatch.setattr(module, "DIRECT", direct)
    made, images = network(), images_of(20)
    sample = wrong_samples(made, 1)[0]
    with torch.no_grad():
        made.lin3.weight.fill_(value)
    tail = tail_of(made)
    target, _ = target_of(made, tail, sample)
    harm, whole = harm_of(made, tail, images), tail.support(torch.arange(tail.size))
    assert solve(harm, target, whole, torch.zeros(tail.size), 4) is None


def test_a_change_is_scaled_or_refused():
    made, images = network(), images_of(20)
    tail = tail_of(made)
    harm, sample = harm_of(made, tail, images), wrong_samples(made, 1)[0]
    target, _ = target_of(made, tail, sample)
    bias = tail.support(torch.tensor([tail.size - WIDE[-1] + int(sample.label)]))
    need = MARGIN - margin_of(made, sample)
    found = scaled(harm, target, bias, torch.tensor([need / 2]))
    assert isinstance(found, Solution)
    assert float(found.change[0]) == pytest.approx(need, rel=1e-3)
    for value in (0.0, float("nan"), float("inf"), -1.0):
        assert scaled(harm, target, bias, torch.tensor([value])) is None
