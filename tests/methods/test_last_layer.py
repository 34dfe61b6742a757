"""Methods that change the last linear layer alone, each against an obvious oracle."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from conftest import known
from oracles import is_right, with_parameters
from scipy.optimize import linprog
from torch import nn

from bgd.curvature.diagonal import DiagonalCurvature, TrueFisher
from bgd.errors import ConfigError
from bgd.knowledge import Knowledge
from bgd.methods.base import Problem, Sample
from bgd.methods.last_layer.fault_sneaking import FaultSneaking, Hinges, smallest_step
from bgd.methods.last_layer.head import BATCH, NOT_FINITE, NOT_FINITE_KEPT, Head, View
from bgd.methods.last_layer.linear_program import LastLayerLP
from bgd.methods.last_layer.output_bias import OutputBias
from bgd.methods.last_layer.program import INFEASIBLE
from bgd.methods.last_layer.weight import LastLayerWeight, ranked

KEEP = 60
METHODS = [
    OutputBias(),
    LastLayerWeight(),
    LastLayerWeight("least_harm", estimator=TrueFisher(images=100, temperature=4.0)),
    LastLayerLP("l1"),
    LastLayerLP("linf"),
    LastLayerLP("l1", keep=KEEP, slack_price=0.3),
    LastLayerLP("linf", keep=KEEP, slack_price=0.01),
    FaultSneaking(keep=KEEP, iterations=100),
]


def network(seed=0, bias=True, inputs=6, classes=4):
    """A linear layer over ReLUs, small enough for what is slow."""
    generator = torch.Generator().manual_seed(seed)
    layers = nn.Sequential(
        nn.Flatten(), nn.Linear(9, inputs), nn.ReLU(), nn.Linear(inputs, classes, bias=bias)
    )
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return layers.eval()


def wrong_sample(layers, seed=0):
    """A random image with its second most likely class as label."""
    image = torch.randn(1, 1, 3, 3, generator=torch.Generator().manual_seed(100 + seed))
    with torch.no_grad():
        label = layers(image).argsort(descending=True)[:, 1]
    return Sample(seed, image, label)


def images_of(count, seed=0):
    return torch.randn(count, 1, 3, 3, generator=torch.Generator().manual_seed(200 + seed))


def attempt(method, layers, sample, knowledge=None):
    problem = Problem(layers, knowledge or Knowledge(keep_images=lambda: images_of(KEEP)))
    with problem.trying() as trial:
        correction = method.correct(trial, sample, np.random.default_rng(0))
        passes = trial.forward_passes
    assert torch.equal(problem.current.flat.view(torch.int32), problem.original.view(torch.int32))
    assert passes >= correction.steps
    return correction


def seen(layers, sample, count=KEEP):
    """V, the view of a sample and h of the keep images."""
    with Problem(layers, Knowledge(keep_images=lambda: images_of(KEEP))).trying() as trial:
        head = Head(trial, sample)
        return head.values, head.view(sample), head.kept_inputs(count)


def change_of(correction, layers):
    """X (C, D) of a correction."""
    whole = torch.zeros(correction.patch.space.size, dtype=torch.float64)
    whole[correction.patch.indices] = correction.patch.new.double() - correction.patch.old.double()
    last = layers[-1]
    parts = whole[-sum(parameter.numel() for parameter in last.parameters()) :]
    weight = parts[: last.weight.numel()].view(last.weight.shape)
    return torch.cat([weight, parts[last.weight.numel() :].view(len(weight), -1)], dim=1).numpy()


# ---- the head


@pytest.mark.parametrize("bias", [True, False])
def test_the_head_sees_what_the_network_computes(bias):
    layers = network(bias=bias)
    sample = wrong_sample(layers)
    values, view, kept = seen(layers, sample)
    assert values.shape == (4, 7 if bias else 6)
    with torch.no_grad():
        np.testing.assert_allclose(view.logits, layers(sample.image)[0].numpy(), atol=1e-5)
        np.testing.assert_allclose(kept @ values.T, layers(images_of(KEEP)).numpy(), atol=1e-5)
    logits = sorted(view.logits)
    assert view.deficit == pytest.approx(logits[-1] - logits[-2])


def test_a_change_is_written_where_it_belongs():
    layers = network()
    sample = wrong_sample(layers)
    change = np.random.default_rng(0).normal(size=(4, 7))
    with Problem(layers).trying() as trial:
        head = Head(trial, sample)
        head.right_with(change, sample)
        weight, bias = layers[-1].weight.double().detach(), layers[-1].bias.double().detach()
        moved = trial.network[-1]
        torch.testing.assert_close(moved.weight.double().detach(), weight + torch.from_numpy(change[:, :-1]))
        torch.testing.assert_close(moved.bias.double().detach(), bias + torch.from_numpy(change[:, -1]))
        assert torch.equal(trial.network[1].weight, layers[1].weight)
        assert torch.equal(head.correction(1).patch.new, trial.flat[head.correction(1).patch.indices])


def test_keep_images_go_through_the_network_once_until_a_layer_before_changes():
    layers, sample = network(), Sample(0, images_of(1), torch.tensor([0]))
    asked = []

    def keep():
        asked.append(1)
        return images_of(BATCH + 1)

    problem = Problem(layers, Knowledge(keep_images=keep))
    runs = []
    problem.current.module[0].register_forward_hook(lambda *_: runs.append(1))

    def kept():
        with problem.trying() as trial:
            head = Head(trial, sample)
            runs.clear()  # of passes that looked for the layer
            return head.kept_inputs(BATCH + 1)

    def advance(layer):
        with problem.trying() as trial:
            trial.flat[trial.space.span(f"{layer}.weight")] += 0.1
            patch = trial.patch()
        problem.advance(patch)

    first = kept()
    assert len(runs) == 2, "in two batches"
    advance(3)
    assert kept() is first
    assert not runs
    advance(1)
    assert not np.array_equal(kept(), first)
    assert len(runs) == 2


@pytest.mark.parametrize("layers", [nn.Sequential(nn.Flatten(), nn.Linear(9, 4), nn.ReLU()), nn.Linear(3, 4)])
@pytest.mark.parametrize("method", METHODS)
def test_a_network_without_a_last_linear_layer_is_refused(method, layers):
    sample = Sample(0, torch.zeros(1, 1, 3, 3), torch.zeros(1, dtype=torch.int64))
    with (
        Problem(layers).trying() as trial,
        pytest.raises(ConfigError, match="a method of the last layer needs"),
    ):
        method.correct(trial, sample, np.random.default_rng(0))


# ---- closed forms


@pytest.mark.parametrize("seed", range(5))
def test_the_bias_is_raised_by_as_much_as_it_takes(seed):
    layers = network(seed)
    sample = wrong_sample(layers, seed)
    change = change_of(attempt(OutputBias(margin=0.01), layers, sample), layers)
    label = int(sample.label)
    assert np.flatnonzero(change).tolist() == [label * 7 + 6]
    low, high = 0.0, 100.0  # bisection: the smallest bias that makes it right
    for _ in range(40):
        middle = (low + high) / 2
        with Problem(layers).trying() as trial:
            trial.network[-1].bias.data[label] += middle
            low, high = (low, middle) if trial.answer(sample).right else (middle, high)
    assert change[label, -1] == pytest.approx(high + 0.01, abs=1e-5)


def test_without_a_bias_there_is_none_to_raise():
    layers = network(bias=False)
    assert attempt(OutputBias(), layers, wrong_sample(layers)).reason == "the last layer has no bias"


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("bias", [True, False])
def test_the_weight_is_the_cheapest_of_all(seed, bias):
    """Brute force over every weight of the right class: its step by bisection, no larger than 1,000."""
    layers = network(seed, bias)
    sample = wrong_sample(layers, seed)
    label, steps = int(sample.label), {}
    for unit, sign in product(range(6), (1, -1)):
        low, high = 0.0, 1000.0
        for _ in range(50):
            middle = (low + high) / 2
            with Problem(layers).trying() as trial:
                trial.network[-1].weight.data[label, unit] += sign * middle
                low, high = (low, middle) if trial.answer(sample).right else (middle, high)
        steps[unit, sign] = high
    correction = attempt(LastLayerWeight(margin=1e-4), layers, sample)
    change = change_of(correction, layers)
    unit, sign = min(steps, key=steps.get)
    assert np.flatnonzero(change).tolist() == [label * change.shape[1] + unit]
    assert change[label, unit] == pytest.approx(sign * steps[unit, sign], rel=1e-2, abs=1e-3)
    assert len(correction.patch) == correction.altered == 1


def test_the_least_harmful_weight_is_the_one_that_changes_the_quadratic_least():
    layers = network(3)
    sample = wrong_sample(layers, 3)
    diagonal = torch.rand(
        sum(p.numel() for p in layers.parameters()), generator=torch.Generator().manual_seed(0)
    )
    method = LastLayerWeight("least_harm", estimator=TrueFisher())
    correction = attempt(method, layers, sample, Knowledge(curvature=lambda _: DiagonalCurvature(diagonal)))
    _, view, _ = seen(layers, sample)
    harms = {}
    for unit in np.flatnonzero(view.inputs[:-1]):
        step = torch.zeros(4, 6)
        step[view.label, unit] = (view.deficit + 0.01) / view.inputs[unit]
        harms[unit] = float((step.flatten().square() * diagonal[-28:-4]).sum())
    assert len(harms) > 1
    best = min(harms, key=harms.get)
    assert np.flatnonzero(change_of(correction, layers)).tolist() == [view.label * 7 + best]


def test_units_that_can_do_nothing_cost_more_than_any():
    changes = np.array([np.inf, 2.0, -1.0, np.nan, 3.0, 5.0])
    costs = np.array([np.inf, 0.0, 0.0, np.nan, np.inf, -0.0])
    assert ranked(costs, changes).tolist() == [2, 1, 5]


def test_where_the_best_weight_overflows_the_next_is_taken():
    """The most active unit's weights are near the largest number there is, of either sign."""
    layers = network(1)
    sample = wrong_sample(layers, 1)
    _, view, _ = seen(layers, sample)
    first, second = np.argsort(-np.abs(view.inputs[:-1]))[:2]
    method = LastLayerWeight("least_harm", estimator=TrueFisher())
    diagonal = torch.ones(sum(p.numel() for p in layers.parameters()))
    place = len(diagonal) - 28 + view.label * 6
    diagonal[place + first] = 0.0
    knowledge = Knowledge(curvature=lambda _: DiagonalCurvature(diagonal))
    assert np.flatnonzero(change_of(attempt(method, layers, sample, knowledge), layers)) % 7 == first
    with torch.no_grad():
        layers[1].weight[first] = 0.0
        layers[1].bias[first] = 1e-39  # active, so faintly that no weight makes up for it in float32
    correction = attempt(method, layers, sample, knowledge)
    assert np.flatnonzero(change_of(correction, layers)) % 7 == second
    assert correction.steps == 2


