"""The parts of Budgeted Gradient Descent, each against an obvious statement of it."""

import copy
from itertools import permutations

import numpy as np
import pytest
import torch
from oracles import flat, gradient, idealized_selector, is_right, with_parameters

from bgd import rng
from bgd.methods.base import Problem, Sample, Trial
from bgd.methods.bgd import search as module
from bgd.methods.bgd.guard import CurvatureGuard
from bgd.methods.bgd.prior import GradientPrior, LayerNormalisedPrior, Sampler, UniformPrior
from bgd.methods.bgd.search import SubsetSearch
from bgd.methods.bgd.update import FirstOrder, SecondOrder
from bgd.networks import MLP
from bgd.parameters import ParameterSpace


def test_the_sampler_draws_without_replacement_as_often_as_it_should():
    weights = torch.tensor([5.0, 0.0, 3.0, 1.0, 1.0])
    expected = {}
    for order in permutations([0, 2, 3, 4], 3):
        chance, left = 1.0, 10.0
        for index in order:
            chance *= float(weights[index]) / left
            left -= float(weights[index])
        expected[order] = chance
    assert sum(expected.values()) == pytest.approx(1)
    count, seen = 6000, dict.fromkeys(expected, 0)
    stream = rng.stream(0, "sampler")
    for _ in range(count):
        sampler = Sampler(weights, stream)
        seen[tuple(sampler.draw() for _ in range(3))] += 1
    chi2 = sum((seen[order] - count * p) ** 2 / (count * p) for order, p in expected.items())
    assert chi2 < 50, f"{chi2} with {len(expected) - 1} degrees of freedom"  # p = 0.001 at 49.7


def test_the_sampler_gives_everything_once_and_then_nothing():
    weights = torch.rand(300, generator=torch.Generator().manual_seed(0)) ** 8
    weights[::3] = 0
    sampler = Sampler(weights, rng.stream(0))
    drawn = [sampler.draw() for _ in range(200)]
    assert sorted(drawn) == weights.nonzero().flatten().tolist()
    assert sampler.draw() is None
    assert Sampler(torch.zeros(5), rng.stream(0)).draw() is None


def test_a_refused_draw_is_repeated_and_the_last_one_counts_anyway():
    refused = []

    def never(index):
        refused.append(index)
        return False

    sampler = Sampler(torch.ones(50), rng.stream(1))
    last = sampler.draw_where(never, redraws=5)
    assert len(refused) == 5
    assert last not in refused
    assert Sampler(torch.ones(50), rng.stream(1)).draw_where(lambda index: True, 5) == refused[0]


def test_the_printed_probability_update_empties_what_it_reaches():
    sampler = Sampler(torch.tensor([0.5, 0.3, 0.2]), rng.stream(0))
    sampler.lower(torch.tensor([0.6, 0.1, 0.2]))
    assert [sampler.draw(), sampler.draw()] == [1, None]


def test_priors():
    space = ParameterSpace(("a.weight", "a.bias", "b.weight"), ((2, 2), (2,), (1, 3)))
    magnitude = torch.tensor([1.0, 2, 3, 4, 0, 0, 0, 5, 15])
    assert torch.allclose(GradientPrior().weights(magnitude, space), magnitude / 30)
    layered = LayerNormalisedPrior().weights(magnitude, space)
    assert torch.allclose(layered, torch.tensor([0.1, 0.2, 0.3, 0.4, 0, 0, 0, 0.25, 0.75]))
    assert magnitude[0] == 1.0, "the gradient itself is not touched"
    silent = LayerNormalisedPrior().weights(torch.tensor([1.0, 1, 1, 1, 0, 0, 0, 0, 0]), space)
    assert torch.isfinite(silent).all()
    assert UniformPrior().weights(magnitude, space).tolist() == [1, 1, 1, 1, 0, 0, 1, 1, 1]


