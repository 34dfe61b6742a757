"""Growing a support: the budget, where it stops, what it refuses, and networks that no one would wish for."""

import copy
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from conftest import known
from oracles import flat, is_right, with_parameters
from small_tails import harm_of, images_of, network, posed, tail_of, wrong_samples
from torch import nn

from bgd import rng
from bgd.curvature.diagonal import EmpiricalFisher
from bgd.errors import ConfigError
from bgd.methods.base import Problem, Sample
from bgd.methods.least_harm import search as module
from bgd.methods.least_harm.harm import Distance, Divergence, Statistic
from bgd.methods.least_harm.search import LeastHarm, terms_of

PRICES = {
    "nothing": Distance(),
    "statistic": Statistic(EmpiricalFisher(images=50)),
    "keep_set": Divergence(60, 30),
    "training_data": Divergence(60, 30, training=True),
}
PLAIN = LeastHarm(Divergence(40, 40), 6, 0.0, None, 20000, 8, 0.25, 2, 2)


def corrected(method, problem, sample):
    """The correction and its trial, with the network checked to be as it was, bit for bit."""
    before = problem.current.flat.clone()
    with problem.trying() as trial:
        correction = method.correct(trial, sample, rng.stream(0, "method", sample.index))
    assert torch.equal(problem.current.flat.view(torch.int32), before.view(torch.int32))
    assert trial.forward_passes >= correction.steps >= 1
    return correction


def after(made, correction):
    whole = flat(made)
    correction.patch.apply(whole)
    return with_parameters(made, whole)


@pytest.fixture(scope="module")
def small():
    """A network of float32 with images to keep and samples that it gets wrong."""
    made = network((6, 8, 6, 3), dtype=torch.float32)
    return made, images_of(60, dtype=torch.float32), wrong_samples(made, 3)


@pytest.mark.parametrize("budget", [1, 5, None])
@pytest.mark.parametrize("level", PRICES)
def test_every_error_is_corrected_within_the_budget(level, budget, trained, tiny, samples):
    """POC 100, whatever is known."""
    problem = Problem(trained, known(trained, tiny).restricted(level))
    method = replace(PLAIN, price=PRICES[level], budget=budget, scope=200, singles=5)
    for sample in samples[: 2 if budget == 5 else 8]:
        correction = corrected(method, problem, sample)
        assert correction.reason == ""
        assert 1 <= len(correction.patch) == correction.altered <= (budget or 194)
        assert is_right(after(trained, correction), sample)


def test_the_whole_network_is_searched_where_the_scope_allows(trained, tiny, samples):
    problem = Problem(trained, known(trained, tiny))
    for budget in (3, None):
        for sample in samples[:3]:
            correction = corrected(replace(PLAIN, budget=budget), problem, sample)
            assert is_right(after(trained, correction), sample)
            narrow = corrected(replace(PLAIN, budget=budget, scope=1), problem, sample)
            assert set(narrow.patch.tensors) <= {"lin3.weight", "lin3.bias"}


def harm_after(made, images, correction):
    tail = tail_of(made)
    support = tail.support(correction.patch.indices)
    return harm_of(made, tail, images).cost(support, correction.patch.new - correction.patch.old)


def test_a_larger_budget_never_costs_more(small):
    """One by one, the way with a larger budget is that with a smaller one and goes on."""
    made, images, samples = small
    problem, gains = posed(made, images), []
    for sample in samples:
        costs = []
        for budget in (1, 2, 4, 9):
            method = replace(PLAIN, price=Divergence(60, 60), budget=budget, growth=0.0)
            correction = corrected(method, problem, sample)
            assert len(correction.patch) <= budget
            costs.append(harm_after(made, images, correction).value)
        assert all(more <= less * (1 + 1e-4) + 1e-9 for less, more in pairwise(costs))
        gains.append(costs[-1] / costs[0])
    assert min(gains) < 0.8, "and in the end it costs less, or this test shows little"


def test_growth_adds_a_share_of_what_is_there(small, monkeypatch):
    made, images, samples = small
    sizes, plain = [], module.solve

    def solve(harm, target, support, start, iterations, room):
        sizes.append(len(support))
        return plain(harm, target, support, start, iterations, room)

    monkeypatch.setattr(module, "solve", solve)
    method = replace(PLAIN, budget=13, growth=1.0, tries=2)
    corrected(method, posed(made, images), samples[1])
    assert sizes == [2, 2, 4, 8, 13], "single ones are tried, more at once are not; no more than the budget"
    sizes.clear()
    corrected(replace(method, growth=0.0, budget=4, tries=3), posed(made, images), samples[1])
    assert sizes == [2, 2, 2, 3, 3, 3, 4, 4, 4]