# ---- linear programs


def dense_optimum(norm, values, view, kept, margin, keep_margin, price=None):
    """The optimum with every row written out from the start, and its value; None where there is none."""
    classes, width = values.shape
    rows, room, image = [], [], []
    for index, inputs in enumerate([view.inputs, *kept]):
        logits = values @ inputs
        own = view.label if index == 0 else int(logits.argmax())
        for rival in set(range(classes)) - {own}:
            gap = logits[own] - logits[rival]
            row = np.zeros((classes, width))
            row[rival], row[own] = inputs, -inputs
            rows.append(row.ravel())
            room.append(gap - (margin if index == 0 else min(keep_margin, gap)))
            image.append(index)
    rows, room, size, slacks = np.array(rows), np.array(room), classes * width, len(kept)
    slack = -(np.array(image)[:, None] == np.arange(1, slacks + 1)).astype(float)
    if price is None:
        slack *= 0
    ones, zeros = np.eye(size), np.zeros((size, slacks))
    bounds = [(None, None)] * size
    if norm == "l1":  # X, its size, slack
        above = np.vstack([
            np.hstack([rows, np.zeros_like(rows), slack]), np.hstack([ones, -ones, zeros]),
            np.hstack([-ones, -ones, zeros]),
        ])  # fmt: skip
        cost, bounds = np.r_[np.zeros(size), np.ones(size)], bounds * 2
    else:
        column = np.ones((size, 1))
        above = np.vstack([
            np.hstack([rows, np.zeros((len(rows), 1)), slack]), np.hstack([ones, -column, zeros]),
            np.hstack([-ones, -column, zeros]),
        ])  # fmt: skip
        cost, bounds = np.r_[np.zeros(size), 1.0], [*bounds, (None, None)]
    cost = np.r_[cost, np.full(slacks, price or 0.0)]
    found = linprog(cost, above, np.r_[room, np.zeros(2 * size)], bounds=bounds + [(0, None)] * slacks)
    return found.fun if found.status == 0 else None


