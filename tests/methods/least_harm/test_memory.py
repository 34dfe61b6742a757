"""Prices that remember the corrections before: what they add to the price they take, and when."""

import numpy as np
import pytest
import torch
from conftest import known
from oracles import is_right, with_parameters
from small_tails import support_of, tail_of

from bgd import rng
from bgd.curvature.diagonal import EmpiricalFisher
from bgd.curvature.kfac import KFAC
from bgd.methods.base import Problem, Sample
from bgd.methods.least_harm.harm import Distance, Divergence, Statistic, first
from bgd.methods.least_harm.kronecker import Kronecker
from bgd.methods.least_harm.memory import Hardened, Protected, Refreshed
from bgd.methods.least_harm.protect import SOFT
from bgd.methods.least_harm.search import LeastHarm
from bgd.patch import Patch

SCOPE = 200  # the last layer of the trained MLP
STATISTIC = Statistic(EmpiricalFisher(images=50))
KRONECKER = Kronecker(KFAC(images=50))
PLAIN = {"nothing": Distance(), "diagonal": STATISTIC, "kronecker": KRONECKER, "keep-set": Divergence(60, 60)}
NOTHING = torch.empty(0)


@pytest.fixture
def problem(trained, tiny):
    return Problem(trained, known(trained, tiny))


@pytest.fixture
def samples(trained, tiny):
    """Images with a label that is not the network's."""
    images = tiny.held_out.tensors()[0][:12]
    with torch.no_grad():
        second = trained(images).argsort(1, descending=True)[:, 1]
    return [Sample(place, images[place][None], second[place][None]) for place in range(12)]


def moved(problem, seed):
    """Change some parameters of the last layer for good: what the change was, over the tail (P,)."""
    with problem.trying() as trial:
        tail = tail_of(trial.network, SCOPE)
        first(trial, tail)  # as at the first sample
        support, change = support_of(tail, seed, 5)
        places = tail.places[support.indices]
        patch = Patch.sparse(
            trial.space, places, trial.original[places], trial.original[places] + change.float()
        )
    problem.advance(patch)
    vector = torch.zeros(tail.size)
    vector[support.indices] = change.float()
    return vector


def harm_now(problem, price, carry=()):
    """The harm of changes of the network as it is, and its tail."""
    problem.carry = carry
    with problem.trying() as trial:
        tail = tail_of(trial.network, SCOPE)
        return price.harm(trial, tail, tail.weights(trial.original)), tail


@pytest.mark.parametrize(
    "price", [PLAIN["nothing"], STATISTIC, KRONECKER], ids=["nothing", "diagonal", "kronecker"]
)
def test_a_quadratic_form_is_of_all_changes_since_n0(price, problem):
    """(D + d)'H(D + d) / 2, H read off the model of a network without earlier changes."""
    harm, tail = harm_now(problem, price)
    none = tail.support(torch.empty(0, dtype=torch.long))
    matrix = harm.model(none, NOTHING).columns(tail.support(torch.arange(tail.size))).double()
    drift = (moved(problem, 1) + moved(problem, 2)).double()
    harm, tail = harm_now(problem, price)
    support, change = support_of(tail, 3, 6)
    whole = drift.clone()
    whole[support.indices] += change
    assert harm.cost(none, NOTHING).value == pytest.approx(float(drift @ matrix @ drift) / 2, rel=1e-4)
    assert harm.cost(support, change).value == pytest.approx(float(whole @ matrix @ whole) / 2, rel=1e-4)
    model, wanted = harm.model(support, change), (matrix @ whole).float()
    assert torch.allclose(model.gradient().float(), wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))
    on, _ = support_of(tail, 4, 7)
    slopes, own = model.on(on)
    assert torch.allclose(
        slopes.float(), wanted[on.indices], rtol=1e-3, atol=1e-4 * float(wanted.abs().max())
    )
    assert torch.allclose(own, matrix[on.indices][:, on.indices], rtol=1e-3, atol=1e-7)


def margins(network, samples):
    """The softened margin of each sample."""
    found = []
    for sample in samples:
        logits, label = network(sample.image)[0], int(sample.label)
        rivals = torch.cat([logits[:label], logits[label + 1 :]])
        found.append(logits[label] - SOFT * (rivals / SOFT).logsumexp(0))
    return torch.stack(found)