def test_a_tolerable_harm_ends_the_search(small):
    made, images, samples = small
    problem, method = posed(made, images), replace(PLAIN, price=Divergence(60, 60), budget=12, growth=0.0)
    shorter = 0
    for sample in samples:
        whole = corrected(method, problem, sample)
        first = corrected(replace(method, tolerance=10.0), problem, sample)
        assert len(first.patch) == 1, "any harm is tolerable"
        limit = 1.5 * harm_after(made, images, whole).value + 0.05
        some = corrected(replace(method, tolerance=limit), problem, sample)
        cost = harm_after(made, images, some)
        assert first.steps <= some.steps <= whole.steps
        if some.steps < whole.steps:
            shorter += 1
            assert cost.value <= limit * (1 + 1e-4)
            assert cost.flips <= limit
            fewer = corrected(replace(method, budget=max(1, len(some.patch) - 1)), problem, sample)
            fewer_toll = harm_after(made, images, fewer)
            assert len(some.patch) == 1 or max(fewer_toll.value, fewer_toll.flips) > limit
    assert shorter


def test_harm_above_its_budget_is_refused_by_name(small):
    made, images, samples = small
    problem = posed(made, images)
    for sample in samples:
        plain = corrected(replace(PLAIN, price=Divergence(60, 60)), problem, sample)
        cost = harm_after(made, images, plain).value
        method = replace(PLAIN, price=Divergence(60, 60), harm_budget=0.9 * cost)
        refused = corrected(method, problem, sample)
        assert refused.patch is None
        assert refused.reason == f"refused: expected harm {cost:.3g} is above {0.9 * cost:g}"
        assert refused.altered == 0
        allowed = corrected(replace(method, harm_budget=1.1 * cost), problem, sample)
        assert torch.equal(allowed.patch.new, plain.patch.new)


@pytest.mark.parametrize("budget", [4, None])
def test_the_same_again(budget, trained, tiny, samples):
    """On the same problem, on another one, and after other samples."""
    method = replace(PLAIN, budget=budget, scope=200)
    first = Problem(trained, known(trained, tiny))
    found = [corrected(method, first, sample) for sample in samples[:3]]
    other = Problem(trained, known(trained, tiny))
    for sample, one in zip(reversed(samples[:3]), reversed(found), strict=True):
        again = corrected(method, other, sample)
        assert torch.equal(one.patch.indices, again.patch.indices)
        assert torch.equal(one.patch.new, again.patch.new)
        assert (one.steps, one.altered) == (again.steps, again.altered)
    assert not method.draws(trained)


@pytest.mark.parametrize("budget", [100, 10**6])
def test_a_budget_above_the_size_of_the_tail_ends(budget):
    made = network((4, 3), dtype=torch.float32)
    images = images_of(20, (4, 3), dtype=torch.float32)
    for sample in wrong_samples(made, 2, (4, 3)):
        correction = corrected(replace(PLAIN, budget=budget), posed(made, images), sample)
        assert is_right(after(made, correction), sample)


def dead(bias):
    """No hidden unit is ever active; an output bias is all that tells classes apart."""
    made = network((6, 5, 3), bias=bias, dtype=torch.float32)
    with torch.no_grad():
        made.lin1.weight.zero_()
        if bias:
            made.lin1.bias.fill_(-1.0)
            made.lin2.bias.copy_(torch.tensor([1.0, 0.0, -2.0]))
    return made


@pytest.mark.parametrize("budget", [1, 5, None])
@pytest.mark.parametrize("price", [Distance(), Divergence(20, 20)])
def test_a_dead_network_is_corrected_by_its_output_bias(budget, price):
    made, images = dead(bias=True), images_of(20, dtype=torch.float32)
    for label in (1, 2):
        sample = Sample(0, images[:1], torch.tensor([label]))
        correction = corrected(replace(PLAIN, budget=budget, price=price), posed(made, images), sample)
        assert correction.patch.tensors == ["lin2.bias"]
        assert is_right(after(made, correction), sample)


@pytest.mark.parametrize("budget", [1, 5, None])
@pytest.mark.parametrize("price", [Distance(), Divergence(20, 20)])
def test_a_dead_network_without_biases_is_a_failure_in_words(budget, price):
    made, images = dead(bias=False), images_of(20, dtype=torch.float32)
    sample = Sample(0, images[:1], torch.tensor([2]))
    correction = corrected(replace(PLAIN, budget=budget, price=price), posed(made, images), sample)
    assert correction.patch is None
    words = "any change of the last layers" if budget is None else f"a change of at most {budget} parameters"
    assert correction.reason == f"wrong after {words} that was looked at"