def size_of(norm, change):
    return np.abs(change).sum() if norm == "l1" else np.abs(change).max()


@pytest.mark.parametrize("seed", range(5))
def test_without_a_keep_set_the_optima_have_closed_forms(seed):
    """L1: the margin over the largest input. Linf, of two classes: every parameter that matters moves as far."""
    layers = network(seed)
    values, view, _ = seen(layers, wrong_sample(layers, seed))
    nothing = np.empty((0, 7))
    change = LastLayerLP("l1").solve(values, view, nothing, 0.01)
    assert size_of("l1", change) == pytest.approx((view.deficit + 0.01) / np.abs(view.inputs).max())
    two = replace(view, logits=view.logits[[view.label, view.logits.argmax()]], label=0)
    change = LastLayerLP("linf").solve(values[[view.label, view.logits.argmax()]], two, nothing, 0.01)
    assert size_of("linf", change) == pytest.approx((view.deficit + 0.01) / (2 * np.abs(view.inputs).sum()))


@pytest.mark.parametrize("norm", ["l1", "linf"])
@pytest.mark.parametrize("keep_margin", [0.0, 0.3])
def test_cutting_planes_find_the_optimum_of_all_rows(norm, keep_margin, monkeypatch):
    monkeypatch.setattr("bgd.methods.last_layer.program.ROWS_A_ROUND", 2)  # several rounds
    feasible = 0
    for seed in range(6):
        layers = network(seed)
        values, view, kept = seen(layers, wrong_sample(layers, seed))
        kept = kept[:15]
        method = LastLayerLP(norm, keep=15, keep_margin=keep_margin)
        change = method.solve(values, view, kept, 0.05)
        best = dense_optimum(norm, values, view, kept, 0.05, keep_margin)
        if best is None:
            assert change.startswith(INFEASIBLE)
            continue
        feasible += 1
        assert size_of(norm, change) == pytest.approx(best, rel=1e-6)
        bare = LastLayerLP(norm).solve(values, view, kept[:0], 0.05)
        assert size_of(norm, change) >= size_of(norm, bare) - 1e-9
    assert feasible > 1