@pytest.mark.parametrize("name", list(PLAIN))
def test_protection_adds_the_shortfalls_of_earlier_samples(name, problem, samples):
    price = Protected(PLAIN[name], weight=0.2, lead=0.3)
    moved(problem, 1)
    support, change = support_of(harm_now(problem, PLAIN[name])[1], 3, 6)
    plain, _ = harm_now(problem, PLAIN[name], tuple(samples[:4]))
    harm, tail = harm_now(problem, price, tuple(samples[:4]))
    vector = problem.original.clone()
    vector[tail.places[support.indices]] += change.float()
    with torch.no_grad():
        short = (0.3 - margins(with_parameters(problem.current.module, vector), samples[:4])).clamp_min(0)
    added = harm.cost(support, change).value - plain.cost(support, change).value
    assert added > 0
    assert added == pytest.approx(0.1 * float(short.square().sum()), rel=1e-3)
    unprotected, _ = harm_now(problem, price)
    assert unprotected.cost(support, change) == plain.cost(support, change)


def test_hardening_adds_the_squared_gradients_of_earlier_margins(problem, samples):
    drift = moved(problem, 1)
    harm, tail = harm_now(problem, Hardened(STATISTIC, weight=0.5), tuple(samples[:3]))
    none = tail.support(torch.empty(0, dtype=torch.long))
    plain = harm_now(problem, STATISTIC)[0].model(none, NOTHING).diagonal()
    network = with_parameters(problem.current.module, problem.original)
    wanted = torch.zeros(tail.size)
    for margin in margins(network, samples[:3]):
        parts = torch.autograd.grad(
            margin, [dict(network.named_parameters())[n] for n in tail.tensors], retain_graph=True
        )
        wanted += torch.cat([part.flatten() for part in parts]).square()
    model = harm.model(none, NOTHING)
    assert torch.allclose(model.diagonal() - plain, 0.5 * wanted, rtol=1e-3, atol=1e-5)
    assert drift.any()
    assert not model.gradient().any(), "nothing pulls back what was corrected before"
    assert harm.cost(none, NOTHING).value == 0.0


@pytest.mark.parametrize("price", [STATISTIC, KRONECKER], ids=["diagonal", "kronecker"])
def test_curvature_is_made_anew_every_so_many_corrections(price, problem, samples, tiny):
    refreshed, found = Refreshed(price, every=2), {}
    for count in range(6):
        if count:
            moved(problem, count)
        harm, tail = harm_now(problem, refreshed, tuple(samples[:count]))
        none = tail.support(torch.empty(0, dtype=torch.long))
        found[count] = harm.model(none, NOTHING).diagonal()
        if count in (2, 4):
            images, labels = (part[:50] for part in tiny.train.tensors())
            now = with_parameters(problem.current.module, problem.original)
            stream = rng.stream(0, "curvature", count)
            curvature = price.estimator.estimate(now, problem.current.space, images, labels, stream)
            made = price.of(curvature, tail)
            wanted = made if isinstance(made, torch.Tensor) else made.diagonal
            assert torch.allclose(found[count], wanted, rtol=1e-5)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[2], found[3])
    assert torch.equal(found[4], found[5])
    assert not torch.allclose(found[0], found[2])
    assert not torch.allclose(found[2], found[4])
    plain = harm_now(problem, price)[0].model(none, NOTHING).diagonal()
    assert torch.equal(plain, found[0])


def test_refreshing_needs_the_training_data(problem, samples):
    problem.knowledge = problem.knowledge.restricted("statistic")
    harm_now(problem, Refreshed(STATISTIC, 2), tuple(samples[:1]))
    with pytest.raises(LookupError, match="'training_data' would not"):
        harm_now(problem, Refreshed(STATISTIC, 2), tuple(samples[:2]))


def in_a_row(problem, method, samples):
    """Correct what is still wrong, one after the other: the share of the corrected that is right in the end."""
    for sample in samples:
        if is_right(with_parameters(problem.current.module, problem.original), sample):
            continue
        with problem.trying() as trial:
            correction = method.correct(trial, sample, np.random.default_rng(0))
        problem.carry = correction.carry
        if correction.patch is not None:
            problem.advance(correction.patch)
    last = with_parameters(problem.current.module, problem.original)
    return sum(is_right(last, sample) for sample in problem.carry) / len(problem.carry)


def test_a_search_that_remembers_forgets_less(trained, tiny, samples):
    def kept(price):
        method = LeastHarm(price, 12, 0.0, None, SCOPE, 8, 1.0, 1, 3)
        return in_a_row(Problem(trained, known(trained, tiny)), method, samples)

    assert kept(Protected(KRONECKER, 10.0, 0.3)) > kept(KRONECKER)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Protected(STATISTIC, 0.0, 0.3), r"weight=0\.0: must be above 0"),
        (lambda: Protected(STATISTIC, 1.0, 0.0), r"lead=0\.0: must be above 0"),
        (lambda: Hardened(STATISTIC, -1.0), r"weight=-1\.0: must be above 0"),
        (lambda: Refreshed(STATISTIC, 0), "every=0: must be at least 1"),
    ],
)
def test_an_option_out_of_range_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
