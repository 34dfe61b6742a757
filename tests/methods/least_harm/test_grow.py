"""Which parameters to change: against every one there is."""

import numpy as np
import pytest
import torch
from small_tails import (
    WIDE,
    divergence,
    harm_of,
    images_of,
    network,
    rewritten,
    run,
    support_of,
    tail_of,
    target_of,
    vector_of,
    wrong_samples,
)

from bgd.methods.base import Sample
from bgd.methods.least_harm import grow as module
from bgd.methods.least_harm.grow import DAMPING, SCHUR, additions, alone
from bgd.methods.least_harm.harm import QuadraticHarm
from bgd.methods.least_harm.solve import solve
from bgd.methods.least_harm.target import MARGIN, MULTIPLES

HOPELESS = 1e40  # value of a programme whose parameters do not move the sample: above every other


def programme(matrix, g, a, need):
    """The least g's + s'Hs / 2 with a's >= need: without the constraint, or with it as an equation."""
    if np.abs(a).max() < 1e-15:
        return HOPELESS
    free = np.linalg.solve(matrix, -g)
    if a @ free < need:
        size = len(g)
        whole = np.block([[matrix, -a[:, None]], [a[None], np.zeros((1, 1))]])
        free = np.linalg.solve(whole, np.concatenate([-g, [need]]))[:size]
    return g @ free + 0.5 * free @ matrix @ free


def explicit_values(harm, target, tail, support, change):
    """What the quadratic programme on S + {j} comes to, for every j; and j's share of curvature that S has not."""
    model, (margin, a) = harm.model(support, change), target.rise(support, change)
    g, own = model.gradient(), model.diagonal()
    whole = model.columns(tail.support(torch.arange(tail.size))).numpy()
    values, shares = np.full(tail.size, np.inf), np.ones(tail.size)
    for j in set(range(tail.size)) - set(support.indices.tolist()):
        places = [*support.indices.tolist(), j]
        matrix = whole[np.ix_(places, places)].copy()
        matrix[np.diag_indices(len(places) - 1)] *= 1 + DAMPING  # of S, as `solve` has it
        matrix[-1, -1] = own[j]
        if len(support):
            shared = matrix[-1, :-1] @ np.linalg.solve(matrix[:-1, :-1], matrix[:-1, -1])
            shares[j] = 1 - shared / matrix[-1, -1]
            matrix[-1, -1] += max(0.0, SCHUR - shares[j]) * own[j]
        values[j] = programme(matrix, g[places].numpy(), a[places].numpy(), MARGIN - margin)
    return values, shares


def alive_support(harm, tail, seed, size):
    """Random parameters that the images feel, one of them a weight of the first input, and a small change."""
    whole = tail.support(torch.arange(tail.size))
    alive = harm.model(tail.support(torch.arange(0)), torch.empty(0)).columns(whole).diagonal() > 0
    first = (alive & (whole.layer == 0) & (whole.column == 0)).nonzero().flatten().numpy()
    draw = np.random.default_rng(seed)
    one = draw.choice(first, 1)
    others = np.setdiff1d(alive.nonzero().flatten().numpy(), one)
    indices = torch.from_numpy(np.concatenate([draw.choice(others, size - 1, replace=False), one]))
    return tail.support(indices), torch.from_numpy(0.1 * draw.normal(size=size))


@pytest.mark.parametrize("sizes", [WIDE, (4, 3)])
@pytest.mark.parametrize("size", [1, 2, 6])
def test_additions_are_those_of_explicit_quadratic_programmes(sizes, size):
    made, images = network(sizes), images_of(60, sizes)
    images[..., 1] = images[..., 0]
    tail = tail_of(made)
    harm, clamped = harm_of(made, tail, images), 0
    for sample in wrong_samples(made, 3, sizes):
        sample.image[..., 1] = sample.image[..., 0]
        target, _ = target_of(made, tail, sample)
        for seed in range(3):
            support, change = alive_support(harm, tail, seed, size)
            values, shares = explicit_values(harm, target, tail, support, change)
            clamped += (shares < SCHUR).sum()
            ranked = additions(harm, target, support, change, tail.size)
            outside = set(range(tail.size)) - set(support.indices.tolist())
            assert set(ranked.tolist()) == outside
            assert (values < HOPELESS).sum() > 5
            sooner, later = values[ranked][:-1], values[ranked][1:]
            assert (later >= sooner - 1e-5 * np.abs(sooner) - 1e-9).all(), "by rising value"
            few = additions(harm, target, support, change, 3)
            assert values[few] == pytest.approx(values[ranked[:3]], rel=1e-5)
    assert clamped, "what comes from an input and its copy is the same"