def test_update_rules():
    g = torch.tensor([0.5, -2.0, 0.0, 1e-42])
    all_of_it = torch.arange(4)
    assert torch.allclose(FirstOrder(0.1).change(g, all_of_it[:2]), torch.tensor([-0.05, 0.2]))
    assert SecondOrder().change(g, all_of_it).tolist() == [-2.0, 0.5, 0.0, 0.0]
    assert torch.allclose(SecondOrder("subset_norm").change(g, all_of_it[:1]), torch.tensor([-2.0]))
    assert torch.allclose(SecondOrder("full_norm").change(g, all_of_it[:1]), torch.tensor([-0.5 / 4.25]))
    assert SecondOrder("subset_norm").change(g, all_of_it[2:3]).tolist() == [0.0]


@pytest.mark.parametrize("form", ["gradient_product", "second_order_step"])
@pytest.mark.parametrize("percentile", [50.0, 95.0, 98.0])
def test_the_guard_marks_what_is_above_the_percentile(problem, samples, form, percentile):
    guard = CurvatureGuard(percentile=percentile, form=form)
    with problem.trying() as trial:
        g, mean = trial.gradient(samples[0]), trial.mean_gradient
        estimates = []
        for gj, mj in zip(g.tolist(), mean.tolist(), strict=True):
            estimates.append(abs(mj * gj) if form == "gradient_product" else abs(mj / gj) if gj else 0.0)
        weights = trial.candidates.nonzero().flatten().tolist()
        among = sorted(estimates[j] for j in weights)
        threshold = among[round(percentile / 100 * len(among)) - 1]
        found = guard.harmful(trial, g).tolist()
    for j in weights:
        if (
            abs(estimates[j] - threshold) > 1e-5 * threshold
        ):  # float32 and float64 round apart at the threshold
            assert found[j] == (estimates[j] > threshold)
    assert any(found[j] for j in weights)


def corrected(method, problem, sample, seed=0):
    with problem.trying() as trial:
        return method.correct(trial, sample, rng.stream(seed, "method", sample.index)), trial


def test_the_result_is_the_original_plus_the_update_on_weights_alone(problem, trained, samples):
    found = 0
    for sample in samples:
        correction, _ = corrected(SubsetSearch(), problem, sample)
        if correction.patch is None:
            continue
        found += 1
        patch, g, before = correction.patch, gradient(trained, sample), flat(trained)
        assert patch.space.candidates[patch.indices].all()
        assert torch.allclose(patch.new, before[patch.indices] - 1 / g[patch.indices], rtol=1e-4)
        assert torch.equal(patch.old, before[patch.indices])
        assert len(patch) <= correction.altered
        after = before.clone()
        patch.apply(after)
        assert is_right(with_parameters(trained, after), sample)
    assert found > len(samples) / 2


def spied(monkeypatch, name, note):
    """Have `note(search, *arguments)` called before a step of every search."""
    kept = getattr(module._Search, name)

    def step(self, *arguments):
        note(self, *arguments)
        return kept(self, *arguments)

    monkeypatch.setattr(module._Search, name, step)


def test_pruning_is_algorithm_1(problem, trained, samples, monkeypatch):
    """The pruned subset is what Algorithm 1 makes of the unpruned one, in the order the parameters came in."""
    unpruned = []
    spied(monkeypatch, "prune", lambda search: unpruned.append(list(search.subset)))
    smaller = 0
    for sample in samples:
        whole, _ = corrected(SubsetSearch(prune=False), problem, sample)
        pruned, _ = corrected(SubsetSearch(), problem, sample)
        if whole.patch is None:
            continue
        changed = flat(trained)
        whole.patch.apply(changed)
        wanted = idealized_selector(trained, sample, unpruned[-1], changed)
        assert sorted(wanted) == pruned.patch.indices.tolist()
        assert pruned.altered == len(wanted)
        smaller += len(wanted) < len(unpruned[-1])
    assert smaller


