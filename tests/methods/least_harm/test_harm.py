"""Harm and its models, against divergences image by image and derivatives by autograd."""

import pytest
import torch
from conftest import known
from oracles import flat
from small_tails import (
    WIDE,
    divergence,
    harm_of,
    images_of,
    jacobian,
    network,
    rewritten,
    run,
    support_of,
    tail_of,
    vector_of,
)

from bgd import rng
from bgd.curvature.diagonal import EmpiricalFisher
from bgd.curvature.kfac import KFAC
from bgd.methods.base import Problem
from bgd.methods.least_harm.harm import FLOOR, Distance, Divergence, DivergenceHarm, QuadraticHarm, Statistic
from bgd.methods.least_harm.kronecker import KroneckerHarm
from bgd.methods.least_harm.tail import Activations
from bgd.parameters import ParameterSpace

SHAPES = [(WIDE, True), (WIDE, False), ((4, 3), True)]
NONE = torch.empty(0, dtype=torch.long)


def close(found, wanted, rtol=1e-9):
    return found.shape == wanted.shape and torch.allclose(found, wanted, rtol=rtol, atol=1e-12)


class Explicit:
    """Gradient g and Gauss-Newton matrix H of the mean divergence at an edit, over all images or some."""

    def __init__(self, made, tail, images, support, change, active=None):
        vector = vector_of(made, tail, support, change)
        with torch.no_grad():
            q, p = made(images).softmax(1), run(made, tail, vector, images).softmax(1)
        if active is not None:
            weight = [float((a - b).abs().sum() + (a * (1 - a)).sum()) for a, b in zip(p, q, strict=True)]
            self.chosen = sorted(range(len(images)), key=lambda n: -weight[n])[:active]
        else:
            self.chosen = list(range(len(images)))
        p, q, each = p[self.chosen], q[self.chosen], jacobian(made, tail, vector, images[self.chosen])
        metric = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        self.gradient = torch.einsum("ncp,nc->p", each, p - q) / len(images)
        self.matrix = torch.einsum("ncp,ncd,ndq->pq", each, metric, each) / len(images)


@pytest.mark.parametrize(("sizes", "bias"), SHAPES)
@pytest.mark.parametrize("size", [0, 1, 5, 15])
def test_the_toll_is_the_mean_divergence_and_the_share_of_flips(sizes, bias, size):
    made, images = network(sizes, bias), images_of(40, sizes)
    tail = tail_of(made)
    for seed in range(3):
        support, change = support_of(tail, seed, min(size, tail.size))
        cost = harm_of(made, tail, images).cost(support, change)
        with torch.no_grad():
            before, after = made(images), rewritten(made, tail, support, change)(images)
        assert cost.value == pytest.approx(divergence(before, after), rel=1e-9, abs=1e-14)
        leads = after - after.gather(1, before.argmax(1, keepdim=True))
        leads.scatter_(1, before.argmax(1, keepdim=True), -torch.inf)
        clear, at_most = (int((leads.amax(1) > by).sum()) / 40 for by in (1e-9, -1e-9))
        assert clear - 1e-12 <= cost.flips <= at_most + 1e-12, (
            "a network without biases may tie, all logits 0"
        )
        assert (cost.value > 1e-12) == bool(size)


def test_after_a_correction_the_toll_still_counts_from_the_first_network():
    first, images = network(seed=0), images_of(20)
    now, tail = network(seed=3), tail_of(network())
    with torch.no_grad():
        before, after = first(images), now(images)
    harm = harm_of(now, tail, images, before=before)
    cost = harm.cost(tail.support(NONE), torch.empty(0))
    assert cost.value == pytest.approx(divergence(before, after), rel=1e-9)
    flips = float((before.argmax(1) != after.argmax(1)).double().mean())
    assert cost.flips == pytest.approx(flips, abs=1e-12)
    assert flips > 0


@pytest.mark.parametrize(("sizes", "bias"), SHAPES)
def test_the_gradient_is_that_of_the_toll(sizes, bias):
    made, images = network(sizes, bias), images_of(20, sizes)
    tail = tail_of(made)
    support, change = support_of(tail, 1, 6)
    vector = vector_of(made, tail, support, change).requires_grad_()
    q, z = made(images).detach().softmax(1), run(made, tail, vector, images)
    value = (q * (q.log() - z.log_softmax(1))).sum(1).mean()
    (wanted,) = torch.autograd.grad(value, vector)
    harm = harm_of(made, tail, images)
    assert harm.cost(support, change).value == pytest.approx(float(value.detach()), rel=1e-9)
    assert close(harm.model(support, change).gradient(), wanted)