def test_without_a_support_the_cheapest_single_ones_are_first():
    made, images = network(), images_of(60)
    tail = tail_of(made)
    harm, none = harm_of(made, tail, images), tail.support(torch.arange(0))
    for sample in wrong_samples(made, 3):
        target, _ = target_of(made, tail, sample)
        ranked = additions(harm, target, none, torch.empty(0), 10)
        model, (margin, a) = harm.model(none, torch.empty(0)), target.rise(none, torch.empty(0))
        cost = 0.5 * (MARGIN - margin) ** 2 * model.diagonal() / a.square()
        assert ranked.tolist() == cost.argsort()[:10].tolist()


def test_a_quadratic_harm_is_ranked_by_how_far_each_parameter_moves_the_sample():
    made = network((6, 3))
    tail = tail_of(made)
    sample = wrong_samples(made, 1, (6, 3))[0]
    target, _ = target_of(made, tail, sample)
    support, change = support_of(tail, 0, 2)
    harm = QuadraticHarm(tail, torch.ones(tail.size).double())
    ranked = additions(harm, target, support, 0 * change, 5).tolist()
    _, a = target.rise(support, 0 * change)
    wanted = [j for j in a.abs().argsort(descending=True, stable=True).tolist() if j not in support.indices]
    assert [float(a[j].abs()) for j in ranked] == pytest.approx([float(a[j].abs()) for j in wanted[:5]])


def test_the_best_additions_are_among_the_best_in_truth():
    """Every parameter solved for in truth: one of the four that are tried comes close to the best of all."""
    made, images = network((5, 4, 3)), images_of(40, (5, 4, 3))
    tail = tail_of(made)
    harm, ratios = harm_of(made, tail, images), []
    for sample in wrong_samples(made, 2, (5, 4, 3)):
        target, _ = target_of(made, tail, sample)
        first = alone(harm, target, tail, tail.size, 1)[0]
        ranked = additions(harm, target, first.support, first.change, 4).tolist()
        costs = {}
        for j in set(range(tail.size)) - set(first.support.indices.tolist()):
            grown = tail.support(torch.cat([first.support.indices, torch.tensor([j])]))
            found = solve(harm, target, grown, torch.cat([first.change, torch.zeros(1)]), 2)
            costs[j] = found.cost.value if found else np.inf
        ratios.append(min(costs[j] for j in ranked) / min(costs.values()))
        assert min(costs[j] for j in ranked) <= np.quantile(list(costs.values()), 0.1)
    assert np.mean(ratios) < 1.5


