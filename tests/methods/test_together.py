"""Many searches in compiled code beside the search itself, one sample after another: the same to the last bit."""

from collections import OrderedDict
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import known
from oracles import gradient
from torch import nn

from bgd import rng
from bgd.knowledge import Knowledge
from bgd.methods.base import Answer, Problem, Sample, Together
from bgd.methods.bgd import compiled, together
from bgd.methods.bgd.guard import CurvatureGuard
from bgd.methods.bgd.informed import ActivationPrior
from bgd.methods.bgd.prior import GradientPrior, LayerNormalisedPrior, UniformPrior, Weights
from bgd.methods.bgd.row import gradients, layers_of
from bgd.methods.bgd.search import SubsetSearch
from bgd.methods.bgd.update import FirstOrder, SecondOrder
from bgd.methods.catalogue.smallest import BGDIISmallest
from bgd.methods.catalogue.thesis import BGDC, BGDI, BGDII, BGDHarm, BGDNorm, Random
from bgd.methods.smallest_step import SmallestStep
from bgd.methods.top_k import TopK
from experiments.mnist.networks import MLP


class OneByOne:
    """A prior and a guard as a user may write them: for one sample alone, in memory of their own."""

    redraws = 3

    def __init__(self):
        self.room = None

    def weights(self, magnitude):
        first = magnitude.part(
            0, magnitude.space.size
        ).square_()  # and what comes next is of the magnitudes themselves
        again = magnitude.part(0, magnitude.space.size)
        return Weights.listed(first / first.sum() + again / magnitude.total)

    def harmful(self, trial, gradient):
        assert gradient.shape == (trial.space.size,)
        assert float(gradient.abs().max()) > 0, "no sample that cannot be searched for"
        if self.room is None or len(self.room) != len(gradient):
            self.room = torch.empty_like(gradient, dtype=torch.bool)
        return torch.greater(gradient, gradient.quantile(0.7), out=self.room)


class LargeAlone(GradientPrior):
    def weights(self, magnitude):
        every = magnitude.part(0, magnitude.space.size)
        return Weights.listed(every * (every > every.quantile(0.9)))


class HarmfulAlone(CurvatureGuard):
    def harmful(self, trial, gradient):
        estimate = self.estimate(trial, gradient)
        return estimate > estimate.quantile(0.9)


class InformedOfEach:
    """What a sample says decides, although weights could be made of many."""

    of_many = True

    def at(self, trial, sample):
        trial.logits(sample)
        return PowerOf(1 + sample.index % 2)


class PowerOf:
    def __init__(self, power):
        self.power = power

    def weights(self, magnitude):
        return magnitude.weights(lambda part, *_: part.pow_(self.power))


VARIANTS = [
    *(BGDII(), BGDI(), BGDC(), BGDNorm(), Random()),
    SubsetSearch(prior=ActivationPrior()),
    SubsetSearch(update=SecondOrder("full_norm"), iterations=5),
    SubsetSearch(update=FirstOrder(0.3), prior=UniformPrior(), expansion=40),
    SubsetSearch(prune=False, replace_probability=0.0),
    SubsetSearch(subset_size=1, replace_probability=1.0),
    SubsetSearch(guard=CurvatureGuard(percentile=50, form="second_order_step", redraws=2)),
    SubsetSearch(subset_size=30, iterations=3, prior=LayerNormalisedPrior()),
    SubsetSearch(prior=OneByOne(), guard=OneByOne()),
    SubsetSearch(prior=LargeAlone(), guard=HarmfulAlone()),
    SubsetSearch(prior=InformedOfEach()),
    BGDIISmallest(),
    SmallestStep(inner=BGDC(), margin=0.0, tolerance=0.1),
    SubsetSearch(stop="never", iterations=5),
    SubsetSearch(replace="printed", update=FirstOrder(0.3)),
    SubsetSearch(replace="printed", stop="never", subset_size=1, prior=UniformPrior(), iterations=6),
]