def test_of_the_smallest_changes_in_linf_it_is_the_smallest_in_l1():
    """Two rivals lie far behind: their rows of V need not move, and as far as Linf is concerned they could."""
    layers = network()
    values, view, _ = seen(layers, wrong_sample(layers))
    far = np.argsort(view.logits)[:2]
    values = values.copy()
    values[far] -= 1.0 * view.inputs
    view = replace(view, logits=values @ view.inputs)
    change = LastLayerLP("linf").solve(values, view, np.empty((0, 7)), 0.01)
    assert not change[far].any()
    assert not change[:, view.inputs == 0].any()
    others = change[np.ix_([row for row in range(4) if row not in far], np.flatnonzero(view.inputs))]
    np.testing.assert_allclose(np.abs(others), (view.deficit + 0.01) / (2 * view.inputs.sum()), rtol=1e-6)


@pytest.mark.parametrize(("norm", "price"), [("l1", 0.3), ("l1", 100.0), ("linf", 0.01)])
def test_where_constraints_clash_the_slack_is_the_cheapest(norm, price):
    """A keep image like the sample itself: it cannot keep its class."""
    layers = network()
    sample = wrong_sample(layers)
    values, view, kept = seen(layers, sample)
    kept = np.vstack([view.inputs, kept[:15]])
    hard = LastLayerLP(norm, keep=16)
    assert hard.solve(values, view, kept, 0.05) == f"{INFEASIBLE} (16 keep images)"
    change = replace(hard, slack_price=price).solve(values, view, kept, 0.05)
    logits, moved = kept @ values.T, kept @ (values + change).T
    own, at = logits.argmax(axis=1), np.arange(16)
    wanted = np.minimum(0.01, logits[at, own][:, None] - logits)
    broken = wanted - (moved[at, own][:, None] - moved)
    broken[at, own] = 0.0
    value = size_of(norm, change) + price * broken.max(axis=1).sum()
    assert value == pytest.approx(dense_optimum(norm, values, view, kept, 0.05, 0.01, price), rel=1e-5)


