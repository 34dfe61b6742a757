"""Private copies: of networks that `copy.deepcopy` refuses, and of none that could not be told from a plain one."""

import io
import threading

import pytest
import torch
import torch.nn.utils.prune as prune
from odd_networks import images_of, odd_network, wrong_sample
from oracles import is_right
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from bgd import rng
from bgd.flat import FlatNetwork, NetworkError, private_copy
from bgd.methods.base import Problem
from bgd.methods.bgd.search import SubsetSearch
from bgd.methods.bgd.update import FirstOrder
from bgd.methods.descent import SampleDescent


class Keeping(nn.Sequential):
    """Keeps its last output, and every one before, as networks do that show their features."""

    def __init__(self, *layers):
        super().__init__(*layers)
        self.all = []

    def forward(self, images):
        self.last = super().forward(images)
        self.all.append({"out": self.last})
        return self.last


def keeping():
    network = Keeping(*odd_network("batch norm"))
    network(images_of(network))
    return network.eval()


def changed(change):
    def make():
        network = odd_network("batch norm")
        change(network.lin1)
        network(images_of(network))
        return network.eval()

    return make


REMADE = {
    "keeps its last output": keeping,
    "pruned": changed(lambda layer: prune.l1_unstructured(layer, "weight", 0.5)),
    "pruned bias": changed(lambda layer: prune.random_unstructured(layer, "bias", 0.5)),
    "old weight norm": changed(weight_norm),
    "old spectral norm": changed(spectral_norm),
    "parametrized": changed(parametrizations.weight_norm),
}


@pytest.mark.parametrize("kind", REMADE)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
def test_r8_a_network_that_keeps_what_it_computes_is_copied(kind):
    network = REMADE[kind]()
    copied, images = FlatNetwork(network), images_of(network)
    assert torch.allclose(copied.module(images), network(images), atol=1e-6)
    again = FlatNetwork(copied.module)  # of one that has run, too
    copied.flat.mul_(1.5)
    state = {name: each.clone() for name, each in copied.module.state_dict().items()}
    other = REMADE[kind]()
    other.load_state_dict(state)
    assert torch.allclose(copied.module(images), other(images), atol=1e-5), "edits reach the outputs"
    assert torch.allclose(again.module(images), network(images), atol=1e-6)


@pytest.mark.parametrize(
    "method", [SubsetSearch(), SubsetSearch(update=FirstOrder(0.5)), SampleDescent(steps=20)]
)
@pytest.mark.parametrize("kind", REMADE)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
def test_r8_such_a_network_is_corrected_through_the_parameters_that_it_has(kind, method):
    network = REMADE[kind]()
    sample, problem = wrong_sample(network), Problem(network)
    with problem.trying() as trial:
        found = trial.gradient(sample)
        named = dict(trial.network.named_parameters())
        loss = nn.functional.cross_entropy(trial.network(sample.image), sample.label)
        plain = torch.autograd.grad(loss, list(named.values()))
    assert torch.allclose(found, torch.cat([each.reshape(-1) for each in plain]), atol=1e-6)
    correction = problem.correct(method, sample, rng.stream(0))
    if correction.patch is None:
        assert correction.reason.startswith("wrong after")
        return
    corrected = FlatNetwork(network)
    correction.patch.apply(corrected.flat)
    assert is_right(corrected.module, sample)


class Tied(nn.Module):
    """Computes a tensor of its parameters once, and reads it ever after: its value would be that of N0 for ever."""

    def __init__(self, attribute):
        super().__init__()
        self.lin = nn.Linear(3, 3)
        setattr(self, attribute, self.lin.weight.T * 2)

    def forward(self, values):
        return values @ vars(self).get("tied", vars(self).get("other"))


def test_r8_a_tensor_that_is_computed_once_is_refused_by_name():
    for attribute in ("tied", "other"):
        network = nn.Sequential(Tied(attribute))
        problem = FlatNetwork(network)
        with pytest.raises(NetworkError, match=rf"reads '0\.{attribute}', .* compute it in forward\(\)"):
            problem.module(torch.ones(1, 3))


def test_r8_what_cannot_be_copied_is_one_sentence():
    network = odd_network("batch norm")
    network.lock = threading.Lock()
    with pytest.raises(NetworkError, match=r"Sequential, cannot be copied: .*lock.* load its state_dict\(\)"):
        private_copy(network)