def test_of_a_large_support_those_count_that_have_moved_the_sample_most(monkeypatch):
    monkeypatch.setattr(module, "COLUMNS", 3)
    made, images = network(), images_of(60)
    tail = tail_of(made)
    harm = harm_of(made, tail, images)
    target, _ = target_of(made, tail, wrong_samples(made, 1)[0])
    support, change = support_of(tail, 0, 8)
    seen = []
    plain = module._coupling

    def coupling(*arguments):
        seen.append(plain(*arguments)[0].tolist())
        return plain(*arguments)

    monkeypatch.setattr(module, "_coupling", coupling)
    ranked = additions(harm, target, support, change, 10)
    _, a = target.rise(support, change)
    moved = dict(zip(support.indices.tolist(), (a[support.indices] * change).abs().tolist(), strict=True))
    wanted = sorted(moved.values())[-3:]
    assert wanted[-1] > 0
    assert sorted(moved[j] for j in seen[0]) == wanted
    assert not torch.isin(ranked, support.indices).any(), (
        "those of the support that do not count are no addition"
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_where_nothing_is_finite_nothing_is_added(value):
    made, images = network(), images_of(20)
    sample = wrong_samples(made, 1)[0]
    with torch.no_grad():
        made.lin3.weight.fill_(value)
    tail = tail_of(made)
    target, _ = target_of(made, tail, sample)
    harm = harm_of(made, tail, images)
    for support, change in ((tail.support(torch.arange(0)), torch.empty(0)), support_of(tail, 0, 3)):
        assert not len(additions(harm, target, support, change, 5))
    assert alone(harm, target, tail, 10, 4) == []


def test_nothing_can_be_added_to_everything():
    made, images = network((4, 3)), images_of(20, (4, 3))
    tail = tail_of(made)
    target, _ = target_of(made, tail, wrong_samples(made, 1, (4, 3))[0])
    support = tail.support(torch.arange(tail.size))
    assert not len(additions(harm_of(made, tail, images), target, support, torch.zeros(tail.size), 5))


def exhaustive(made, tail, sample, images, steps):
    """For every parameter the harm of the first multiple of its step that makes the sample right, by running the
    whole network: (index, divergence), cheapest first."""
    vector, label = vector_of(made, tail), int(sample.label)
    with torch.no_grad():
        before = made(images)
    multiples = torch.cat([torch.linspace(0, 2, 1001), torch.linspace(2, MULTIPLES[-1], 1001)]).double()[1:]
    found = []
    for j in range(tail.size):
        if not torch.isfinite(steps[j]):
            continue
        vectors = vector.repeat(len(multiples), 1)
        vectors[:, j] += multiples * steps[j]
        with torch.no_grad():
            logits = torch.func.vmap(lambda moved: run(made, tail, moved, sample.image)[0])(vectors)
            rivals = torch.cat([logits[:, :label], logits[:, label + 1 :]], dim=1).amax(1)
            right = (logits[:, label] - rivals >= MARGIN).nonzero().flatten()
            if len(right):
                after = run(made, tail, vectors[right[0]], images)
                found.append((divergence(before, after), j))
    return sorted(found)


@pytest.mark.parametrize("sizes", [WIDE, (5, 4, 2)])
def test_alone_finds_the_best_single_parameter(sizes):
    made, images = network(sizes), images_of(20, sizes)
    tail = tail_of(made)
    harm = harm_of(made, tail, images)
    for sample in wrong_samples(made, 2, sizes):
        target, _ = target_of(made, tail, sample)
        margin, rise = target.rise(tail.support(torch.arange(0)), torch.empty(0))
        steps = torch.where(rise.abs() < module.FLAT, torch.nan, (MARGIN - margin) / rise)
        wanted = exhaustive(made, tail, sample, images, steps)
        found = alone(harm, target, tail, tail.size, 1)
        assert [s.cost.value for s in found] == sorted(s.cost.value for s in found)
        assert found[0].cost.value == pytest.approx(wanted[0][0], rel=0.01)
        assert {int(s.support.indices[0]) for s in found} <= {j for _, j in wanted}
        assert len(found) >= 0.9 * len(wanted), "all but where only a narrow stretch is right"
        for solution in found:
            after = rewritten(made, tail, solution.support, solution.change)
            assert int(after(sample.image).argmax()) == int(sample.label)
            assert len(solution.support) == 1
            assert solution.cost == harm.cost(solution.support, solution.change)


def test_where_every_rival_is_in_front_the_right_class_is_raised():
    """What lowers the one rival that the tangent sees leaves the next: a search among those alone finds nothing."""
    made, images = network((6, 4, 5)), images_of(20, (6, 4, 5))
    with torch.no_grad():  # far behind three rivals
        made[-1].bias.copy_(torch.tensor([9.0, 8.9, 8.8, 0.0, -9.0]).double())
        made[-1].weight.mul_(0.01)
    sample = Sample(0, images[:1], torch.tensor([4]))
    tail = tail_of(made)
    target, _ = target_of(made, tail, sample)
    own, diagonal = tail.layers[-1].row(4), torch.ones(tail.size).double()
    diagonal[own] = 1e6  # they look dear
    harm, looked = QuadraticHarm(tail, diagonal), []
    plain = target.smallest_alone

    target.smallest_alone = lambda indices, changes: (looked.append(indices), plain(indices, changes))[1]
    found = alone(harm, target, tail, 1, 1)
    assert len(looked) == 2, "the cheapest by the model do not do it"
    assert set(looked[1].tolist()) <= set(own.tolist())
    assert found
    for solution in found:
        assert int(rewritten(made, tail, solution.support, solution.change)(sample.image).argmax()) == 4


@pytest.mark.parametrize("bias", [True, False])
def test_the_right_class_own_parameters_are_its_row_and_its_bias(bias):
    made = network(WIDE, bias)
    tail = tail_of(made)
    whole = tail.support(torch.arange(tail.size))
    for label in range(3):
        wanted = ((whole.layer == 2) & (whole.unit == label)).nonzero().flatten()
        assert tail.layers[-1].row(label).tolist() == wanted.tolist()


def test_some_of_every_layer_are_looked_at_whatever_the_model_says():
    made, images = network(), images_of(20)
    tail = tail_of(made)
    target, _ = target_of(made, tail, wrong_samples(made, 2)[1])
    harm = harm_of(made, tail, images)
    looked = []
    plain = target.smallest_alone
    target.smallest_alone = lambda indices, changes: (looked.append(indices), plain(indices, changes))[1]
    alone(harm, target, tail, 1, 2)
    layers = tail.support(looked[0]).layer
    assert torch.bincount(layers, minlength=3).min() >= 2
    assert len(looked[0]) <= 1 + 3 * 2
    alone(harm, target, tail, tail.size, 1)
    _, rise = target.rise(tail.support(torch.arange(0)), torch.empty(0))
    assert len(looked[1]) == int((rise.abs() >= module.FLAT).sum()), "dead units' parameters are left out"
    assert len(looked[1]) < tail.size