def assert_is_explicit(model, tail, explicit, floor=FLOOR):
    """All that a model gives, against g and H."""
    g, matrix = explicit.gradient, explicit.matrix
    assert close(model.gradient(), g)
    own = matrix.diagonal()
    assert close(model.diagonal(), own.clamp_min(floor * float(own.mean())))
    vector = torch.randn(tail.size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert close(model.multiply(vector), matrix @ vector)
    support, _ = support_of(tail, 9, 7)
    assert close(model.columns(support), matrix[support.indices])
    found_g, found = model.on(support)
    assert found_g.dtype == found.dtype == torch.float64
    assert close(found_g, g[support.indices])
    assert close(found, matrix[support.indices][:, support.indices])


@pytest.mark.parametrize(("sizes", "bias"), SHAPES)
@pytest.mark.parametrize("size", [0, 5])
def test_the_model_is_gauss_newton(sizes, bias, size):
    made, images = network(sizes, bias), images_of(20, sizes)
    tail = tail_of(made)
    support, change = support_of(tail, 1, size)
    model = harm_of(made, tail, images).model(support, change)
    assert_is_explicit(model, tail, Explicit(made, tail, images, support, change))


def test_near_no_change_the_model_is_the_toll_to_second_order():
    made, images = network(), images_of(20)
    tail = tail_of(made)
    harm, (support, change) = harm_of(made, tail, images), support_of(tail, 2, 8)
    g, matrix = harm.model(tail.support(NONE), torch.empty(0)).on(support)
    assert g.abs().max() < 1e-15, "without a change there is no slope"
    for size in (1e-3, 1e-4):
        small = size * change
        wanted = 0.5 * float(small @ matrix @ small)
        assert harm.cost(support, small).value == pytest.approx(wanted, rel=20 * size)


@pytest.mark.parametrize("size", [0, 5])
@pytest.mark.parametrize("active", [1, 6, 19, 20, 100])
def test_active_images_are_the_least_certain_and_most_moved_and_stand_for_all(size, active):
    """Exactly the sum over those, divided by the number of all: a part of H, never more than H."""
    made, images = network(), images_of(20)
    tail = tail_of(made)
    support, change = support_of(tail, 1, size)
    harm = harm_of(made, tail, images, active)
    model = harm.model(support, change)
    part, whole = (
        Explicit(made, tail, images, support, change, active),
        Explicit(made, tail, images, support, change),
    )
    assert len(part.chosen) == min(active, 20)
    assert_is_explicit(model, tail, part)
    assert torch.linalg.eigvalsh(whole.matrix - part.matrix).min() > -1e-9
    assert harm.cost(support, change) == harm_of(made, tail, images).cost(support, change), "costs are of all"


def test_half_of_the_images_hold_most_of_the_curvature_where_outputs_are_certain():
    made, images = network(), images_of(40)
    with torch.no_grad():
        made.lin3.weight.mul_(8)
    tail = tail_of(made)
    none = tail.support(NONE), torch.empty(0)
    part, whole = (float(harm_of(made, tail, images, n).model(*none).diagonal().sum()) for n in (20, 40))
    assert 0.9 * whole < part < whole


def test_float32_is_float64_but_for_rounding():
    made, images = network(), images_of(20)
    tail = tail_of(made)
    support, change = support_of(tail, 1, 5)
    narrow = network(dtype=torch.float32)
    fine, rough = harm_of(made, tail, images), harm_of(narrow, tail_of(narrow), images.float())
    assert rough.cost(support, change).value == pytest.approx(fine.cost(support, change).value, rel=1e-4)
    one, other = fine.model(support, change), rough.model(support, change)
    assert torch.allclose(one.gradient(), other.gradient().double(), atol=1e-5)
    assert torch.allclose(one.diagonal(), other.diagonal().double(), rtol=1e-3)


def test_a_parameter_that_moves_nothing_is_not_free():
    made, images = network(), images_of(20)
    with torch.no_grad():
        made.lin1.bias[2] = -1e3
    tail = tail_of(made)
    diagonal = harm_of(made, tail, images).model(tail.support(NONE), torch.empty(0)).diagonal()
    dead = slice(2 * WIDE[0], 3 * WIDE[0])
    assert (diagonal[dead] == diagonal[dead][0]).all()
    assert float(diagonal.min()) == pytest.approx(FLOOR * float(diagonal.mean()), rel=0.05)
    with torch.no_grad():
        for layer in (made.lin1, made.lin2, made.lin3):
            layer.weight.zero_()
            layer.bias.fill_(-1.0)
        made.lin3.bias[0] = 1e4  # certain: no parameter has any curvature
    flat_model = harm_of(made, tail, images).model(tail.support(NONE), torch.empty(0))
    assert torch.equal(flat_model.diagonal(), torch.ones(tail.size).double())


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 3e38])
def test_logits_that_are_not_finite_have_an_infinite_toll(value):
    made, images = network(dtype=torch.float32), images_of(20, dtype=torch.float32)
    tail = tail_of(made)
    harm = harm_of(made, tail, images)
    everything = tail.support(torch.arange(tail.size))
    change = torch.zeros(tail.size)
    change[tail.layers[2].start :] = value
    cost = harm.cost(everything, change)
    assert (cost.value, cost.flips) == (float("inf"), 1.0)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_one_logit_of_one_image_is_enough_for_an_infinite_toll(value):
    made, images = network(), images_of(20)
    harm = harm_of(made, tail_of(made), images)
    with torch.no_grad():
        logits = made(images).T.contiguous()
    assert harm.toll_of(logits).value == pytest.approx(0, abs=1e-12)
    logits[1, 7] = value
    assert harm.toll_of(logits).value == float("inf")


