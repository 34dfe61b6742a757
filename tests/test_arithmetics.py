"""Networks in other arithmetics, and goals that have to hold there."""

import copy
import math
from fractions import Fraction
from itertools import count, takewhile

import pytest
import torch
from torch import nn

import bgd
from bgd import reach
from bgd.arithmetic import ARITHMETICS, Elsewhere, UnavailableError, exported, logits_in
from bgd.arithmetic.elsewhere import growth
from bgd.arithmetic.twin import rounded_to_tf32
from bgd.errors import ConfigError
from bgd.flat import FlatNetwork
from bgd.goals import Goal
from bgd.patch import Patch

TORCH = ("float32", "bfloat16", "float16", "int8")
SLOW = ("tf32", "onnxruntime", "onnxruntime_int8")  # to start: they import torch's compiler


def make(seed=0):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 12), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Linear(12, 5)).eval()
    network[1].running_var.uniform_(0.5, 2)
    return network


def images(count, seed=1):
    return torch.randn(count, 1, 6, 6, generator=torch.Generator().manual_seed(seed))


def changed(network, *names):
    """A patch that changes some numbers of these parameters."""
    flat = FlatNetwork(network)
    new = flat.flat.clone()
    for name in names:
        new[flat.space.span(name)][1::3] += 0.25
    return Patch.between(flat.space, flat.flat, new)


def test_float32_is_the_network_itself():
    network, x = make(), images(3)
    assert torch.equal(logits_in("float32", network, x), network(x))
    twice = copy.deepcopy(network).double()
    assert logits_in("float32", twice, x.double()).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_type_of_16_bits_is_a_copy_in_it(dtype):
    network, x = make(), images(3)
    before = copy.deepcopy(network.state_dict())
    wanted = copy.deepcopy(network).to(dtype)(x.to(dtype))
    assert torch.equal(logits_in(str(dtype).removeprefix("torch."), network, x), wanted)
    assert all(torch.equal(each, before[name]) for name, each in network.state_dict().items())


def test_tf32_keeps_ten_bits_of_mantissa():
    values = torch.randn(500, generator=torch.Generator().manual_seed(0)) * torch.logspace(-20, 20, 500)
    for value, rounded in zip(values.tolist(), rounded_to_tf32(values).tolist(), strict=True):
        unit = Fraction(2) ** (math.frexp(value)[1] - 11)
        assert Fraction(rounded) % unit == 0
        assert abs(Fraction(rounded) - Fraction(value)) <= unit / 2
    tie = torch.tensor([1 + 2.0**-11, -(1 + 2.0**-11), math.inf])
    assert rounded_to_tf32(tie).tolist() == [1 + 2.0**-10, -(1 + 2.0**-10), math.inf]


@pytest.mark.slow
def test_tf32_rounds_both_factors_of_every_product_and_no_sum():
    network, x = (
        nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(4, 3)).eval(),
        images(3)[:, :, :2, :3],
    )
    weights = copy.deepcopy(network)
    for layer in (weights[0], weights[2]):
        layer.weight.data = rounded_to_tf32(layer.weight.data)
    hidden = rounded_to_tf32(weights[:2](rounded_to_tf32(x)))
    torch.testing.assert_close(logits_in("tf32", network, x), weights[2](hidden))
    assert not torch.equal(logits_in("tf32", network, x), network(x))


@pytest.mark.filterwarnings("ignore")
def test_int8_is_dynamic_quantization_by_torch():
    network, x = make(), images(3)
    wanted = torch.ao.quantization.quantize_dynamic(copy.deepcopy(network), {nn.Linear})(x)
    assert torch.equal(logits_in("int8", network, x), wanted)
    assert not torch.equal(wanted, network(x))
    alone = nn.Linear(4, 3)
    assert logits_in("int8", alone, torch.ones(1, 4)).shape == (1, 3)


@pytest.mark.parametrize("arithmetic", TORCH)
def test_a_patch_reaches_the_twin_and_leaves_it(arithmetic):
    network, x = make(), images(2)
    flat = FlatNetwork(network)
    elsewhere = Elsewhere(flat)
    before = elsewhere.outputs(arithmetic, x)
    for names in (["0.weight"], ["1.bias", "4.weight"], ["6.weight", "6.bias"]):
        patch = changed(network, *names)
        with elsewhere.patched(patch):
            assert torch.equal(elsewhere.outputs(arithmetic, x), logits_in(arithmetic, flat.module, x))
            assert not torch.equal(elsewhere.outputs(arithmetic, x), before)
        assert torch.equal(elsewhere.outputs(arithmetic, x), before)


@pytest.mark.slow
@pytest.mark.parametrize("arithmetic", SLOW)
def test_a_patch_reaches_what_is_slow_to_start_and_leaves_it(arithmetic):
    test_a_patch_reaches_the_twin_and_leaves_it(arithmetic)