@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_keep_images_keep_their_class_in_the_network(norm):
    held = 0
    for seed in range(6):
        layers = network(seed, inputs=30)
        sample = wrong_sample(layers, seed)
        correction = attempt(LastLayerLP(norm, keep=KEEP), layers, sample)
        bare = attempt(LastLayerLP(norm), layers, sample)
        before, after, without = layers, moved_by(layers, correction), moved_by(layers, bare)
        keep = images_of(KEEP)
        own = before(keep).argmax(dim=1)
        assert torch.equal(after(keep).argmax(dim=1), own)
        held += int((without(keep).argmax(dim=1) != own).any())
    assert held > 0, "the keep-set must have been in the way, or this test shows nothing"


def moved_by(layers, correction):
    values = torch.cat([p.detach().flatten() for p in layers.parameters()])
    correction.patch.apply(values)
    return with_parameters(layers, values)


def test_a_margin_that_rounding_swallows_is_made_wider():
    """Logits of about 1e6 are a sixteenth apart in float32."""
    layers = network(bias=False)
    with torch.no_grad():
        layers[-1].weight.mul_(1e6)
    for seed in range(5):
        sample = wrong_sample(layers, seed)
        for method in (LastLayerLP("l1", margin=1e-3), LastLayerLP("linf", margin=1e-3)):
            correction = attempt(method, layers, sample)
            assert is_right(moved_by(layers, correction), sample)


# ---- fault sneaking


def test_the_subgradient_is_that_of_the_hinges():
    layers = network()
    values, view, kept = seen(layers, wrong_sample(layers))
    hinges = Hinges(values, view, kept, 0.05, 7.0)
    start = np.random.default_rng(0).normal(size=values.shape)

    def loss(change):
        """Hinge by hinge."""
        total = 0.0
        for index, inputs in enumerate([view.inputs, *kept]):
            before, after = values @ inputs, (values + change) @ inputs
            own = view.label if index == 0 else int(before.argmax())
            margin = 0.05 if index == 0 else min(0.05, before[own] - np.delete(before, own).max())
            total += (7.0 if index == 0 else 1.0) * max(
                0.0, margin + np.delete(after, own).max() - after[own]
            )
        return total

    gradient = hinges.gradient(start)
    for place in np.ndindex(*start.shape):
        step = np.zeros_like(start)
        step[place] = 1e-7
        slope = (loss(start + step) - loss(start - step)) / 2e-7
        assert gradient[place] == pytest.approx(slope, abs=1e-4)
    assert (hinges.gradient(np.zeros_like(start))[view.label] == -7.0 * view.inputs).all()


