"""Corrections in a row: what protects earlier ones, what is settled anew, and the copies of images."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles import flat, is_right, with_parameters
from small_tails import (
    harm_of,
    images_of,
    margin_of,
    network,
    posed,
    run,
    support_of,
    tail_of,
    vector_of,
    wrong_samples,
)

from bgd import rng
from bgd.methods.base import Problem
from bgd.methods.least_harm import row as module
from bgd.methods.least_harm.protect import SOFT, ProtectedHarm, Protection
from bgd.methods.least_harm.row import Consolidation, LeastHarmInARow, Spread
from bgd.methods.least_harm.search import LeastHarm
from bgd.methods.least_harm.variants import MOVES, variants

SEARCH = LeastHarm(None, 6, 0.0, None, 20000, 8, 1.0, 1, 2)
SIZES = (6, 8, 6, 3)


# What protects an earlier correction


@pytest.fixture(params=[0, 1, 6])
def guarded(request):
    """A network, its tail, earlier samples, what protects them, and an edit."""
    made = network(SIZES)
    tail, earlier = tail_of(made), wrong_samples(made, 5, SIZES)
    guard = Protection(tail, tail.weights(flat(made)), earlier, weight=3.0 / 20, lead=0.7)
    support, change = support_of(tail, 2, request.param)
    return made, tail, earlier, guard, support, change


def shortfalls(made, tail, earlier, vector, lead=0.7):
    """By how much each earlier sample's softened margin is below its lead, differentiable in the tail's vector."""
    found = []
    for sample in earlier:
        logits, label = run(made, tail, vector, sample.image)[0], int(sample.label)
        rivals = torch.cat([logits[:label], logits[label + 1 :]])
        margin = logits[label] - SOFT * (rivals / SOFT).logsumexp(0)
        found.append((lead - margin).clamp_min(0))
    return torch.stack(found)


def test_the_penalty_and_its_gradient_are_those_of_the_shortfalls(guarded):
    made, tail, earlier, guard, support, change = guarded
    vector = vector_of(made, tail, support, change).requires_grad_()
    value = 0.5 * 3.0 * shortfalls(made, tail, earlier, vector).square().sum() / 20
    (wanted,) = torch.autograd.grad(value, vector)
    assert float(value.detach()) > 0
    assert guard.value(support, change) == pytest.approx(float(value.detach()), rel=1e-9)
    model = guard.model(support, change)
    assert torch.allclose(model.gradient(), wanted, rtol=1e-9, atol=1e-12)


def test_the_curvature_of_the_penalty_is_that_of_the_samples_that_are_short(guarded):
    made, tail, earlier, guard, support, change = guarded
    vector = vector_of(made, tail, support, change)
    each = torch.autograd.functional.jacobian(lambda moved: shortfalls(made, tail, earlier, moved), vector)
    matrix = 3.0 / 20 * each.T @ each  # of a sample that is not short, 0
    model = guard.model(support, change)
    on, _ = support_of(tail, 5, 7)
    assert torch.allclose(model.on(on)[1], matrix[on.indices][:, on.indices], atol=1e-12)
    assert torch.allclose(model.columns(on), matrix[on.indices], atol=1e-12)
    assert torch.allclose(model.diagonal(), matrix.diagonal(), atol=1e-12)
    assert torch.allclose(model.multiply(vector), matrix @ vector, atol=1e-12)


def test_what_is_not_short_costs_nothing_and_leaves_the_divergence_as_it_is():
    made = network(SIZES)
    tail, images = tail_of(made), images_of(20)
    labelled = [
        replace(sample, label=made(sample.image).argmax(1)) for sample in wrong_samples(made, 5, SIZES)
    ]
    lead = min(margin_of(made, sample) for sample in labelled) - SOFT * np.log(2) - 1e-6
    weights, none = tail.weights(flat(made)), (tail.support(torch.arange(0)), torch.empty(0))
    divergence = harm_of(made, tail, images)
    harm = ProtectedHarm(divergence, Protection(tail, weights, labelled, 1e6, lead))
    assert vars(harm.cost(*none)) == pytest.approx(vars(divergence.cost(*none)), rel=1e-10, abs=1e-14)
    one, other = harm.model(*none), divergence.model(*none)
    assert torch.allclose(one.diagonal(), other.diagonal(), rtol=1e-10, atol=1e-14)
    assert torch.allclose(one.gradient(), other.gradient(), rtol=1e-10, atol=1e-14)


def test_harm_with_protection_is_the_sum(guarded):
    made, tail, _, guard, support, change = guarded
    divergence = harm_of(made, tail, images_of(20))
    harm, on = ProtectedHarm(divergence, guard), support_of(tail, 5, 7)[0]
    cost = harm.cost(support, change)
    assert cost.value == divergence.cost(support, change).value + guard.value(support, change)
    assert cost.flips == divergence.cost(support, change).flips
    whole, parts = harm.model(support, change), [h.model(support, change) for h in (divergence, guard)]
    vector = torch.ones(tail.size).double()
    for found, summands in (
        (whole.gradient(), [part.gradient() for part in parts]),
        (whole.diagonal(), [part.diagonal() for part in parts]),
        (whole.columns(on), [part.columns(on) for part in parts]),
        (whole.multiply(vector), [part.multiply(vector) for part in parts]),
        (whole.on(on)[0], [part.on(on)[0] for part in parts]),
        (whole.on(on)[1], [part.on(on)[1] for part in parts]),
    ):
        assert torch.allclose(found, sum(summands), rtol=1e-12)


# Corrections in a row


def method_with(protect=10.0, consolidation=None, **spread):
    plan = Spread(**{"images": 60, "widened": False, "drawn": 40, "active": 40, **spread})
    return LeastHarmInARow(SEARCH, plan, protect, 0.3, consolidation)


@pytest.fixture(scope="module")
def small():
    """A network of float32, images to keep, and samples that it gets wrong."""
    made = network(SIZES, dtype=torch.float32)
    return made, images_of(60, dtype=torch.float32), wrong_samples(made, 5, SIZES)


def in_a_row(method, made, images, samples, seed=0):
    """Correct what is still wrong, one after the other: the corrections, and the network in the end."""
    problem, found = posed(made, images), []
    for sample in samples:
        if is_right(with_parameters(made, problem.original), sample):
            continue
        with problem.trying() as trial:
            correction = method.correct(trial, sample, rng.stream(seed, "method", sample.index))
        assert trial.forward_passes >= correction.steps
        assert torch.equal(problem.current.flat, problem.original)
        problem.carry = correction.carry
        if correction.patch is not None:
            assert len(correction.patch) == correction.altered
            problem.advance(correction.patch)
            assert is_right(with_parameters(made, problem.original), sample)
        found.append(correction)
    return found, with_parameters(made, problem.original)


def test_earlier_samples_are_carried_along(small):
    made, images, samples = small
    found, _ = in_a_row(method_with(), made, images, samples)
    carried = [correction.carry for correction in found]
    assert [len(each) for each in carried] == list(range(1, len(found) + 1))
    assert all(carried[0] == each[:1] for each in carried)
    refusing = replace(method_with(), search=replace(SEARCH, harm_budget=1e-12))
    refused, last = in_a_row(refusing, made, images, samples[:2])
    assert all(correction.patch is None and correction.carry == () for correction in refused)
    assert torch.equal(flat(last), flat(made))


def test_with_protection_more_of_what_was_corrected_stays_so(small):
    made, images, _ = small
    samples, kept, margins = wrong_samples(made, 12, SIZES), {}, {}
    for protect in (0.0, 100.0):
        found, last = in_a_row(method_with(protect), made, images, samples)
        corrected = found[-1].carry
        kept[protect] = sum(is_right(last, sample) for sample in corrected) / len(corrected)
        margins[protect] = np.mean([min(0.0, margin_of(last, sample)) for sample in corrected])
    assert kept[100.0] > kept[0.0]
    assert margins[100.0] > margins[0.0]


def test_the_same_stream_gives_the_same_patches_and_another_draws_others(small):
    made, images, samples = small
    method = method_with(consolidation=Consolidation(2, 5, 0.01, 10, 0.01, 0.3))
    one, again, other = (in_a_row(method, made, images, samples[:3], seed)[0] for seed in (0, 0, 1))
    for sooner, later in zip(one, again, strict=True):
        assert torch.equal(sooner.patch.indices, later.patch.indices)
        assert torch.equal(sooner.patch.new, later.patch.new)
    assert any(
        len(first.patch) != len(second.patch) or not torch.equal(first.patch.new, second.patch.new)
        for first, second in zip(one, other, strict=False)
    )
    assert method.draws(made)


def objective(made, last, images, samples, plan):
    """What a consolidation lowers, by the whole network."""
    with torch.no_grad():
        before, after = made(images).log_softmax(1), last(images).log_softmax(1)
        divergence = float((before.exp() * (before - after)).sum(1).mean())
    return divergence + plan.weight * sum(max(0.0, plan.lead - margin_of(last, s)) for s in samples)


def test_a_consolidation_settles_the_last_layers_anew(small):
    made, images, samples = small
    plan = Consolidation(every=3, steps=60, rate=0.02, batch=60, weight=0.3, lead=0.3)
    plain, _ = in_a_row(method_with(), made, images, samples[:3])
    found, last = in_a_row(method_with(consolidation=plan), made, images, samples[:3])
    assert len(plain) == len(found) == 3
    for without, with_it in zip(plain[:2], found[:2], strict=True):
        assert torch.equal(without.patch.new, with_it.patch.new), "only every third settles"
    tail = tail_of(made)
    settled = found[2].patch.indices.tolist()
    assert len(plain[2].patch) < len(settled) <= tail.size
    assert set(settled) <= set(tail.places.tolist())
    end = flat(made)
    for correction in plain:
        correction.patch.apply(end)
    ways = [
        objective(made, network_, images, samples[:3], plan)
        for network_ in (with_parameters(made, end), last)
    ]
    assert ways[1] < 0.95 * ways[0]
    assert found[2].altered == len(settled)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_consolidation_that_leaves_the_sample_wrong_is_not_taken(value, small, monkeypatch):
    made, images, samples = small
    plain, _ = in_a_row(method_with(), made, images, samples[:2])

    def settled(plan, tail, vector, *_):
        return flat(made)[tail.places] if value is None else torch.full_like(vector, value)

    monkeypatch.setattr(module, "settled", settled)
    plan = Consolidation(every=1, steps=1, rate=1.0, batch=5, weight=1.0, lead=0.3)
    found, _ = in_a_row(method_with(consolidation=plan), made, images, samples[:2])
    for without, with_it in zip(plain, found, strict=True):
        assert torch.equal(without.patch.indices, with_it.patch.indices)
        assert torch.equal(without.patch.new, with_it.patch.new)


def test_expected_harm_counts_from_the_first_network_over_the_images_drawn(small, monkeypatch):
    made, images, samples = small
    prices, plain = [], module.Guarded

    def guarded(*arguments):
        prices.append(plain(*arguments))
        return prices[-1]

    monkeypatch.setattr(module, "Guarded", guarded)
    in_a_row(method_with(drawn=25), made, images, samples[:3])
    tail = tail_of(made)
    whole = tail.inputs(images)
    with torch.no_grad():
        logits = made(images)
    seen = []
    for price in prices:
        assert price.inputs.shape == (25, 7)
        rows = [int((whole == row).all(1).nonzero()) for row in price.inputs]
        assert len(set(rows)) == 25
        assert torch.allclose(price.before.T, logits[rows], atol=1e-5)
        seen.append(rows)
    assert seen[0] != seen[1]


def test_widened_images_count_nine_times(trained, tiny):
    images = tiny.held_out.tensors()[0][:5]
    with posed(trained, images).trying() as trial:
        tail = tail_of(trained, 200)
        widened = Spread(5, True, 10, 10).inputs(trial, tail)
        assert torch.equal(widened, tail.inputs(variants(images)))
        assert len(widened) == 45
        assert len(Spread(4, False, 10, 10).inputs(trial, tail)) == 4


def test_an_earlier_network_is_not_touched(small):
    made, images, samples = small
    kept = copy.deepcopy(made)
    in_a_row(method_with(), made, images, samples[:2])
    assert torch.equal(flat(made), flat(kept))


def test_without_images_to_keep_it_says_so(small):
    made, _, samples = small
    problem = Problem(made)
    with problem.trying() as trial, pytest.raises(LookupError, match="keep-set"):
        method_with().correct(trial, samples[0], rng.stream(0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Spread(0, False, 1, 1), "images=0: must be at least 1"),
        (lambda: Spread(1, False, 0, 1), "drawn=0"),
        (lambda: Spread(1, False, 1, 0), "active=0"),
        (lambda: Consolidation(0, 1, 1.0, 1, 1.0, 1.0), "every=0: must be at least 1"),
        (lambda: Consolidation(1, 1, 0.0, 1, 1.0, 1.0), r"rate=0\.0: must be above 0"),
        (lambda: Consolidation(1, 1, 1.0, 1, 1.0, -1.0), r"lead=-1\.0: must be above 0"),
        (lambda: method_with(protect=-1.0), r"protect=-1\.0: must be at least 0"),
    ],
)
def test_an_option_out_of_range_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Copies of images


@pytest.fixture
def framed():
    """Two images with a background of -0.4 and content well inside."""
    images = torch.full((2, 1, 28, 28), -0.4242)
    images[:, :, 8:20, 8:20] = torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(0)) * 3
    return images


def test_copies_come_by_kind_and_the_images_themselves_first(framed):
    found = variants(framed)
    assert found.shape == (18, 1, 28, 28)
    assert torch.equal(found[:2], framed)
    assert len(MOVES) == 8
    for kind in range(1, 9):
        assert not torch.allclose(found[2 * kind : 2 * kind + 2], framed, atol=1e-2)
        for one in range(2):  # each image by itself
            alone = variants(framed[one : one + 1])
            assert torch.allclose(found[2 * kind + one], alone[kind], atol=1e-6)


def test_a_shift_by_a_pixel_is_a_roll(framed):
    kinds = variants(framed).view(9, 2, 1, 28, 28)
    for kind, (shift, axis) in enumerate([(1, 3), (-1, 3), (1, 2), (-1, 2)], start=1):
        assert torch.allclose(kinds[kind], framed.roll(shift, axis), atol=1e-4)


def test_turning_and_scaling_go_the_way_they_say(framed):
    kinds = variants(framed).view(9, 2, 1, 28, 28)
    area = [(each > 0.3).float().mean() for each in kinds]
    assert area[8] < area[0] < area[7], "0.93 and 1.08 of the size"
    assert abs(float(area[5] - area[0])) < 0.2 * float(area[0])
    bar = torch.zeros(1, 1, 28, 28)
    bar[:, :, 2:26, 13:15] = 1
    left, right = variants(bar).view(9, 28, 28)[5:7]
    top, bottom = (slice(3, 8), slice(20, 25))
    columns = torch.arange(28.0)

    def centre(image, rows):
        return float((image[rows] * columns).sum() / image[rows].sum())

    assert (centre(left, top) - centre(left, bottom)) * (centre(right, top) - centre(right, bottom)) < -1
    assert torch.allclose(left.flip(1), right, atol=1e-4), "the two turns mirror each other"


def test_what_comes_in_from_outside_is_background():
    images = torch.rand(3, 1, 28, 28) + torch.tensor([0.0, 5.0, -7.0])[:, None, None, None]
    ground = images.amin((1, 2, 3))
    found = variants(images).view(9, 3, 28, 28)
    assert torch.allclose(found[1][:, :, 0], ground[:, None].expand(-1, 28), atol=1e-4), "moved right"
    assert torch.allclose(found[4][:, -1], ground[:, None].expand(-1, 28), atol=1e-4), "moved up"
    assert torch.allclose(found[8][:, 0, 0], ground, atol=0.2), "made smaller"
    assert (found >= ground[None, :, None, None] - 1e-4).all()
