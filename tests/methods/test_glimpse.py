"""Glimpses against running each edited network, and the searches that use them against going one by one."""

import numpy as np
import oracles
import pytest
import torch
from oracles import flat, is_right, subset_search, with_parameters
from torch import nn

from bgd import rng
from bgd.flat import FlatNetwork
from bgd.knowledge import Knowledge
from bgd.methods.base import Problem, Sample
from bgd.methods.bgd import search as module
from bgd.methods.bgd.guard import CurvatureGuard
from bgd.methods.bgd.prior import LayerNormalisedPrior, UniformPrior
from bgd.methods.bgd.search import SubsetSearch
from bgd.methods.bgd.update import FirstOrder, SecondOrder
from bgd.methods.descent import SampleDescent
from bgd.methods.elimination import Elimination
from bgd.methods.glimpse import Edits, Glimpse
from bgd.methods.idealized import IdealizedSelector
from experiments.mnist import training
from experiments.mnist.networks import MLP, AlexNet
from experiments.protocol.samples import samples_of


def strided():
    """Convolutions of every shape there may be, one without a bias."""
    return nn.Sequential(
        nn.Conv2d(1, 6, (3, 4), stride=2, padding=(1, 2), dilation=(2, 1)),
        nn.ReLU(),
        nn.MaxPool2d(2, stride=1),
        nn.Conv2d(6, 5, 2, stride=(1, 2), bias=False),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(5 * 11 * 7, 40),
        nn.ReLU(),
        nn.Linear(40, 10, bias=False),
    )


class Doubling(nn.Module):
    """A layer that glimpses know nothing of."""

    def forward(self, values):
        return 2 * values


def unknown():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 6), Doubling(), nn.Linear(6, 10))