def network_of(seed, *widths, bias=True, relu=True, scale=1.0):
    """A row of linear layers with random weights."""
    with rng.torch_seeded(rng.stream(seed, "network")):
        layers = OrderedDict(flatten=nn.Flatten())
        for place, (fan_in, units) in enumerate(pairwise(widths)):
            if place and relu:
                layers[f"relu{place}"] = nn.ReLU()
            layers[f"lin{place}"] = nn.Linear(fan_in, units, bias=bias)
            layers[f"lin{place}"].weight.data *= scale
        return nn.Sequential(layers)


def samples_of(network, seed, count, offsets=False):
    """Pictures of few grey values, so that many pixels lead to the same, each with a label that is wrong."""
    stream = rng.stream(seed, "samples")
    inputs, classes = network[1].in_features, network[-1].out_features
    found = []
    for index in range(count):
        image = torch.from_numpy(stream.choice([0.0, 0.0, 0.25, 1.0], inputs)).float()[None]
        offset = torch.from_numpy(stream.normal(size=classes)).float() if offsets else None
        said = network(image) if offset is None else network(image) + offset
        label = int(said[0].nan_to_num().argsort()[stream.integers(classes - 1)])
        found.append(Sample(index, image, torch.tensor([label]), offset))
    return found


def posed(network):
    """A problem on it, with something for its mean gradient."""
    count = sum(each.numel() for each in network.parameters())
    mean = torch.from_numpy(rng.stream(0, "mean").normal(size=count)).float()
    return Problem(network, Knowledge(lambda: mean))


def said_of(correction):
    """All of it but the time."""
    patch, numbers = correction.patch, (correction.altered, correction.steps, correction.reason)
    passes = correction.forward_passes, correction.backward_passes
    values = patch and [each.tolist() for each in (patch.indices, patch.old, patch.new)]
    return numbers, passes, values


def both_ways(problem, method, samples):
    """What comes of one after another, and of all together."""

    def streams():
        return [rng.stream(0, "method", sample.index) for sample in samples]

    assert method.at_once(problem.current.module) > 1
    one_by_one = [problem._alone(method, *each) for each in zip(samples, streams(), strict=True)]
    before = problem.current.flat.clone()
    at_once = list(problem.attempt_many(method, samples, streams()))
    assert torch.equal(problem.current.flat.nan_to_num(), before.nan_to_num())
    return list(map(said_of, one_by_one)), list(map(said_of, at_once))


@pytest.mark.parametrize("method", VARIANTS)
def test_together_is_one_by_one_on_a_trained_network(method, problem, samples):
    one_by_one, at_once = both_ways(problem, method, samples)
    assert at_once == one_by_one
    too_small = method == SubsetSearch(update=SecondOrder("full_norm"), iterations=5)
    assert too_small or any(values for _, _, values in at_once)


SHAPES = [(20, 6, 5, 4), (9, 3), (30, 20, 3), (5, 2, 2, 2, 2, 3), (12, 8, 8, 8, 8, 6)]
LOOKS = [{}, {"bias": False}, {"relu": False}, {"scale": 30.0}, {"scale": 0.1}]


@pytest.mark.parametrize(("shape", "look"), list(zip(SHAPES, LOOKS, strict=True)))
def test_together_is_one_by_one_on_random_networks(shape, look):
    check_random_network(1, shape, look, 2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 4])
@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("shape", SHAPES)
def test_together_is_one_by_one_on_many_random_networks(shape, look, seed):
    check_random_network(seed, shape, look, 4)


def check_random_network(seed, shape, look, count):
    network = network_of(seed, *shape, **look)
    problem = posed(network)
    for place, method in enumerate(VARIANTS):
        chosen = samples_of(network, place, count, offsets=place % 2 == 1)
        one_by_one, at_once = both_ways(problem, method, chosen)
        assert at_once == one_by_one


