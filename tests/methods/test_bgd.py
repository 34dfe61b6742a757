"""The parts of Budgeted Gradient Descent, each against an obvious statement of it."""

import copy
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracles import flat, gradient, idealized_selector, is_right, subset_search, widened, with_parameters
from torch import nn

from bgd import rng
from bgd.curvature.base import CurvatureError
from bgd.knowledge import Knowledge
from bgd.layers import LayerError
from bgd.methods.base import Problem, Sample, Trial
from bgd.methods.bgd import prior as prior_module
from bgd.methods.bgd.followed import AtHand
from bgd.methods.bgd.guard import CurvatureGuard
from bgd.methods.bgd.informed import ActivationPrior, CurvaturePrior
from bgd.methods.bgd.prior import (
    GradientPrior,
    LayerNormalisedPrior,
    Magnitude,
    Sampler,
    UniformPrior,
    Weights,
    is_of_many,
    prior_at,
)
from bgd.methods.bgd.search import SubsetSearch
from bgd.methods.bgd.steps import Search
from bgd.methods.bgd.update import FirstOrder, SecondOrder
from bgd.parameters import ParameterSpace
from experiments.mnist.networks import MLP


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
        sampler = Sampler(Weights.listed(weights), stream)
        seen[tuple(sampler.draw() for _ in range(3))] += 1
    chi2 = sum((seen[order] - count * p) ** 2 / (count * p) for order, p in expected.items())
    assert chi2 < 50, f"{chi2} with {len(expected) - 1} degrees of freedom"  # p = 0.001 at 49.7


def test_the_sampler_gives_everything_once_and_then_nothing():
    weights = torch.rand(300, generator=torch.Generator().manual_seed(0)) ** 8
    weights[::3] = 0
    sampler = Sampler(Weights.listed(weights), rng.stream(0))
    drawn = [sampler.draw() for _ in range(200)]
    assert sorted(drawn) == weights.nonzero().flatten().tolist()
    assert sampler.draw() is None
    assert Sampler(Weights.listed(torch.zeros(5)), rng.stream(0)).draw() is None


def test_a_refused_draw_is_repeated_and_the_last_one_counts_anyway():
    refused = []

    def never(index):
        refused.append(index)
        return False

    sampler = Sampler(Weights.listed(torch.ones(50)), rng.stream(1))
    last = sampler.draw_where(never, redraws=5)
    assert len(refused) == 5
    assert last not in refused
    assert (
        Sampler(Weights.listed(torch.ones(50)), rng.stream(1)).draw_where(lambda index: True, 5) == refused[0]
    )


def test_the_printed_probability_update_empties_what_it_reaches():
    sampler = Sampler(Weights.listed(torch.tensor([0.5, 0.3, 0.2])), rng.stream(0))
    sampler.lower(torch.tensor([0.6, 0.1, 0.2]))
    assert [sampler.draw(), sampler.draw()] == [1, None]