@pytest.mark.parametrize("budget", [1, 5, None])
@pytest.mark.parametrize("price", [Distance(), Divergence(20, 20)])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 3e38])
@pytest.mark.parametrize("layer", ["lin1", "lin3"])
def test_weights_that_are_not_finite_are_a_failure_in_words_never_a_number_that_is_none(
    layer, value, price, budget
):
    made, images = network(dtype=torch.float32), images_of(20, dtype=torch.float32)
    with torch.no_grad():
        getattr(made, layer).weight.fill_(value)
    sample = Sample(0, images[:1], torch.tensor([2]))
    correction = corrected(replace(PLAIN, budget=budget, price=price), posed(made, images), sample)
    if correction.patch is None:
        assert correction.reason
        return
    assert value == 3e38 or layer == "lin1", (
        "logits of the network itself are finite where ReLU hides what is not"
    )
    moved = after(made, correction)
    assert torch.isfinite(correction.patch.new).all()
    assert torch.isfinite(moved(sample.image)).all()
    assert is_right(moved, sample)


def test_the_network_has_the_last_word(small, monkeypatch):
    """Where the network rounds otherwise than its tail the change is made larger, a little, and then given up."""
    made, images, samples = small
    looks, problem = [], posed(made, images)
    with problem.trying() as trial:
        terms = terms_of(trial, samples[0], PLAIN.price, PLAIN.scope)
        found, _ = PLAIN.search(terms)
        plain = trial.answer

        def look(sample):
            looks.append(trial.flat[terms.tail.places[found.support.indices]].clone())
            seen = plain(sample)
            return replace(seen, right=len(looks) > 3)

        monkeypatch.setattr(trial, "answer", look)
        done = module.finished(trial, samples[0], terms.tail, found, 1, PLAIN.budget)
        assert torch.equal(trial.flat[done.patch.indices], done.patch.new)
        assert len(looks) == 4
        monkeypatch.setattr(trial, "answer", lambda sample: replace(plain(sample), right=False))
        never = module.finished(trial, samples[0], terms.tail, found, 7, PLAIN.budget)
        assert (never.patch, never.reason, never.steps) == (
            None,
            "wrong in the network itself, by more than rounding",
            7,
        )
    assert torch.equal(problem.current.flat, flat(made)), "what was altered is undone"


def test_a_network_without_a_linear_end_is_named(small):
    _, images, samples = small
    made = nn.Sequential(nn.Flatten(), nn.Linear(6, 3), nn.ReLU())
    with pytest.raises(ConfigError, match=r"no nn\.Linear that runs once"):
        corrected(PLAIN, posed(made, images), samples[0])


def test_without_a_price_there_is_no_search(small):
    made, images, samples = small
    with pytest.raises(ConfigError, match=r"method\.price=null"):
        corrected(replace(PLAIN, price=None), posed(made, images), samples[0])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("budget", 0, "budget=0: must be at least 1"),
        ("scope", 0, "scope=0"),
        ("singles", 0, "singles=0"),
        ("tries", 0, "tries=0"),
        ("iterations", 0, "iterations=0"),
        ("growth", -0.1, "growth=-0.1: must be at least 0"),
        ("tolerance", -1.0, "tolerance=-1.0: must be at least 0"),
        ("harm_budget", 0.0, "harm_budget=0.0: must be above 0, or null"),
    ],
)
def test_an_option_out_of_range_is_named(key, value, message):
    with pytest.raises(ValueError, match=message):
        replace(PLAIN, **{key: value})


def test_corrections_that_accumulate_start_from_the_network_as_it_is(trained, tiny, samples):
    """What is kept from sample to sample is of the network at hand."""
    problem, method = Problem(trained, known(trained, tiny)), replace(PLAIN, budget=3, scope=200)
    now = copy.deepcopy(trained)
    for sample in samples[:4]:
        if is_right(now, sample):
            continue
        correction = corrected(method, problem, sample)
        problem.advance(correction.patch)
        now = with_parameters(trained, problem.current.flat)
        assert is_right(now, sample)
        other = Problem(with_parameters(trained, problem.original), known(trained, tiny))
        with problem.trying() as one, other.trying() as two:
            terms, fresh = (terms_of(trial, sample, Distance(), 200) for trial in (one, two))
            support = terms.tail.support(torch.arange(3))
            assert (
                terms.target.rise(support, torch.ones(3))[0] == fresh.target.rise(support, torch.ones(3))[0]
            )