@pytest.mark.slow
def test_onnx_runtime_computes_the_network():
    network, x = make(), images(4)
    torch.testing.assert_close(logits_in("onnxruntime", network, x), network(x).detach())
    near = logits_in("onnxruntime_int8", network, x)
    assert not torch.equal(near, network(x))
    torch.testing.assert_close(near, network(x).detach(), atol=0.1, rtol=0)


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = make()

    def forward(self, x):
        return {"logits": self.body(x), "other": x}


@pytest.mark.parametrize("where", [TORCH, pytest.param(tuple(ARITHMETICS), marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", [make, Packed])
def test_a_correction_holds_wherever_its_goal_says(where, kind):
    network, x, goal = kind(), images(12 if where is TORCH else 3), Goal(where=where)
    logits = make()(x)
    labels = logits.topk(2).indices[:, 1].tolist()
    corrector = bgd.Corrector(network, "output_bias", margin=1e-4)
    lost = 0
    for image, label in zip(x.split(1), labels, strict=True):
        least, found = corrector.correct(image, label), corrector.correct(image, label, goal)
        assert found, found.reason
        for each in (least, found):
            with each.patch.applied(network):
                right = [int(logits_in(name, unpacked(network), image).argmax()) == label for name in where]
            lost += each is least and not all(right)
            assert each is least or all(right)
        assert found.searches >= least.searches == 1
        assert (found.margin > 0) == (found.patch.metadata.get("margin") is not None)
        assert found.patch.metadata["goal"] == f"class {label}; in {', '.join(where)}"
    assert lost > 0, "the goal asks for more than a method gives by itself"


def unpacked(network):
    return network.body if isinstance(network, Packed) else network


def test_a_batch_and_a_row_hold_there_too():
    network, x, where = make(), images(3), ("bfloat16", "int8")
    labels = network(x).topk(2).indices[:, 1]
    corrector = bgd.Corrector(network, "last_layer_weight")
    corrector.accept(corrector.correct(x[:1], int(labels[0]), Goal(where=where)))
    found = corrector.correct(x, labels, Goal(where=where))
    assert found, found.reason
    corrector.accept(found)
    corrector.patch.apply_(network)
    for name in where:
        said = torch.cat([logits_in(name, network, each) for each in x.split(1)])
        assert torch.equal(said.argmax(1), labels), name


def test_what_is_right_in_the_networks_own_arithmetic_alone_is_corrected():
    network = nn.Linear(2, 2)
    network.weight.data, network.bias.data = torch.zeros(2, 2), torch.tensor([100.1, 100.0])
    found = bgd.correct(network, torch.ones(1, 2), 1, "output_bias", margin=1e-3)
    with found.patch.applied(network):
        again = bgd.correct(network, torch.ones(1, 2), 1, "output_bias", goal=Goal(where="bfloat16"))
        assert again.patch is not None
        assert not again.already
        with again.patch.applied(network):
            assert int(logits_in("bfloat16", network, torch.ones(1, 2)).argmax()) == 1


@pytest.mark.parametrize("least", [1e-4, 0.0123, 0.4, 20.0])
def test_the_smallest_margin_is_found_to_its_width(least):
    asked, margins = [], reach.smallest()
    more = next(margins)
    while more is not None:
        asked.append(more)
        more = sent(margins, max(0.0, (least - more) / 2))  # a margin mends less than it falls short
    held, short = min(m for m in asked if m >= least), max(m for m in asked if m < least)
    assert held - short <= reach.WIDTH * held
    assert len(asked) < 20


def sent(margins, lack):
    try:
        return margins.send(lack)
    except StopIteration:
        return None


def test_the_search_ends_where_nothing_helps():
    margins = reach.smallest()
    asked = [next(margins), *takewhile(bool, (sent(margins, 1e-9) for _ in count()))]
    assert reach.MOST / 2 < max(asked) <= reach.MOST
    assert len(asked) < 25
    margins = reach.smallest()
    next(margins)
    assert sent(margins, None) is None


def test_a_change_that_ruins_the_scale_of_a_tensor_is_not_proposed():
    network = nn.Linear(4, 3)
    network.weight.data, network.bias.data = torch.eye(3, 4), torch.tensor([1.0, 0.0, 0.0])
    patch = bgd.correct(network, torch.tensor([[0.0, 0.2, 0.0, 0.0]]), 1, "last_layer_weight").patch
    with patch.applied(network):
        largest = float(network.weight.abs().max())
    assert growth(patch, FlatNetwork(network).flat) == {"weight": largest}
    assert largest > 2
    wide = torch.tensor([[0.05, 0.0, 0.0, 0.0]])
    assert bgd.correct(network, wide, 1, "last_layer_weight")
    found = bgd.correct(network, wide, 1, "last_layer_weight", goal=Goal(where="int8"))
    assert not found
    assert "the largest weight of weight becomes" in found.reason
    assert found.forward_passes > 0
    assert bgd.correct(network, wide, 1, "output_bias", goal=Goal(where="int8"))


def test_a_method_is_told_how_far_a_weight_may_grow_where_the_weights_share_a_scale():
    told = []

    class Listening:
        def correct(self, trial, sample, stream):
            told.append(sample.growth)
            return bgd.Correction.failed("it listens alone")

    for where in ((), ("bfloat16",), ("bfloat16", "int8")):
        bgd.correct(make(), images(1), 2, Listening(), goal=Goal(where=where))
    assert told == [None, None, reach.GROWTH]


def test_a_change_that_vanishes_is_not_proposed(monkeypatch):
    monkeypatch.setattr(reach, "MOST", 0.1)
    network = nn.Linear(2, 2)
    network.weight.data, network.bias.data = torch.zeros(2, 2), torch.tensor([1000.0, 1000.0])
    network.bias.data[0] += 0.01
    found = bgd.correct(network, torch.ones(1, 2), 1, "output_bias", goal=Goal(where="bfloat16"))
    assert not found
    assert found.reason == (
        "the goal is not met in bfloat16, with any margin that was tried: the change vanishes there"
    )
    assert found.searches > 3


def test_a_rule_of_ones_own_is_asked_in_every_arithmetic():
    network, x, seen = Packed(), images(1), []

    def decide(outputs):
        seen.append(outputs["logits"].dtype)
        return int(outputs["logits"].argmax()) == 2 and "other" in outputs

    found = bgd.correct(network, x, 2, "output_bias", goal=Goal(decide=decide, where=("bfloat16", "int8")))
    assert found, found.reason
    assert {torch.bfloat16, torch.float32} <= set(seen)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("bfloat", r"goal.where='bfloat': no such arithmetic; did you mean 'bfloat16'\?"),
        (("int8", "fp8"), "goal.where='fp8'"),
        ({3}, "goal.where=3"),
    ],
)
def test_an_arithmetic_that_does_not_exist_is_named(where, words):
    with pytest.raises(ConfigError, match=words):
        Goal(where=where)
    with pytest.raises(ConfigError, match=r"arithmetic='int4'.*valid: bfloat16"):
        logits_in("int4", make(), images(1))


def test_they_come_in_one_order_whatever_was_given():
    assert Goal(where=["int8", "float16", "int8"]).where == ("float16", "int8")
    assert Goal(where="int8").where == ("int8",)


class OnlyInFloat32(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(3))

    def forward(self, x):
        if x.dtype != torch.float32:
            raise RuntimeError("not implemented for this type")
        return x @ self.weight


def test_what_cannot_be_put_into_an_arithmetic_is_said(monkeypatch):
    with pytest.raises(UnavailableError, match="float16: the network does not run in it: not implemented"):
        logits_in("float16", OnlyInFloat32(), torch.ones(1, 3))
    with pytest.raises(UnavailableError, match=r"int8: torch quantizes layers of nn.Linear, .* has none"):
        logits_in("int8", OnlyInFloat32(), torch.ones(1, 3))

    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(exported, "import_module", missing)
    with pytest.raises(
        UnavailableError, match=r"onnxruntime_int8: onnx is not installed: pip install 'bgd\[onnx\]'"
    ):
        logits_in("onnxruntime_int8", make(), images(1))


@pytest.mark.slow
def test_an_export_leaves_the_switches_of_arithmetic_as_they_are():
    switches = [torch.backends.cudnn.conv, torch.backends.cudnn.rnn, torch.backends.cuda.matmul]
    before = [each.fp32_precision for each in switches]
    try:
        for precision in ("ieee", "none"):
            for each in switches:
                each.fp32_precision = precision
            logits_in("onnxruntime", nn.Linear(3, 2), torch.ones(1, 3))
            assert [each.fp32_precision for each in switches] == [precision] * 3
    finally:
        for each, precision in zip(switches, before, strict=True):
            each.fp32_precision = precision


@pytest.mark.slow
def test_an_export_is_shared_whatever_the_network_is_when_it_is_asked_for():
    network, x = make(), images(1)
    flat = FlatNetwork(network)
    elsewhere, patch = Elsewhere(flat), changed(network, "1.weight", "6.weight")
    with elsewhere.patched(patch):
        elsewhere.outputs("onnxruntime", x)
    assert torch.equal(elsewhere.outputs("onnxruntime_int8", x), logits_in("onnxruntime_int8", network, x))
    assert torch.equal(elsewhere.outputs("onnxruntime", x), logits_in("onnxruntime", network, x))