def test_r8_parameters_that_are_shared_stay_shared():
    network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    network[2].weight = network[0].weight
    copied = FlatNetwork(network)
    assert copied.module[2].weight is copied.module[0].weight
    assert copied.space.size == 16 + 4 + 4


class Quantized(torch.Tensor):
    """Stands for a weight of torchao 0.18.0 or optimum-quanto 0.2.7: without memory, computed from integers."""

    @staticmethod
    def __new__(cls, whole, scale):
        return torch.Tensor._make_wrapper_subclass(cls, whole.shape, dtype=scale.dtype, requires_grad=False)

    def __init__(self, whole, scale):
        self.whole, self.scale = whole, scale

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.detach.default:
            return cls(args[0].whole, args[0].scale)
        values = [each.whole * each.scale if isinstance(each, cls) else each for each in args]
        return func(*values, **(kwargs or {}))


def with_weight(layer, weight):
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return layer


def quantized(layer):
    scale = layer.weight.detach().abs().amax() / 127
    return with_weight(layer, Quantized((layer.weight.detach() / scale).round().to(torch.int8), scale))


def test_what_is_written_into_the_stand_in_is_lost():
    """Why such weights are refused: nothing would change, and nothing would say so."""
    layer, x = quantized(nn.Linear(2, 2)), torch.ones(1, 2)
    before = layer(x)
    layer.weight.copy_(torch.full((2, 2), 9.0))
    assert torch.equal(layer(x), before)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2).double()),
            r"float32 \(0\.weight\) and float64 \(1\.weight\): one type is needed",
        ),
        (lambda: nn.Sequential(nn.Linear(2, 2).bfloat16(), nn.Linear(2, 2)), "bfloat16 .* and float32"),
        (lambda: nn.Linear(2, 2, dtype=torch.complex64), r"parameter weight is complex64 \(2, 2\)"),
        (lambda: nn.ReLU(), "a ReLU, has no parameters"),
        (
            lambda: nn.Sequential(nn.LazyLinear(3)),
            r"parameter 0\.weight has no shape yet: run the network once",
        ),
        (
            lambda: quantized(nn.Linear(2, 2)),
            "parameter weight is a Quantized, no plain dense tensor.* quantized",
        ),
        (
            lambda: with_weight(nn.Linear(2, 2), torch.eye(2).to_sparse()),
            "parameter weight is torch.sparse_coo, no plain dense tensor.* made sparse",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature:UserWarning")
def test_r14_parameters_that_are_no_vector_of_one_type_are_refused(make, words):
    network = make()
    with pytest.raises(NetworkError, match=words):
        FlatNetwork(network)


@pytest.mark.parametrize("kind", ["float64", "bfloat16", "float16"])
def test_r14_the_copy_is_of_the_networks_own_type_or_of_the_one_asked_for(kind):
    network = odd_network(kind)
    assert FlatNetwork(network).flat.dtype == getattr(torch, kind)
    wide = FlatNetwork(network, dtype=torch.float64)
    assert {each.dtype for each in wide.module.parameters()} == {wide.flat.dtype} == {torch.float64}
    assert torch.equal(wide.flat, FlatNetwork(network).flat.double())


def saved(value):
    file = io.BytesIO()
    torch.save(value, file)
    return len(file.getvalue())


@pytest.mark.parametrize("name", ["lin2.bias", "lin2.weight", "conv.weight"])
def test_r18_a_parameter_of_a_plain_copy_is_saved_without_the_rest(name):
    network = nn.Sequential()
    for part, layer in odd_network("batch norm").named_children():
        network.add_module(part, layer)
    network.add_module("wide", nn.Linear(4, 20_000))
    copied = FlatNetwork(network)
    own = saved(nn.Parameter(network.get_parameter(name).detach().clone()))
    plain = copied.plain()
    assert abs(saved(plain.get_parameter(name)) - own) < 200
    assert abs(saved(plain.state_dict()[name]) - saved(network.state_dict()[name])) < 200
    assert torch.equal(plain.get_parameter(name), network.get_parameter(name))
    assert saved(copied.module.get_parameter(name)) > 100_000, "which is why there is a plain copy"
    copied.flat.zero_()
    assert not copied.plain().get_parameter(name).any()