def spoilt(kind):
    network = network_of(2, 20, 6, 5, 4)
    if kind == "dead":
        network.lin0.bias.data.fill_(
            -100.0
        )  # no image gets through: no weight of the first layers has a gradient
    elif kind == "dead before the logits":
        network.lin1.bias.data.fill_(-100.0)
    elif kind == "frozen":
        for name in ("lin0.weight", "lin0.bias", "lin2.bias"):
            network.get_parameter(name).requires_grad_(False)
    elif kind == "biases alone are free":
        for name in ("lin0.weight", "lin1.weight", "lin2.weight"):
            network.get_parameter(name).requires_grad_(False)
    else:
        network.lin0.weight.data[2, 7] = {"NaN": float("nan"), "infinite": float("inf"), "large": 1e30}[kind]
    return network


KINDS = ["dead", "dead before the logits", "frozen", "biases alone are free", "NaN", "infinite", "large"]


@pytest.mark.parametrize("kind", KINDS)
def test_together_is_one_by_one_where_little_is_as_it_should_be(kind):
    network = spoilt(kind)
    problem = posed(network)
    first, second, third = samples_of(network, 3, 3)
    nothing = replace(second, image=second.image * float("nan"))  # among others
    for method in VARIANTS[:13]:
        one_by_one, at_once = both_ways(problem, method, [first, nothing, third])
        assert at_once == one_by_one


def test_a_guard_that_knows_nothing_is_not_asked_where_there_is_nothing_to_search(trained, samples):
    """Without a mean gradient: each sample says that its gradient is no number."""
    nothing = [replace(sample, image=sample.image * float("nan")) for sample in samples[:2]]
    one_by_one, at_once = both_ways(Problem(trained), BGDC(), nothing)
    assert at_once == one_by_one
    assert "not finite" in at_once[0][0][2]


def test_the_memory_of_searches_is_one(problem, samples):
    with problem.trying() as trial:
        searches = together.Searches(BGDII(), trial)
        few, many = searches._room(2), together.Searches(BGDII(), trial)._room(together.MANY)
        assert [one.data_ptr() for one in few] == [one.data_ptr() for one in many]
        assert len(searches._room(together.MANY + 1)[1]) == together.MANY + 1


def test_a_search_that_needs_more_random_numbers_gets_the_next(problem, samples, monkeypatch):
    monkeypatch.setattr(together, "NUMBERS", 3)
    one_by_one, at_once = both_ways(problem, BGDI(), samples[:4])
    assert at_once == one_by_one


@pytest.mark.parametrize("size", [1, 2])
def test_a_call_has_no_more_samples_than_it_takes(problem, samples, monkeypatch, size):
    monkeypatch.setattr("bgd.methods.bgd.search.MANY", size + 1)
    one_by_one, at_once = both_ways(problem, BGDII(), samples)
    assert at_once == one_by_one


def test_a_prior_that_leaves_nothing_or_no_number_says_so(problem, samples):
    class Constant:
        def __init__(self, value):
            self.value = value

        def weights(self, magnitude):
            return Weights.listed(torch.full((magnitude.space.size,), self.value))

    for value, words in ((0.0, "no weight"), (float("nan"), "not finite")):
        one_by_one, at_once = both_ways(problem, SubsetSearch(prior=Constant(value)), samples[:2])
        assert at_once == one_by_one
        assert words in at_once[0][0][2]


def test_the_statistics_of_the_training_data_are_made_as_one_by_one(trained, samples, tiny):
    """Also where the first call makes them: they take gradients."""
    for method in (BGDC(), BGDHarm()):
        streams = [rng.stream(0, "method", sample.index) for sample in samples[:3]]
        at_once = list(
            map(said_of, Problem(trained, known(trained, tiny)).attempt_many(method, samples[:3], streams))
        )
        one_by_one, _ = both_ways(Problem(trained, known(trained, tiny)), method, samples[:3])
        assert at_once == one_by_one