class Counting:
    """Counts the forward passes of a network."""

    def __init__(self, network):
        self.calls = 0
        network.register_forward_hook(self)

    def __call__(self, *_):
        self.calls += 1


@pytest.mark.parametrize("options", [{}, {"update": FirstOrder(0.001)}, {"probability_update": "printed"}])
def test_passes_are_counted(problem, samples, options):
    counting = Counting(problem.current.module)
    correction, trial = corrected(SubsetSearch(**options), problem, samples[0])
    assert trial.forward_passes == counting.calls
    assert trial.backward_passes >= 1
    assert correction.steps <= 20


def test_a_hopeless_search_stops_and_says_so(problem, samples):
    correction, _ = corrected(SubsetSearch(update=FirstOrder(1e-9), iterations=4), problem, samples[0])
    assert correction.patch is None
    assert correction.reason == "wrong after 4 iterations"
    assert (correction.steps, correction.altered) == (4, 0)


@pytest.mark.parametrize(("probability", "sizes"), [(0.0, [5, 15, 25, 35]), (1.0, [5] * 16)])
def test_replace_keeps_the_size_and_expand_grows(problem, samples, monkeypatch, probability, sizes):
    seen = []
    spied(monkeypatch, "attempt", lambda search, subset: seen.append(len(subset)))
    hopeless = SubsetSearch(update=FirstOrder(1e-9), iterations=3, replace_probability=probability)
    corrected(hopeless, problem, samples[0])
    assert seen == sizes


def broken(network, make):
    network = copy.deepcopy(network)
    with torch.no_grad():
        make(network)
    return Problem(network)


def test_a_zero_gradient_is_a_failure_in_words(trained, samples):
    """Dead hidden units and a bias that decides: the weights have no gradient at all."""

    def dead(network):
        for layer in (network.lin1, network.lin2, network.lin3):
            layer.weight.zero_()
            layer.bias.fill_(-1.0)

    problem = broken(trained, dead)
    for method in (SubsetSearch(), SubsetSearch(update=FirstOrder())):
        correction, _ = corrected(method, problem, samples[0])
        assert (correction.patch, correction.reason) == (None, "the gradient is zero")


def test_a_gradient_that_is_not_finite_is_a_failure_in_words(trained, samples):
    problem = broken(trained, lambda network: network.lin3.weight.fill_(float("nan")))
    correction, _ = corrected(SubsetSearch(), problem, samples[0])
    assert (correction.patch, correction.reason) == (None, "the gradient is not finite")


def test_outputs_that_are_not_finite_are_never_right(trained, samples):
    sample = samples[0]
    label = int(sample.label)

    def overflow(network):
        network.lin3.bias.fill_(-float("inf"))
        network.lin3.bias[label] = 0.0

    problem = broken(trained, overflow)
    with problem.trying() as trial:
        look = trial.look(sample)
    assert look.prediction == label
    assert not look.right


@pytest.mark.parametrize(
    "bad",
    [
        {"subset_size": 0},
        {"subset_size": -3},
        {"iterations": 0},
        {"expansion": -1},
        {"replace_probability": 1.2},
        {"probability_update": "none"},
    ],
)
def test_options_out_of_range_are_named(bad):
    ((key, _),) = bad.items()
    with pytest.raises(ValueError, match=f"{key}="):
        SubsetSearch(**bad)


def test_more_parameters_than_there_are_is_no_error():
    torch.manual_seed(0)
    network = MLP(hidden1=1, hidden2=1)
    sample = Sample(0, torch.randn(1, 1, 28, 28), torch.tensor([3]))
    problem = Problem(network)
    correction, trial = corrected(SubsetSearch(subset_size=5000, iterations=2), problem, sample)
    assert isinstance(trial, Trial)
    assert correction.altered <= problem.current.space.candidates.sum()
    assert np.isfinite(correction.steps)
