"""The compiled evaluator of small networks against the full one, and its exponential and logarithm against Python's."""

import copy
import math

import numpy as np
import pytest
import torch
from numba import njit
from oracles import flat
from test_incremental import KINDS, follow, images, make, mlp, random_patch
from torch import nn

from bgd.evaluation import FullEvaluator, SmallEvaluator, compiled, inputs, small, sweep
from bgd.evaluation.compiled import LANES, exponential, logarithm_of_more
from bgd.parameters import ParameterSpace
from bgd.patch import Patch

SMALL = [
    "no hidden layer",
    "one hidden layer",
    "mlp",
    "deep mlp without biases",
    "linear after linear",
    "in place",
]
OTHERS = ["convnet", "tanh in the middle", "tied", "branched", "across images", "linear over pixels"]
ROUNDING = 1e-5  # nats: of float32 logits of some units


def pair(network):
    given = images(torch.float32, train=LANES + 5, test=LANES - 3)
    return SmallEvaluator.of(network, *given), FullEvaluator(network, *given)


def check(got, wanted, network):
    """Losses to rounding; classes but where the two largest logits are nearer to each other than that."""
    finite = torch.isfinite(wanted.losses)
    torch.testing.assert_close(got.losses, wanted.losses, rtol=ROUNDING, atol=ROUNDING, equal_nan=True)
    other = (got.predictions != wanted.predictions).nonzero().flatten()
    assert finite[other].all()
    if len(other):
        pixels, _ = images(torch.float32, train=LANES + 5, test=LANES - 3)
        largest = network(pixels[other]).topk(2, 1).values.detach()
        assert (largest[:, 0] - largest[:, 1]).max() <= ROUNDING * largest.abs().max()


def patched(network, patch):
    twin = copy.deepcopy(network)
    follow(twin, patch)
    return twin


@pytest.mark.parametrize("name", SMALL)
def test_every_kind_of_patch_equals_the_full_evaluation(name):
    network = make(name, dtype=torch.float32)
    fast, oracle = pair(network)
    check(fast.base, oracle.base, network)
    for seed, kind in enumerate(KINDS * 3):
        patch = random_patch(network, seed, kind)
        check(fast.after(patch), oracle.after(patch), patched(network, patch))
    check(fast.base, oracle.base, network)


@pytest.mark.parametrize("name", SMALL)
def test_advancing_equals_the_full_evaluation(name):
    network = make(name, dtype=torch.float32)
    origin, _ = pair(network)
    fast, before = origin.fork(), origin.base
    for seed, kind in enumerate(["weights", "biases", "many", "weights", "everything", "sign", "tensors"]):
        patch = random_patch(network, seed, kind)
        fast.advance(patch)
        follow(network, patch)
        oracle = pair(network)[1]
        check(fast.base, oracle.base, network)
        another = random_patch(network, 100 + seed)
        check(fast.after(another), oracle.after(another), patched(network, another))
    assert torch.equal(origin.base.losses, before.losses), "a fork wrote over what it shares"


def test_one_weight_and_one_bias_of_every_layer():
    network = make("mlp", dtype=torch.float32)
    fast, oracle = pair(network)
    space, before = ParameterSpace.of(network), flat(network)
    for name in space.names:
        after = before.clone()
        after[space.span(name).stop - 1] += 1.5
        patch = Patch.between(space, before, after)
        assert (oracle.after(patch).losses - oracle.base.losses).abs().max() > 1e-3
        check(fast.after(patch), oracle.after(patch), patched(network, patch))


def test_there_and_back_from_a_network_that_overflows():
    network = make("mlp", dtype=torch.float32)
    fast, oracle = pair(network)
    space, before = ParameterSpace.of(network), flat(network)
    after = before.clone()
    after[space.span("1.weight").start + 30] = math.inf
    patch = Patch.between(space, before, after)
    fast.advance(patch)
    follow(network, patch)
    assert torch.equal(fast.base.predictions, pair(network)[1].base.predictions)
    assert (fast.base.predictions < 0).any()
    fast.advance(patch.inverse())
    follow(network, patch.inverse())
    check(fast.base, oracle.base, network)