def test_gradients_are_those_of_autograd_bit_for_bit(problem, samples):
    with problem.trying() as trial:
        layers = layers_of(trial.network, trial.space, trial.flat)
        found = np.empty((len(samples), trial.space.size), np.float32)
        gradients(layers, samples, found)
        for sample, row in zip(samples, found, strict=True):
            assert np.array_equal(row, trial.gradient(sample).numpy())
            assert np.allclose(row, gradient(problem.current.module, sample), atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_float32_is_off_by_no_more_than_it_may_be(trained, tiny, samples, monkeypatch, scale):
    """Every network that a search looks at, in float64 and by torch: within the bound, most by far.

    Also where the logits are next to nothing: what torch rounds of the loss is more than what it rounds of them.
    """
    network = deepcopy(trained)
    with torch.no_grad():
        for each in list(network.parameters())[-2:]:
            each *= scale
    problem, shares = Problem(network, known(network, tiny)), []
    monkeypatch.setattr(together.Searches, "_searched", lambda *given: look_and_search(shares, *given))
    streams = [rng.stream(0, "method", sample.index) for sample in samples]
    for method in (BGDI(), BGDC(), Random()):
        with problem.trying() as trial:
            method.correct_many(trial, samples, streams)
    assert len(shares) > 20
    assert max(shares) < 1
    assert np.median(shares) < 0.3


def look_and_search(shares, searches, sample, stream, case):
    """Look at random subsets; then leave the desk as if nothing could be drawn."""
    row, desk, place = searches._row, searches._desk, compiled._place(searches._row)
    for count in (1, 5, 15):
        chosen = stream.choice(np.flatnonzero(case.prior), count, replace=False)
        desk.indices[:count] = chosen
        moved = searches._original[chosen] + stream.normal(size=count) * 10.0 ** stream.integers(-3, 4)
        desk.values[:count] = moved
        loss, margin, slack = compiled._look(row, case, desk, count, place)
        network = searches._trial.network
        searches._flat[chosen] = desk.values[:count]
        with torch.no_grad():
            logits = network(sample.image)
        searches._flat[chosen] = searches._original[chosen]
        others = logits[0].clone()
        others[int(sample.label)] = -float("inf")
        lead = float(logits[0, int(sample.label)] - others.max())
        shares += [abs(Answer.of(logits, sample).loss - loss) / slack, abs(lead - margin) / slack]
    desk.end[:] = compiled.NOTHING, 0, 0, 0, 0


class Own(SubsetSearch):
    def correct(self, trial, sample, stream):
        return super().correct(trial, sample, stream)


def convolution():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))


@pytest.mark.parametrize(
    ("method", "network"),
    [
        (SubsetSearch(update=SecondOrder("subset_norm")), MLP()),
        (SubsetSearch(probability_update="printed"), MLP()),
        (Own(), MLP()),
        (SmallestStep(inner=TopK()), MLP()),
        (SubsetSearch(), MLP().double()),
        (SubsetSearch(), convolution()),
        (SubsetSearch(), network_of(0, 400, 300, 3)),
        (SubsetSearch(), network_of(0, 4, 1, 3)),
        (SubsetSearch(), nn.Sequential(nn.Linear(4, 3), nn.Softplus(), nn.Linear(3, 2))),
        (SubsetSearch(), nn.Sequential(nn.Linear(4, 3), nn.Flatten(), nn.Linear(3, 2))),
        (SubsetSearch(), nn.Sequential(nn.ReLU(), nn.Linear(4, 3))),
    ],
)
def test_all_else_is_one_by_one(method, network):
    assert isinstance(method, Together)
    assert method.at_once(network.eval()) == 1


def test_dropout_and_identity_change_nothing():
    network = nn.Sequential(
        nn.Flatten(), nn.Dropout(), nn.Linear(4, 3), nn.Identity(), nn.ReLU(), nn.Linear(3, 2)
    )
    assert SubsetSearch().at_once(network.eval()) > 1
