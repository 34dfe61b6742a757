"""No weight outgrows its tensor where a sample says so, and nothing else changes: over many small networks."""

from dataclasses import replace

import pytest
import torch
from oracles import flat
from small_tails import images_of, network, posed, support_of, tail_of, wrong_samples

from bgd import rng
from bgd.arithmetic.elsewhere import growth
from bgd.methods.base import Problem
from bgd.methods.hard_threshold import HardThreshold
from bgd.methods.least_harm.grow import alone
from bgd.methods.least_harm.growth import beyond, limits_of
from bgd.methods.least_harm.harm import Distance, Divergence
from bgd.methods.least_harm.search import EACH, LeastHarm, terms_of
from bgd.patch import Patch

SIZES = (6, 8, 6, 3)
METHODS = {
    "images": LeastHarm(Divergence(60, 30), 4, 0.0, None, 20000, 8, 0.25, 2, 2),
    "distance": LeastHarm(Distance(), 4, 0.0, None, 20000, 8, 0.25, 2, 2),
    "one": LeastHarm(Divergence(60, 30), 1, 0.0, None, 20000, 8, 0.25, 2, 2),
}


def corrected(method, problem, sample):
    return problem.attempt(method, sample, rng.stream(0, "method", sample.index))[0].patch


def largest(problem, patch):
    return max(growth(patch, problem.original).values(), default=0.0) if patch is not None else 0.0


@pytest.mark.parametrize("name", METHODS)
def test_no_proposal_is_beyond_the_bound_and_one_within_it_stays(name):
    bound = 1.05
    kept, replaced = 0, 0
    for seed in range(3):
        made = network(SIZES, seed=seed, dtype=torch.float32)
        problem = posed(made, images_of(60, dtype=torch.float32))
        for sample in wrong_samples(made, 3):
            free = corrected(METHODS[name], problem, sample)
            held = corrected(METHODS[name], problem, replace(sample, growth=bound))
            assert largest(problem, held) <= bound
            if free is not None and largest(problem, free) <= bound:
                assert torch.equal(free.indices, held.indices)
                assert torch.equal(free.new, held.new)
                kept += 1
            elif free is not None:
                replaced += held is not None
    assert kept, "some changes are within the bound"
    assert replaced, "in place of some of the others there is another"


@pytest.mark.parametrize(
    "method", [LeastHarm(Divergence(60, 30), None), HardThreshold(Divergence(60, 30), 3)]
)
def test_a_solution_on_all_or_by_exchange_is_held_to_the_bound_too(method):
    outgrown = 0
    for seed in range(4):
        made = network(SIZES, seed=seed, dtype=torch.float32)
        problem = posed(made, images_of(60, dtype=torch.float32))
        for sample in wrong_samples(made, 4):
            assert largest(problem, corrected(method, problem, replace(sample, growth=1.0))) <= 1.0
            outgrown += largest(problem, corrected(method, problem, sample)) > 1.0
    assert outgrown, "unbounded, some are beyond"


def test_parameters_are_held_to_the_bound_rather_than_a_harmful_one_taken():
    """A cheap parameter goes as far as its bound, and others do the rest: less harm than what happens to be within."""
    method = LeastHarm(Divergence(60, 30), 6, 0.0, None, 20000, 8, 0.25, 2, 4)
    better = 0
    for seed in range(4):
        made = network(SIZES, seed=seed, dtype=torch.float32)
        problem = posed(made, images_of(60, dtype=torch.float32))
        for sample in (replace(each, growth=1.05) for each in wrong_samples(made, 4)):
            with problem.trying() as trial:
                terms = terms_of(trial, sample, method.price, method.scope)
                singles = alone(terms.harm, terms.target, terms.tail, method.singles, EACH)
                before, _, _ = method._from(terms, singles)
                found, _ = method.search(terms)
                assert found is None or terms.within(found) is found
                if before is not None:
                    assert found.cost.value <= before.cost.value
                    better += found.cost.value < 0.7 * before.cost.value
    assert better, "where a better one is beyond the bound"


@pytest.mark.parametrize("bias", [True, False])
def test_a_change_outgrows_its_tensor_where_the_patch_of_it_does(bias):
    made = network(SIZES, bias, dtype=torch.float32)
    tail, sample, found = tail_of(made), wrong_samples(made, 1)[0], set()
    with Problem(made).trying() as trial:
        for seed in range(30):
            support, change = support_of(tail, seed, 4)
            change = 2 * change.float()
            places = tail.places[support.indices]
            patch = Patch.sparse(trial.space, places, flat(made)[places], flat(made)[places] + change)
            wanted = max(growth(patch, flat(made)).values(), default=0.0) > 1.5
            limits = limits_of(trial, replace(sample, growth=1.5), tail)
            assert bool(beyond(limits, trial, support, change).any()) == wanted
            assert not beyond(limits_of(trial, sample, tail), trial, support, change).any()
            found.add(wanted)
    assert found == {True, False}