def test_the_smallest_step_is_the_first_of_a_fine_grid():
    generator = np.random.default_rng(0)
    found = 0
    for _ in range(40):
        inputs, values, change = (
            generator.normal(size=5),
            generator.normal(size=(4, 5)),
            generator.normal(size=(4, 5)),
        )
        view = View(inputs, values @ inputs, int((values @ inputs).argmin()), True)
        step = smallest_step(view, change, 0.1)
        grid = np.linspace(0, 50, 50_001)[:, None]
        logits = view.logits + grid * (change @ inputs)
        wins = logits[:, view.label] >= np.delete(logits, view.label, axis=1).max(axis=1) + 0.1
        if step is None:
            assert not wins.any()
        elif step < 50:
            found += 1
            assert grid[wins.argmax(), 0] == pytest.approx(step, abs=2e-3)
    assert 0 < found < 40


def test_fault_sneaking_is_sparse_and_spares_the_keep_set():
    """Of the sample's four rows of 31 at most half are changed, and more keep images stay than with the bias alone."""
    sparse, spared, bias = [], 0, 0
    method = FaultSneaking(keep=KEEP)
    for seed in range(6):
        layers = network(seed, inputs=30)
        sample = wrong_sample(layers, seed)
        correction = attempt(method, layers, sample)
        assert correction.patch is not None
        sparse.append(len(correction.patch))
        keep = images_of(KEEP)
        own = layers(keep).argmax(dim=1)
        spared += int((moved_by(layers, correction)(keep).argmax(dim=1) == own).sum())
        bias += int(
            (moved_by(layers, attempt(OutputBias(), layers, sample))(keep).argmax(dim=1) == own).sum()
        )
    assert max(sparse) < 4 * 31 / 2
    assert spared > bias


def test_the_first_iteration_by_hand():
    """X = -G'(0) / (rho + L), U = -X, and Z is 2 X where that is large enough; L = alpha n."""
    layers = network()
    values, view, kept = seen(layers, wrong_sample(layers))
    hinges = Hinges(values, view, kept, 0.01, 100.0)
    method = FaultSneaking(keep=KEEP, rho=0.02, iterations=1, alpha=0.5)
    first = -hinges.gradient(np.zeros_like(values)) / (0.02 + 0.5 * (KEEP + 1))
    wanted = np.where(np.abs(2 * first) >= 10.0, 2 * first, 0.0)
    assert 0 < np.count_nonzero(wanted) < np.count_nonzero(first)
    np.testing.assert_allclose(method.sparse_change(hinges), wanted)


def test_a_larger_rho_lets_smaller_changes_through():
    layers = network(inputs=30)
    values, view, kept = seen(layers, wrong_sample(layers))
    for rho in (100.0, 10000.0):
        method = FaultSneaking(keep=KEEP, rho=rho, weight=1000.0)
        change = method.sparse_change(Hinges(values, view, kept, 0.01, 1000.0))
        assert np.abs(change[change != 0]).min() >= method.threshold == pytest.approx((2 / rho) ** 0.5)


def test_a_threshold_above_every_change_is_a_failure():
    layers = network()
    correction = attempt(FaultSneaking(keep=KEEP, rho=1e-6), layers, wrong_sample(layers))
    assert correction.reason == "every change is below the threshold of 1.41e+03"


def test_a_change_that_leads_away_is_a_failure():
    view = View(np.ones(2), np.array([0.0, 1.0]), 0, True)
    assert smallest_step(view, np.array([[0.0, 0.0], [1.0, 0.0]]), 0.1) is None


# ---- all of them