def test_rounding_does_not_pile_up():
    network = make("mlp", dtype=torch.float32)
    fast, _ = pair(network)
    for seed in range(small.REFRESH + 20):
        patch = random_patch(network, seed)
        fast.advance(patch)
        follow(network, patch)
    check(fast.base, pair(network)[1].base, network)


@pytest.mark.parametrize("background", [True, False])
def test_products_with_the_images(background, monkeypatch):
    """Over the pixels that differ from the background, and over all where most do."""
    monkeypatch.setattr(inputs, "AT_ONCE", 7)
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(40, 30, generator=generator) - 0.4
    if background:
        values[torch.rand(40, 30, generator=generator) < 0.7] = -0.42
    weight = torch.randn(5, 30, generator=generator)
    kept = inputs.Inputs(values)
    wanted = weight.double() @ values.double().t()
    by_input = inputs.Inputs(values.t().contiguous().t())
    for product in (kept.product, kept.one_of_many, by_input.product, by_input.one_of_many):
        torch.testing.assert_close(product(weight).double(), wanted, rtol=1e-5, atol=1e-5)
    assert (kept._split[1] is not None) == background


def test_an_evaluation_does_not_depend_on_those_before_it(monkeypatch):
    """Nor on how many there were: a run's rows are the same in whatever process they are made."""
    monkeypatch.setattr(inputs, "SPARSE", 1.0)
    network = make("mlp", dtype=torch.float32)
    patches = [random_patch(network, seed, kind) for seed, kind in enumerate(["everything", "weights"] * 4)]
    fast, _ = pair(network)
    for patch in (*patches, *patches):
        assert torch.equal(fast.after(patch).losses, pair(network)[0].after(patch).losses)
    assert fast._inputs._split[1] is not None, "products leave out the background, or this test shows nothing"


def test_columns_are_copied_unless_they_lie_in_memory_as_such():
    values = torch.rand(6, 9)
    for given, shared in ((values, False), (values.t().contiguous().t(), True)):
        kept = inputs.Inputs(given)
        kept.require(np.array([7, 2, -1]))
        assert (kept.columns[[2, 7]] == values.t()[[2, 7]].numpy()).all()
        assert (kept.columns.ctypes.data == given.data_ptr()) == shared


@pytest.mark.parametrize("name", OTHERS)
def test_other_networks_are_refused(name):
    assert SmallEvaluator.of(make(name, dtype=torch.float32), *images(torch.float32)) is None


def test_wide_layers_and_other_types_are_refused():
    assert SmallEvaluator.of(mlp(small.WIDEST + 1), *images(torch.float32)) is None
    assert SmallEvaluator.of(make("mlp"), *images()) is None


def test_equal_logits_go_to_the_first_class():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 5))
    nn.init.zeros_(network[1].weight), nn.init.zeros_(network[1].bias)
    fast, oracle = pair(network)
    fast._base = None
    assert torch.equal(fast.base.predictions, oracle.base.predictions)
    assert fast.base.losses.tolist() == pytest.approx(oracle.base.losses.tolist(), rel=1e-6)


def test_the_exponential_and_the_logarithm():
    """Against Python's in float64, over all that a loss can be made of."""

    @njit
    def both(values, powers, logarithms):
        for i in range(len(values)):
            powers[i], logarithms[i] = exponential(-values[i]), logarithm_of_more(values[i])

    values = np.concatenate([np.zeros(1), np.logspace(-30, np.log10(86.9), 5000)]).astype(np.float32)
    powers, logarithms = np.empty_like(values), np.empty_like(values)
    both(values, powers, logarithms)
    np.testing.assert_allclose(powers, [math.exp(-value) for value in values.tolist()], rtol=1.2e-7)
    np.testing.assert_allclose(logarithms, [math.log1p(value) for value in values.tolist()], rtol=1.2e-7)


def test_what_is_too_large_to_be_added_is_the_same_for_both():
    assert compiled.LIMIT == sweep.LIMIT