def test_priors():
    space = ParameterSpace(("a.weight", "a.bias", "b.weight"), ((2, 2), (2,), (1, 3)))
    gradient = torch.tensor([1.0, -2, 3, 4, 7, -8, 0, -5, 15])
    wanted = torch.tensor([1.0, 2, 3, 4, 0, 0, 0, 5, 15])

    def weights(prior, gradient):
        made = prior.weights(Magnitude(gradient, space))
        whole = made.whole()
        for start, stop in ((0, 3), (3, 7), (5, 6), (6, 9)):
            assert torch.equal(made.part(start, stop), whole[start:stop]), (prior, start)
        return whole

    assert torch.allclose(weights(GradientPrior(), gradient), wanted / 30)
    layered = weights(LayerNormalisedPrior(), gradient)
    assert torch.allclose(layered, torch.tensor([0.1, 0.2, 0.3, 0.4, 0, 0, 0, 0.25, 0.75]))
    assert gradient[1] == -2.0, "the gradient itself is not touched"
    assert torch.isfinite(weights(LayerNormalisedPrior(), torch.tensor([1.0, 1, 1, 1, 9, 0, 0, 0, 0]))).all()
    assert weights(UniformPrior(), gradient).tolist() == [1, 1, 1, 1, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("prior", [GradientPrior(), LayerNormalisedPrior(), UniformPrior()])
def test_weights_of_several_samples_are_those_of_each(prior):
    space = ParameterSpace(("a.weight", "a.bias", "b.weight"), ((90, 80), (90,), (3, 30)))
    gradients = torch.randn(5, space.size, generator=torch.Generator().manual_seed(0))
    gradients[1, space.span("b.weight")] = 0  # a layer without one
    gradients[2, 7], gradients[3, 7], gradients[4] = float("inf"), float("nan"), 0
    each = [Magnitude(gradient, space) for gradient in gradients]
    several = Magnitude(gradients, space, out=torch.empty_like(gradients))
    assert [bits(one.part(3, 99)) for one in several.each()] == [bits(one.part(3, 99)) for one in each]
    assert bits(several.total.flatten()) == bits(torch.stack([one.total for one in each]))
    assert bits(several.largest.flatten()) == bits(torch.stack([one.largest for one in each]))
    before = gradients.clone()
    assert is_of_many(prior)
    assert bits(prior.weights(several).whole()) == [bits(prior.weights(one).whole()) for one in each]
    assert bits(gradients) == bits(before)


def bits(values):
    return values.view(torch.int32).tolist()


def test_magnitudes_add_up_part_by_part(monkeypatch):
    monkeypatch.setattr(prior_module, "PART", 4)
    space = ParameterSpace(("a.weight", "a.bias", "b.weight"), ((2, 2), (2,), (1, 3)))
    magnitude = Magnitude(torch.tensor([1.0, -2, 3, 4, 70, -80, 0, -5, 15]), space)
    assert (float(magnitude.total), float(magnitude.largest)) == (30.0, 15.0)


def test_the_sampler_draws_the_same_whatever_is_added_up_at_a_time(monkeypatch):
    weights = torch.rand(20_000, generator=torch.Generator().manual_seed(3)) ** 8
    drawn = []
    for at_a_time in (prior_module.ROUND, 2 * prior_module.BLOCK):
        monkeypatch.setattr(prior_module, "ROUND", at_a_time)
        sampler = Sampler(Weights.listed(weights), rng.stream(0))
        drawn.append([sampler.draw() for _ in range(500)])
    assert drawn[0] == drawn[1]


def given(diagonal):
    """What gives a curvature with this diagonal (|W|,), and the estimators it was asked for."""
    asked = []

    @dataclass(frozen=True)
    class Curvature:
        def diagonal(self):
            return diagonal

    def curvature(estimator):
        asked.append(estimator)
        return Curvature()

    return Knowledge(curvature=curvature), asked


@dataclass(frozen=True)
class Estimator:
    images: int = 10


def per_harm(network, diagonal, magnitude, damping=1e-3):
    """Weights of the curvature prior (|W|,) as the knowledge of a diagonal gives them."""
    problem = Problem(network, given(diagonal)[0])
    with problem.trying() as trial:
        prior = prior_at(CurvaturePrior(Estimator(), damping), trial, None)
        return prior.weights(Magnitude(magnitude, trial.space)).whole()


def test_the_curvature_prior_is_the_squared_gradient_over_the_damped_curvature(trained):
    space, generator = ParameterSpace.of(trained), torch.Generator().manual_seed(0)
    magnitude = space.drop_biases(torch.rand(space.size, generator=generator))
    diagonal = torch.rand(space.size, generator=generator) ** 4
    diagonal[~space.candidates] = 1e6  # no weight: not in the mean
    found = per_harm(trained, diagonal, magnitude, damping=0.1)
    weights = space.candidates.nonzero().flatten().tolist()
    mean = sum(float(diagonal[j]) for j in weights) / len(weights)
    wanted = torch.zeros(space.size, dtype=torch.float64)
    for j in weights:
        wanted[j] = float(magnitude[j]) ** 2 / (float(diagonal[j]) + 0.1 * mean)
    assert torch.allclose(found.double() / found.double().sum(), wanted / wanted.sum(), rtol=1e-5)
    rescaled = per_harm(trained, 1e-30 * diagonal, 1e25 * magnitude, damping=0.1)
    assert torch.allclose(rescaled, found, rtol=1e-4), "neither scale matters"


def test_the_curvature_prior_stands_dead_units_and_a_curvature_of_zero(trained):
    space = ParameterSpace.of(trained)
    magnitude = space.drop_biases(torch.ones(space.size))
    magnitude[:3] = torch.tensor([0.0, 0.0, 1e30])
    diagonal = torch.ones(space.size)
    diagonal[[0, 3, 4]] = torch.tensor([0.0, 0.0, -1e-9])  # nothing either way; the sample alone; rounding
    found = per_harm(trained, diagonal, magnitude.clamp(max=1))
    assert found[:2].tolist() == [0.0, 0.0]
    assert float(found[3] / found[5]) == pytest.approx(1.001 / 0.001, rel=1e-3), "1 / damping, no more"
    assert float(found[4]) == pytest.approx(float(found[3]))
    huge = per_harm(trained, diagonal, magnitude)
    assert torch.isfinite(huge).all()
    assert int(huge.argmax()) == 2
    flat_out = per_harm(trained, torch.zeros(space.size), magnitude.clamp(max=2))
    assert torch.allclose(flat_out / flat_out[2], magnitude.clamp(max=2) ** 2 / 4)


def test_the_curvature_is_asked_for_once_and_only_where_it_may_be_known(trained, samples):
    space = ParameterSpace.of(trained)
    knowledge, asked = given(torch.ones(space.size))
    method, problem = SubsetSearch(prior=CurvaturePrior(Estimator())), Problem(trained, knowledge)
    for sample in samples[:3]:
        corrected(method, problem, sample)
    assert asked == [Estimator()]
    with pytest.raises(LookupError, match="the curvature of the training loss"):
        corrected(method, Problem(trained, knowledge.restricted("nothing")), samples[0])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_curvature_that_is_not_finite_is_a_failure_in_words(trained, samples, bad):
    diagonal = torch.ones(ParameterSpace.of(trained).size)
    diagonal[7] = bad
    method = SubsetSearch(prior=CurvaturePrior(Estimator()))
    correction, _ = corrected(method, Problem(trained, given(diagonal)[0]), samples[0])
    assert (correction.patch, correction.reason) == (None, "the prior is not finite")


def test_a_network_without_a_usable_curvature_is_a_failure_in_words(trained, samples):
    def overflows(estimator):
        raise CurvatureError("the squares overflow")

    method = SubsetSearch(prior=CurvaturePrior(Estimator()))
    correction, _ = corrected(method, Problem(trained, Knowledge(curvature=overflows)), samples[0])
    assert (correction.patch, correction.reason) == (None, "the squares overflow")


class Nothing:
    """A prior that leaves no weight."""

    def weights(self, magnitude):
        return Weights.listed(torch.zeros(magnitude.space.size))


def test_a_prior_that_leaves_nothing_is_a_failure_in_words(problem, samples):
    correction, _ = corrected(SubsetSearch(prior=Nothing()), problem, samples[0])
    assert (correction.patch, correction.reason) == (None, "the prior leaves no weight to draw")


def activations(network, image):
    """Weights of the activation prior (|W|,) of a network."""
    sample = Sample(0, image, torch.tensor([0]))
    with Problem(network).trying() as trial:
        prior = prior_at(ActivationPrior(), trial, sample)
        assert trial.forward_passes == 1
        return prior.weights(Magnitude(torch.full((trial.space.size,), 7.0), trial.space)).whole()


def test_the_activation_prior_is_what_goes_into_each_weight(trained, samples):
    image = samples[0].image
    with torch.no_grad():
        hidden1 = F.relu(trained.lin1(image.flatten(1)))
        hidden2 = F.relu(trained.lin2(hidden1))
    wanted = []
    for layer, values in ((trained.lin1, image.flatten(1)), (trained.lin2, hidden1), (trained.lin3, hidden2)):
        wanted += [
            abs(float(values[0, j])) for _ in range(layer.out_features) for j in range(layer.in_features)
        ]
        wanted += [0.0] * layer.out_features
    assert torch.allclose(activations(trained, image), torch.tensor(wanted))
    assert 0.0 in hidden2[0].tolist() + hidden1[0].tolist(), "a dead unit leads nowhere"


def test_the_activation_prior_of_a_convolution_is_the_mean_over_positions():
    """A weight raised by 1 adds to each position what it multiplies there."""
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 3, kernel_size=(3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2))
    image = torch.randn(1, 2, 9, 8)
    found = activations(nn.Sequential(layer), image)
    for j in range(layer.weight.numel()):
        weight = layer.weight.detach().clone()
        weight.view(-1)[j] += 1
        with torch.no_grad():
            before = layer(image)
            after = F.conv2d(image, weight, layer.bias, layer.stride, layer.padding, layer.dilation)
        positions = before[0, 0].numel()
        assert float(found[j]) == pytest.approx(float((after - before).abs().sum()) / positions, rel=1e-4)
    assert not found[layer.weight.numel() :].any()