def tied():
    """One layer in two places: an edit of it is two edits."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 10))
    network.insert(4, network[2])
    return network


class Residual(nn.Module):
    """Not one layer after the other."""

    def __init__(self):
        super().__init__()
        self.lin1, self.lin2 = nn.Linear(784, 10), nn.Linear(10, 10)

    def forward(self, images):
        hidden = self.lin1(images.flatten(1))
        return hidden + self.lin2(hidden)


NETWORKS = [MLP, lambda: AlexNet(width=0.1), strided, unknown, tied, Residual]


def prepared(make, dtype=torch.float64):
    torch.manual_seed(0)
    network = FlatNetwork(make().to(dtype))
    image = torch.randn(1, 1, 28, 28, dtype=dtype)
    return network, image, Glimpse(network.module, network.space, network.flat, image)


def random_edits(network, count, most, draw, low=0):
    """Networks with up to `most` edits each, some with none."""
    rows, indices = [], []
    for row in range(count):
        chosen = low + draw.choice(network.space.size - low, draw.integers(0, most + 1), replace=False)
        rows += [row] * len(chosen)
        indices += chosen.tolist()
    indices = np.array(indices, dtype=np.int64)
    values = network.flat[indices] + torch.from_numpy(draw.normal(size=len(indices))).to(network.flat.dtype)
    return Edits(count, np.array(rows, dtype=np.int64), indices, values)


def one_by_one(network, image, edits):
    """Each edited network as a network of its own."""
    found = []
    for row in range(edits.count):
        mine, moved = np.flatnonzero(edits.rows == row), network.flat.clone()
        moved[edits.indices[mine]] = edits.values[mine]
        with torch.no_grad():
            found.append(with_parameters(network.module, moved)(image)[0])
    return torch.stack(found)


@pytest.mark.parametrize("make", NETWORKS)
def test_a_glimpse_is_what_the_edited_network_says(make):
    network, image, glimpse = prepared(make)
    draw = np.random.default_rng(0)
    starts = [network.space.span(name).start for name in network.space.names]
    for low in starts:
        edits = random_edits(network, 6, 5, draw, low)
        before = network.flat.clone()
        assert torch.allclose(glimpse.of(edits), one_by_one(network, image, edits), rtol=1e-9, atol=1e-10)
        assert torch.equal(network.flat, before)


@pytest.mark.parametrize("make", NETWORKS)
def test_after_a_move_the_network_at_hand_is_another(make):
    network, image, glimpse = prepared(make)
    draw = np.random.default_rng(1)
    for _ in range(5):
        where = torch.from_numpy(draw.choice(network.space.size, 3, replace=False))
        logits = glimpse.move(where, network.flat[where] + 0.5)
        with torch.no_grad():
            assert torch.equal(logits, network.module(image)), "the network's own, bit for bit"
        edits = random_edits(network, 4, 4, draw)
        assert torch.allclose(glimpse.of(edits), one_by_one(network, image, edits), rtol=1e-9, atol=1e-10)


def test_no_edit_at_all_gives_the_logits_bit_for_bit():
    network, _, glimpse = prepared(MLP, torch.float32)
    index = np.array([5, 9000])
    edits = Edits(3, np.array([0, 2]), index, network.flat[index].clone())
    assert torch.equal(glimpse.of(edits), glimpse.logits.expand(3, -1))


@pytest.mark.parametrize("make", [MLP, strided])
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 3e38])
def test_what_is_not_finite_is_what_the_network_says(make, value):
    network, image, glimpse = prepared(make, torch.float32)
    indices = np.array([span.start for span in map(network.space.span, network.space.names)])
    edits = Edits(len(indices), np.arange(len(indices)), indices, torch.full((len(indices),), value))
    found, wanted = glimpse.of(edits), one_by_one(network, image, edits)
    odd = ~torch.isfinite(wanted).all(dim=1)
    assert torch.equal(odd, ~torch.isfinite(found).all(dim=1))
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-5, equal_nan=True)


OPTIONS = [
    {},
    {"update": FirstOrder(0.05)},
    {"update": FirstOrder(0.01), "expansion": 40, "replace_probability": 0.6},
    {"update": SecondOrder("full_norm"), "subset_size": 20},
    {"update": SecondOrder("subset_norm")},
    {"prune": False, "subset_size": 1, "iterations": 1},
    {"probability_update": "printed", "update": FirstOrder(0.05)},
    {"guard": CurvatureGuard(percentile=60.0), "replace_probability": 1.0},
    {"guard": CurvatureGuard(redraws=0), "update": FirstOrder(0.05), "replace_probability": 0.5},
    {"prior": UniformPrior()},
    {"prior": LayerNormalisedPrior(), "replace_probability": 0.0, "expansion": 1},
    {"update": FirstOrder(1e38), "iterations": 3},
    {"stop": "never", "iterations": 4},
    {"replace": "printed", "update": FirstOrder(0.05), "iterations": 4},
    {"replace": "printed", "stop": "never", "subset_size": 1, "replace_probability": 0.8, "iterations": 4},
    {"replace": "printed", "update": SecondOrder("subset_norm"), "iterations": 3},
]


def assert_same(method, problem, sample, seed):
    """Assert that the search does what going one by one does; return whether it found anything."""
    with problem.trying() as trial:
        correction = method.correct(trial, sample, rng.stream(seed, "method", sample.index))
    with problem.trying() as plain:
        subset, right, steps = subset_search(method, plain, sample, rng.stream(seed, "method", sample.index))
        wanted = plain.patch()
    assert (correction.steps, correction.patch is not None) == (steps, right)
    assert (trial.forward_passes, trial.backward_passes) == (plain.forward_passes, plain.backward_passes)
    if right:
        assert correction.altered == len(subset)
        assert torch.equal(correction.patch.indices, wanted.indices)
        assert torch.equal(correction.patch.new, wanted.new)
    return right


def slowly(options, *places):
    """The options, those at some places for `make test-slow`: they take seconds."""
    return [
        pytest.param(each, marks=pytest.mark.slow) if place in places else each
        for place, each in enumerate(options)
    ]


def widened(network, samples):
    """A problem posed in float64, where rounding decides nothing."""
    wide, chosen = oracles.widened(network, samples)
    mean = torch.randn(sum(p.numel() for p in wide.parameters()), generator=torch.Generator().manual_seed(0))
    return Problem(wide, Knowledge(lambda: mean.double())), chosen


@pytest.mark.parametrize("options", slowly(OPTIONS, 2, 3, 4))
def test_the_search_does_what_one_by_one_does(options, trained, samples, monkeypatch):
    monkeypatch.setattr(module, "DEAR", 0)
    problem, wide = widened(trained, samples)
    found = [
        assert_same(SubsetSearch(**options), problem, sample, seed) for seed in (0, 1) for sample in wide
    ]
    assert any(found) or "update" in options, "some samples must get right, or this test shows little"


@pytest.mark.parametrize("options", slowly(OPTIONS[:6], 2))
def test_the_search_does_what_one_by_one_does_on_convolutions(options, trained_alexnet, tiny, monkeypatch):
    monkeypatch.setattr(module, "DEAR", 0)
    errors = training.misclassified(trained_alexnet, tiny)
    problem, wide = widened(trained_alexnet, samples_of(*tiny.test.tensors(), errors, 2))
    for sample in wide:
        assert_same(SubsetSearch(**options), problem, sample, 0)


@pytest.mark.parametrize("dear", [0, 10**9])
@pytest.mark.parametrize("options", OPTIONS)
def test_the_search_does_what_one_by_one_does_when_draws_run_out(options, dear, monkeypatch):
    monkeypatch.setattr(module, "DEAR", dear)
    for seed in range(6):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2), nn.ReLU(), nn.Linear(2, 3))
        problem, (sample,) = widened(network, [Sample(0, torch.randn(1, 1, 4, 4), torch.tensor([seed % 3]))])
        if not is_right(problem.current.module, sample) and any(problem_gradient(problem, sample)):
            assert_same(SubsetSearch(**{"iterations": 8, **options}), problem, sample, seed)


def problem_gradient(problem, sample):
    with problem.trying() as trial:
        return trial.space.drop_biases(trial.gradient(sample)).tolist()


@pytest.mark.parametrize("update", [SecondOrder(), FirstOrder()])
def test_in_float32_too_the_network_has_the_last_word(update, trained, samples, monkeypatch):
    monkeypatch.setattr(module, "DEAR", 0)
    problem = Problem(trained)
    for sample in samples:
        with problem.trying() as trial:
            correction = SubsetSearch(update=update).correct(trial, sample, rng.stream(0, sample.index))
        if correction.patch is not None:
            after = flat(trained)
            correction.patch.apply(after)
            assert is_right(with_parameters(trained, after), sample)


def leave_one_out(problem, method, sample):
    """Algorithm 1 as printed: the indices that stay changed."""
    with problem.trying() as trial:
        if method.retrain.correct(trial, sample, rng.stream(0)).patch is None:
            return None
        for index in range(len(trial.flat)):
            changed = trial.flat[index].clone()
            trial.flat[index] = trial.original[index]
            if not is_right(trial.network, sample):
                trial.flat[index] = changed
        return trial.patch().indices.tolist()


@pytest.mark.parametrize("steps", [6, 30])
def test_the_idealized_selector_is_algorithm_1(steps, trained, samples):
    problem, wide = widened(trained, samples[:3])
    method = IdealizedSelector(SampleDescent(steps=steps))
    for sample in wide:
        wanted = leave_one_out(problem, method, sample)
        with problem.trying() as trial:
            correction = method.correct(trial, sample, rng.stream(0))
        if wanted is None:
            assert (correction.patch, correction.reason) == (None, f"wrong after {steps} steps")
            continue
        assert correction.patch.indices.tolist() == wanted
        assert correction.altered == len(wanted) > 0
        assert correction.steps == trial.space.size
        assert trial.forward_passes == trial.space.size + 2 * trial.backward_passes


def test_the_idealized_selector_keeps_to_the_tensors_named(trained, samples):
    problem = Problem(trained)
    method = IdealizedSelector(SampleDescent(steps=50, learning_rate=0.01), ("lin3.weight", "lin3.bias"))
    found = 0
    for sample in samples[:4]:
        with problem.trying() as trial:
            correction = method.correct(trial, sample, rng.stream(0))
        if correction.patch is not None:
            found += 1
            assert set(correction.patch.tensors) <= {"lin3.weight", "lin3.bias"}
            assert correction.steps == 90
            assert 0 < correction.altered == len(correction.patch) <= 90
    assert found


def test_tensors_are_named_in_one_place():
    with pytest.raises(ValueError, match=r"retrain\.tensors="):
        IdealizedSelector(SampleDescent(steps=1, tensors=("lin3.bias",)))


@pytest.mark.parametrize("wrong", [lambda g: -g, torch.zeros_like, lambda g: g * float("nan")])
def test_the_outcome_of_an_elimination_does_not_depend_on_the_guesses(wrong, trained, samples):
    problem, wide = widened(trained, samples[:2])
    for sample in wide:
        found = []
        for guesses in (None, wrong):
            with problem.trying() as trial:
                if SampleDescent(steps=30).correct(trial, sample, rng.stream(0)).patch is None:
                    continue
                indices = trial.patch().indices[::23]
                gradient = trial.gradient(sample)
                glimpse = Glimpse(trial.network, trial.space, trial.flat, sample.image)
                guess = None if guesses is None else lambda g=gradient: wrong(g)
                found.append(
                    Elimination(glimpse, sample, indices.numpy(), trial.original[indices], guess).run()
                )
        assert len(found) == 2
        assert (found[0] == found[1]).all()