@pytest.mark.parametrize("method", METHODS)
def test_dead_units_leave_the_bias_alone_to_change(method, trained, tiny, samples):
    layers = with_parameters(trained, torch.cat([p.detach().flatten() for p in trained.parameters()]))
    with torch.no_grad():
        layers.lin2.weight.zero_()
        layers.lin2.bias.fill_(-1.0)
        layers.lin3.bias.copy_(torch.arange(10.0) / 10)
    knowledge = known(trained, tiny)
    knowledge = replace(knowledge, curvature=lambda estimator: DiagonalCurvature(torch.ones(9614)))
    sample = next(sample for sample in samples if int(sample.label) != 9)
    correction = attempt(method, layers, sample, knowledge)
    if isinstance(method, LastLayerWeight):
        assert correction.reason == "no unit before the last layer is active"
    elif isinstance(method, LastLayerLP) and method.keep:
        assert is_right(moved_by(layers, correction), sample), (
            "the keep-set, all like the sample, has its slack"
        )
    elif correction.patch is None:
        assert correction.reason
    else:
        assert (correction.patch.indices >= 9604).all()
        assert is_right(moved_by(layers, correction), sample)


@pytest.mark.parametrize("method", METHODS)
def test_dead_units_without_a_bias_are_a_failure(method):
    layers = network(bias=False)
    with torch.no_grad():
        layers[1].weight.zero_()
        layers[1].bias.fill_(-1.0)
    sample = Sample(0, torch.zeros(1, 1, 3, 3), torch.tensor([2]))
    diagonal = torch.ones(sum(p.numel() for p in layers.parameters()))
    knowledge = Knowledge(
        curvature=lambda _: DiagonalCurvature(diagonal), keep_images=lambda: images_of(KEEP)
    )
    correction = attempt(method, layers, sample, knowledge)
    assert correction.patch is None
    assert correction.reason


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3e38])
@pytest.mark.parametrize("method", METHODS)
def test_logits_that_are_not_finite_are_a_failure(method, value):
    layers = network()
    sample = wrong_sample(layers)
    with torch.no_grad():
        layers[1].bias.fill_(10.0)
        layers[-1].weight.fill_(value)
    assert attempt(method, layers, sample).reason == NOT_FINITE


@pytest.mark.parametrize("method", [method for method in METHODS if getattr(method, "keep", 0)])
def test_a_keep_set_that_overflows_is_a_failure(method):
    layers = network()
    keep = images_of(KEEP)
    keep[3] = 3e38
    knowledge = Knowledge(keep_images=lambda: keep)
    assert attempt(method, layers, wrong_sample(layers), knowledge).reason == NOT_FINITE_KEPT


@pytest.mark.parametrize("method", METHODS)
def test_the_same_correction_twice(method, problem, samples, trained):
    assert method.draws(trained) is False
    for sample in samples[:3]:
        patches = []
        for _ in range(2):
            with problem.trying() as trial:
                patches.append(method.correct(trial, sample, np.random.default_rng(0)).patch)
        assert torch.equal(patches[0].indices, patches[1].indices)
        assert torch.equal(patches[0].new, patches[1].new)
        assert is_right(moved_by(trained, type("Found", (), {"patch": patches[0]})), sample)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OutputBias(margin=0.0), "margin=0.0: must be above 0"),
        (lambda: LastLayerWeight("largest"), r"choose='largest': .* did you mean 'largest_activation'"),
        (lambda: LastLayerWeight("least_harm"), "estimator=None: choose='least_harm' needs one"),
        (lambda: LastLayerWeight(estimator=TrueFisher()), "no other choice reads one"),
        (lambda: LastLayerLP("l2"), r"norm='l2': .* valid: l1, linf"),
        (lambda: LastLayerLP(keep=-1), "keep=-1: must be at least 0"),
        (lambda: LastLayerLP(keep_margin=-0.1), "keep_margin=-0.1: must be at least 0"),
        (lambda: LastLayerLP(slack_price=0.0), "slack_price=0.0: must be above 0"),
        (lambda: FaultSneaking(keep=0), "keep=0: must be at least 1"),
        (lambda: FaultSneaking(iterations=0), "iterations=0: must be at least 1"),
        (lambda: FaultSneaking(rho=0.0), "rho=0.0: must be above 0"),
    ],
)
def test_options_out_of_range_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