def test_a_first_network_that_is_not_finite_has_no_tolerable_change():
    made, images = network(), images_of(20)
    before = made(images).detach()
    before[3, 1] = float("nan")
    tail = tail_of(made)
    support, change = support_of(tail, 0, 2)
    assert harm_of(made, tail, images, before=before).cost(support, change).value == float("inf")


def test_quadratic_harm_is_exact_and_its_own_model():
    tail = tail_of(network())
    diagonal = torch.rand(tail.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.1
    harm, (support, change) = QuadraticHarm(tail, diagonal), support_of(tail, 0, 6)
    wanted = sum(0.5 * float(diagonal[j] * d * d) for j, d in zip(support.indices, change, strict=True))
    cost, model = harm.cost(support, change), harm.model(support, change)
    assert (cost.value, cost.flips) == (pytest.approx(wanted, rel=1e-12), 0.0)
    g = torch.zeros(tail.size).double()
    g[support.indices] = diagonal[support.indices] * change
    matrix = diagonal.diag()
    other, step = support_of(tail, 1, 9)
    assert close(model.gradient(), g)
    assert close(model.diagonal(), diagonal)
    assert close(model.multiply(g + 1), matrix @ (g + 1))
    assert close(model.columns(other), matrix[other.indices])
    found_g, found = model.on(other)
    assert close(found_g, g[other.indices])
    assert close(found, matrix[other.indices][:, other.indices])
    own_g, own = model.on(support)  # v(d + s) = v(d) + g's + s'Hs / 2, for any s
    step = step[:6]
    moved = cost.value + float(own_g @ step + 0.5 * step @ own @ step)
    assert harm.cost(support, change + step).value == pytest.approx(moved, rel=1e-12)


@pytest.mark.parametrize(("sizes", "bias"), SHAPES)
def test_kronecker_harm_is_its_matrix(sizes, bias, monkeypatch):
    """H of a layer as a matrix over its parameters: A over inputs times G over outputs, 0 between layers."""
    made, images = network(sizes, bias), images_of(30, sizes)
    space, tail = ParameterSpace.of(made), tail_of(made)
    curvature = KFAC(images=30).estimate(made, space, images, torch.zeros(30).long(), rng.stream(0))
    harm = KroneckerHarm(tail, curvature.blocks)
    whole, matrix = tail.support(torch.arange(tail.size)), torch.zeros(tail.size, tail.size).double()
    for i in range(tail.size):
        for j in range(tail.size):
            if whole.layer[i] == whole.layer[j]:
                block = curvature.blocks[int(whole.layer[i])]
                matrix[i, j] = (
                    block.inputs[whole.column[i], whole.column[j]]
                    * block.outputs[whole.unit[i], whole.unit[j]]
                )
    matrix += FLOOR * matrix.diagonal().mean() * torch.eye(tail.size)
    support, change = support_of(tail, 0, 6)
    vector = vector_of(made, tail, support, change) - vector_of(made, tail)
    cost, model, on = harm.cost(support, change), harm.model(support, change), support_of(tail, 1, 7)[0]
    assert cost.value == pytest.approx(0.5 * float(vector @ matrix @ vector), rel=1e-9)
    assert cost.flips == 0
    assert close(model.gradient(), matrix @ vector)
    assert close(model.diagonal(), matrix.diagonal())
    assert close(model.multiply(vector), matrix @ vector)
    assert close(model.columns(on), matrix[on.indices])
    assert model.columns(tail.support(NONE)).numel() == 0
    monkeypatch.setattr("bgd.methods.least_harm.kronecker.HELD", 0)  # factors alone, as for a large support
    assert harm.cost(support, change).value == pytest.approx(cost.value, rel=1e-6)
    assert close(model.on(on)[0], (matrix @ vector)[on.indices])
    assert close(model.on(on)[1], matrix[on.indices][:, on.indices])


PRICES = {
    "nothing": Distance(),
    "statistic": Statistic(EmpiricalFisher(images=50)),
    "keep_set": Divergence(60, 20),
    "training_data": Divergence(60, 20, training=True),
}
LEVELS = list(PRICES)


@pytest.mark.parametrize("needs", LEVELS)
@pytest.mark.parametrize("level", LEVELS)
def test_a_price_above_what_may_be_known_is_refused(needs, level, problem):
    problem.knowledge = problem.knowledge.restricted(level)
    with problem.trying() as trial:
        tail = tail_of(trial.network, 200)
        weights = tail.weights(trial.original)
        if LEVELS.index(needs) > LEVELS.index(level):
            with pytest.raises(LookupError, match=f"knows='{level}' rules that out: '{needs}' would not"):
                PRICES[needs].harm(trial, tail, weights)
            return
        harm = PRICES[needs].harm(trial, tail, weights)
        support, change = support_of(tail, 0, 3)
        cost, size = harm.cost(support, change), len(harm.model(support, change).diagonal())
    assert 0 < cost.value < float("inf")
    assert size == tail.size


@pytest.mark.parametrize("needs", ["keep_set", "training_data"])
def test_the_images_are_the_ones_named(needs, problem, trained, tiny):
    images = {
        "keep_set": tiny.held_out.tensors()[0],
        "training_data": tiny.train.tensors()[0],
    }[needs][:60]
    with problem.trying() as trial:
        tail = tail_of(trial.network, 200)
        harm = PRICES[needs].harm(trial, tail, tail.weights(trial.original))
        support, change = support_of(tail, 0, 3)
        with torch.no_grad():
            wanted = divergence(trained(images), rewritten(trained, tail, support, change)(images))
        assert harm.cost(support, change).value == pytest.approx(wanted, rel=1e-4)


def test_the_statistic_is_the_estimated_diagonal(problem, trained, tiny):
    estimator = EmpiricalFisher(images=50)
    with problem.trying() as trial:
        tail = tail_of(trial.network, 200)
        harm = Statistic(estimator).harm(trial, tail, tail.weights(trial.original))
        found = harm.model(tail.support(NONE), torch.empty(0)).diagonal()
    curvature = known(trained, tiny).curvature(estimator)
    wanted = curvature.diagonal()[tail.places]
    assert torch.equal(found, wanted.clamp_min(FLOOR * float(wanted.mean())))
    assert (found > 0).all()


def test_a_price_counts_from_the_network_before_any_correction(trained, tiny):
    """What is kept from sample to sample: the outputs of N0 for good, activations until the tail changes."""
    problem, price = Problem(trained, known(trained, tiny)), Divergence(60, 60)
    images = tiny.held_out.tensors()[0][:60]
    with torch.no_grad():
        before = trained(images)
    for seed in range(3):
        with problem.trying() as trial:
            tail = tail_of(trial.network, 200)
            support, change = support_of(tail, seed, 3)
            weights = tail.weights(trial.original)
            harm = price.harm(trial, tail, weights)
            now = Activations(tail.inputs(images), weights).logits
            assert torch.allclose(torch.from_numpy(harm.base[-10:]), now[:, harm.order], atol=1e-5)
            trial.flat[tail.places[support.indices]] += change.float()
            with torch.no_grad():
                wanted = divergence(before, trial.network(images))
            assert harm.cost(support, change).value == pytest.approx(wanted, rel=1e-4)
            patch = trial.patch()
        problem.advance(patch)
    assert not torch.equal(flat(problem.current.module), flat(trained))


@pytest.mark.parametrize("key", ["images", "active"])
def test_a_count_below_one_is_refused(key):
    with pytest.raises(ValueError, match=f"{key}=0: must be at least 1"):
        Divergence(**{"images": 5, "active": 5, key: 0})


def test_harm_of_a_network_is_a_harm_of_its_tail_alone(trained_alexnet, tiny):
    """With convolutions before it: the cost of an edit of lin3 is what the whole network shows."""
    images = tiny.held_out.tensors()[0][:30]
    tail = tail_of(trained_alexnet, 20000)
    weights = tail.weights(flat(trained_alexnet))
    activations = Activations(tail.inputs(images), weights)
    harm = DivergenceHarm(tail, weights, activations, activations.logits, 10)
    support, change = support_of(tail, 0, 5)
    with torch.no_grad():
        wanted = divergence(
            trained_alexnet(images), rewritten(trained_alexnet, tail, support, change)(images)
        )
    # Of logits in float32 that differ by some 0.01: units in their last place are up to 1e-3 of such a divergence.
    assert harm.cost(support, change).value == pytest.approx(wanted, rel=1e-2)