@pytest.mark.parametrize(
    "layer",
    [
        nn.ConvTranspose2d(2, 3, 3),
        nn.Conv2d(2, 2, 3, groups=2),
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(2, 2, 2, padding="same"),
    ],
)
def test_a_layer_whose_activations_cannot_be_read_is_named(layer):
    with pytest.raises(LayerError, match=r"layer '0' is (not plain: it is )?a Conv"):
        activations(nn.Sequential(layer), torch.randn(1, 2, 8, 8))


def test_the_activation_prior_leaves_the_network_without_hooks(trained, samples):
    problem = Problem(trained)
    corrected(SubsetSearch(prior=ActivationPrior()), problem, samples[0])
    assert not any(layer._forward_pre_hooks for layer in problem.current.module.modules())


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
        found = guard.harmful(trial, g).tolist()
        weights = trial.candidates.nonzero().flatten().tolist()
    estimates = []
    for gj, mj in zip(g.numpy(), mean.numpy(), strict=True):  # float32 scalars: exact at the threshold
        estimates.append(
            abs(mj * gj) if form == "gradient_product" else abs(mj / gj) if gj else np.float32(0)
        )
    among = sorted(estimates[j] for j in weights)
    threshold = among[round(percentile / 100 * len(among)) - 1]
    assert [found[j] for j in weights] == [bool(estimates[j] > threshold) for j in weights]
    assert 0 < sum(found[j] for j in weights) < len(weights) * (1 - percentile / 100) + 1


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


def spied(monkeypatch, name, note, of=Search):
    """Have `note(search, *arguments)` called before a step of every search, or of what looks at its candidates."""
    kept = getattr(of, name)

    def step(self, *arguments):
        note(self, *arguments)
        return kept(self, *arguments)

    monkeypatch.setattr(of, name, step)


def test_pruning_is_algorithm_1(trained, samples, monkeypatch):
    """The pruned subset is what Algorithm 1 makes of the unpruned one, in the order the parameters came in."""
    trained, samples = widened(trained, samples)
    problem, unpruned = Problem(trained), []
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


@pytest.mark.parametrize(
    "options",
    [{}, {"update": FirstOrder(0.001)}, {"probability_update": "printed"}, {"prior": ActivationPrior()}],
)
def test_passes_are_counted_as_one_after_the_other_would_take_them(problem, samples, options):
    method = SubsetSearch(**options)
    correction, trial = corrected(method, problem, samples[0])
    counting = Counting(problem.current.module)
    with problem.trying() as plain:
        subset_search(method, plain, samples[0], rng.stream(0, "method", samples[0].index))
    assert trial.forward_passes == counting.calls
    assert trial.backward_passes == plain.backward_passes >= 1
    assert correction.steps <= 20


def test_a_hopeless_search_stops_and_says_so(problem, samples):
    correction, _ = corrected(SubsetSearch(update=FirstOrder(1e-9), iterations=4), problem, samples[0])
    assert correction.patch is None
    assert correction.reason == "wrong after 4 iterations"
    assert (correction.steps, correction.altered) == (4, 0)


@pytest.mark.parametrize(("probability", "sizes"), [(0.0, [5, 15, 25, 35]), (1.0, [5] * 16)])
def test_replace_keeps_the_size_and_expand_grows(problem, samples, monkeypatch, probability, sizes):
    seen = []
    for name in ("attempt", "move"):
        spied(monkeypatch, name, lambda search, subset: seen.append(len(subset)), AtHand)
    hopeless = SubsetSearch(update=FirstOrder(1e-9), iterations=3, replace_probability=probability)
    corrected(hopeless, problem, samples[0])
    assert seen == sizes


class Silent:
    """A prior over the weights that have no gradient: changing them changes nothing."""

    def weights(self, magnitude):
        space = magnitude.space
        return Weights.listed(space.drop_biases((magnitude.part(0, space.size) == 0).float()))


def test_a_swap_that_does_not_lower_the_loss_is_not_kept(problem, samples, monkeypatch):
    held, swaps = [], []
    spied(monkeypatch, "replace", lambda search: held.append(list(search.subset)))
    spied(monkeypatch, "attempt", lambda search, subset: swaps.append(list(subset)), AtHand)
    search = SubsetSearch(prior=Silent(), iterations=3, replace_probability=1.0)
    corrected(search, problem, samples[0])
    first = held[0]
    assert len(swaps) == 15
    for place, swapped in enumerate(swaps):
        different = [where for where in range(5) if swapped[where] != first[where]]
        assert different == [place % 5], "one after the other, each against the subset as it is"


def test_a_swap_that_lowers_the_loss_is_kept(problem, samples, monkeypatch):
    """The loss of the subset as it stands never rises within a replacement."""
    losses, hands = [], []
    kept = Search.replace
    spied(monkeypatch, "lead", lambda hand, search: hands.append(hand), AtHand)

    def replace(search):
        before = search.answer.loss
        yield from kept(search)
        losses.append((before, search.answer.loss, hands[-1].attempt(search.subset).answer.loss))

    monkeypatch.setattr(Search, "replace", replace)
    for sample in samples[:3]:
        corrected(SubsetSearch(update=FirstOrder(0.001), replace_probability=1.0), problem, sample)
    assert all(after <= before for before, after, _ in losses)
    assert any(after < before for before, after, _ in losses)
    assert all(after == again for _, after, again in losses), "what is kept is what was looked at"


def test_the_printed_update_lowers_by_the_gradient_at_the_subset_as_it_stands(
    problem, trained, samples, monkeypatch
):
    """Not at the swap that was tried last and not kept."""
    running, tried, refused = [], [], []
    spied(monkeypatch, "run", lambda search: running.append(search) or tried.clear())
    spied(monkeypatch, "attempt", lambda search, subset: tried.append(subset), AtHand)

    def checking(sampler, by):
        search, moved = running[-1], flat(trained)
        moved[search.subset] -= 0.05 * gradient(trained, search.sample)[search.subset]
        wanted = gradient(with_parameters(trained, moved), search.sample).abs()
        assert torch.allclose(by, wanted, atol=1e-6, rtol=1e-5)
        if tried:  # nothing before the first swap of a sample
            refused.append(tried[-1] != search.subset)

    monkeypatch.setattr(Sampler, "lower", checking)
    method = SubsetSearch(
        update=FirstOrder(0.05), iterations=5, replace_probability=1.0, probability_update="printed"
    )
    for sample in samples[:5]:
        corrected(method, problem, sample)
    assert any(refused), "a swap must have been refused last, or this test shows little"
    assert not all(refused)


class Odd:
    """A guard that calls every parameter with an odd index harmful."""

    redraws = 100

    def harmful(self, trial, gradient):
        return torch.arange(len(gradient)) % 2 == 1


def test_the_search_avoids_what_the_guard_marks(problem, samples, monkeypatch):
    seen = set()
    spied(monkeypatch, "attempt", lambda search, subset: seen.update(subset), AtHand)
    for sample in samples[:3]:
        corrected(SubsetSearch(guard=Odd()), problem, sample)
    assert len(seen) > 10
    assert not [index for index in seen if index % 2]


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
        look = trial.answer(sample)
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
        {"stop": "wrong"},
        {"replace": "expand"},
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


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: CurvatureGuard(percentile=100.0), "percentile="),
        (lambda: CurvatureGuard(percentile=0.0), "percentile="),
        (lambda: CurvatureGuard(redraws=-1), "redraws="),
        (lambda: CurvatureGuard(form="hessian"), "form="),
        (lambda: FirstOrder(step=0.0), "step="),
        (lambda: SecondOrder(form="inverse"), "form="),
        (lambda: CurvaturePrior(Estimator(), damping=0.0), "damping="),
    ],
)
def test_options_of_the_parts_out_of_range_are_named(make, key):
    with pytest.raises(ValueError, match=key):
        make()
