"""A model by its name: what a text means, and that every kind of file is corrected or refused in a sentence."""

import warnings

import onnx_networks
import pytest
import torch
from model_files import gguf
from onnx_networks import inputs, network_file, torch_network
from safetensors.torch import save_file
from torch import nn

import bgd
from bgd.deployed.exported import with_linears
from bgd.deployed.file import FormatError
from bgd.deployed.model import load
from bgd.deployed.tensors import open_tensors
from bgd.errors import ConfigError
from bgd.flat import NetworkError

FACTORY = "onnx_networks:torch_network"
ROWS = ({0: torch.export.Dim("n")},)  # any number of inputs


@torch.no_grad()
def second(network, x):
    return int(network(x).argsort(descending=True)[0, 1])


@pytest.fixture
def files(tmp_path):
    """The network in every kind of file, under names that say nothing."""
    network, x = torch_network(), inputs()
    torch.save(network.state_dict(), tmp_path / "state")
    save_file(network.state_dict(), tmp_path / "safe")
    gguf(network, tmp_path / "ggml")
    torch.export.save(torch.export.export(network, (x,), dynamic_shapes=ROWS), tmp_path / "program.pt2")
    torch.jit.trace(network, x).save(tmp_path / "script")
    (tmp_path / "program.pt2").rename(tmp_path / "program")
    network_file(tmp_path).rename(tmp_path / "graph")
    return tmp_path


class Shuffled(nn.Module):
    """Takes its inputs in an order, and some of them, that it keeps in buffers."""

    def __init__(self):
        super().__init__()
        self.register_buffer("order", torch.randperm(6))
        self.register_buffer("mask", torch.rand(6) > 0.5)
        self.last = nn.Linear(6, 3)

    def forward(self, x):
        return self.last(x[:, self.order] * self.mask)


def test_tensors_of_whole_numbers_are_read_too(tmp_path):
    network, x = Shuffled(), torch.randn(4, 6)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "state")
    save_file(network.state_dict(), tmp_path / "safe")
    for name in ("state", "safe"):
        found = load(f"{__name__}:Shuffled", tmp_path / name).network
        torch.testing.assert_close(found(x), network(x))


def test_what_a_file_of_weights_has_not_or_in_another_type_is_said(tmp_path):
    torch.save(
        {name: each for name, each in Shuffled().state_dict().items() if name != "order"}, tmp_path / "less"
    )
    torch.save(Shuffled().double().state_dict(), tmp_path / "wide")
    with pytest.warns(match="holds no 'order': it stays as the factory makes it"):
        load(f"{__name__}:Shuffled", tmp_path / "less")
    with pytest.warns(match="holds float64, and the network float32"):
        load(f"{__name__}:Shuffled", tmp_path / "wide")


KINDS = {
    "state": "state dict",
    "safe": "safetensors",
    "ggml": "GGUF",
    "program": "torch.export",
    "script": "TorchScript",
    "graph": "ONNX",
}


def test_a_file_is_told_by_its_content_and_run(files):
    for name, kind in KINDS.items():
        assert open_tensors(files / name).kind == kind
    x, network = inputs(), torch_network()
    for model in (
        load(FACTORY),
        *(load(FACTORY, files / name) for name in ("state", "safe", "ggml")),
        *(load(files / name) for name in ("program", "script", "graph")),
    ):
        with torch.no_grad():
            torch.testing.assert_close(model.network(model.inputs(x)), network(x))
            torch.testing.assert_close(model.outputs(x), network(x))
        fix = bgd.correct(model.network, model.inputs(x[:1]), second(network, x[:1]), "bgd_ii").patch
        patched = model.patched(model.loaded(model.stored(fix)))
        assert patched.outputs(x[:1]).argmax() == second(network, x[:1]) != model.outputs(x[:1]).argmax()
        assert patched.source == model.source


def test_a_program_has_the_layers_of_the_network_that_it_was_exported_from(files):
    network, x = torch_network(), inputs()[:1]
    program = load(files / "program").network
    assert list(dict(program.named_parameters())) == list(dict(network.named_parameters()))
    for method in ("output_bias", "last_layer_lp_linf", "rank_one"):
        own, other = (bgd.correct(each, x, second(network, x), method).patch for each in (network, program))
        assert own.tensors == other.tensors
        assert torch.equal(own.indices, other.indices)
        torch.testing.assert_close(own.new, other.new)


def test_a_weight_that_is_read_besides_stays_in_its_place():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(6, 6)

        def forward(self, x):
            return self.inner(x) @ self.inner.weight

    tied, x = Tied().eval(), inputs()
    program = with_linears(torch.export.export(tied, (x,), dynamic_shapes=ROWS).module()).eval()
    with torch.no_grad():
        torch.testing.assert_close(program(x), tied(x))
    with pytest.raises(bgd.ConfigError, match=r"outputs are those of no nn\.Linear"):
        bgd.correct(program, x[:1], (int(program(x[:1]).argmax()) + 1) % 6, "output_bias")


def test_a_program_for_a_fixed_number_of_inputs_or_of_another_width_is_refused(tmp_path, files):
    torch.export.save(torch.export.export(torch_network(), (inputs(1),)), tmp_path / "one.pt2")
    with pytest.raises(NetworkError, match="takes 1 inputs at a time, no other number"):
        load(tmp_path / "one.pt2")
    with pytest.raises(ConfigError, match=r"does not take an input of shape \(1, 5\)"):
        bgd.correct(load(files / "program").network, inputs()[:1, :5], 0, "bgd_ii")


def test_torch_script_has_gradients_and_no_layers(files):
    script, x = load(files / "script").network, inputs()[:1]
    label = second(torch_network(), x)
    assert bgd.correct(script, x, label, "retrain", learning_rate=0.1)
    assert all(each.grad is None for each in script.parameters()), "the copy is no part of the model given"
    with pytest.raises(bgd.ConfigError, match="a TorchScript network shows none"):
        bgd.correct(script, x, label, "output_bias")


def test_weights_of_a_wrapped_network_are_taken(tmp_path):
    state = {f"module.{name}": each + 1 for name, each in torch_network().state_dict().items()}
    for whole in (state, {"epoch": 3, "state_dict": state, "optimizer": {"step": torch.ones(3)}}):
        torch.save(whole, tmp_path / "w.pt")
        found = load(FACTORY, tmp_path / "w.pt").network.state_dict()
        assert all(torch.equal(found[name.removeprefix("module.")], each) for name, each in state.items())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("net.onnx", "no such file; package.module:factory is wanted"),
        ("no_such_module:net", "No module named 'no_such_module', neither installed nor"),
        ("onnx_networks:torch_netwrk", "did you mean 'torch_network'"),
        ("onnx_networks:node", "it raised TypeError"),
        ("onnx_networks:inputs", "it gives a Tensor, and no nn.Module"),
    ],
)
def test_what_is_no_model_is_refused(text, words):
    with pytest.raises(ConfigError, match=words):
        load(text)


def test_a_network_with_weights_that_are_not_dense_is_refused_by_the_name_of_one(monkeypatch):
    layer = nn.Linear(2, 2)
    layer.weight = nn.Parameter(torch.eye(2).to_sparse(), requires_grad=False)
    for given in (layer, lambda: layer):
        monkeypatch.setattr(onnx_networks, "made", given, raising=False)
        with pytest.raises(NetworkError, match=r"parameter weight is torch\.sparse_coo"):
            load("onnx_networks:made")


def test_weights_that_do_not_fit_are_refused(files, tmp_path):
    state = torch_network().state_dict()
    for change, words in (
        ({"0.wait": state["0.bias"]}, "holds '0.wait', which the network has not; did you mean '0.weight'"),
        ({"0.bias": state["2.bias"]}, "0.bias is \\(4,\\) there, \\(5,\\) in the network"),
        ({"0.bias": None}, "another network: it has no '0.bias'"),
    ):
        torch.save(
            {name: each for name, each in (state | change).items() if each is not None}, tmp_path / "w.pt"
        )
        with pytest.raises(ConfigError, match=words):
            load(FACTORY, tmp_path / "w.pt")
    for name in ("state", "safe"):
        with pytest.raises(ConfigError, match=r"holds weights alone .* give package.module:factory"):
            load(files / name)
    with pytest.raises(ConfigError, match="is ONNX, a model of its own"):
        load(FACTORY, files / "graph")
    with pytest.raises(ConfigError, match=r"weights go with package.module:factory"):
        load(files / "graph", files / "state")
    with pytest.raises(ConfigError, match="no such file"):
        load(FACTORY, files / "stat")
    with pytest.raises(ConfigError, match="head='w': it is of an ONNX file"):
        load(FACTORY, head="w")
    (tmp_path / "w.pt").write_bytes(b"\xff\xd8\xff a picture")
    for given in ((FACTORY, tmp_path / "w.pt"), (tmp_path / "w.pt",)):
        with pytest.raises(FormatError, match="is none of safetensors, a state dict"):
            load(*given)
    torch.save({"a": state, "b": state}, tmp_path / "w.pt")
    with pytest.raises(ConfigError, match=r"several times, behind a\., b\.: save one"):
        load(FACTORY, tmp_path / "w.pt")


def test_weights_by_chance_are_said(tmp_path, monkeypatch):
    calls = []

    def chance():
        calls.append(1)
        return nn.Linear(3, 2)

    def once():
        if calls:
            raise RuntimeError("opened already")
        return chance()

    for name, made in (("chance", chance), ("once", once)):
        monkeypatch.setattr(onnx_networks, name, made, raising=False)
    with pytest.warns(
        UserWarning, match="onnx_networks:chance gives other weights each time, weight for one"
    ):
        load("onnx_networks:chance")
    calls.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load("onnx_networks:once")
        load(FACTORY)
        torch.save(torch_network().state_dict(), tmp_path / "state")
        load(FACTORY, tmp_path / "state")


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("card", "device='card': no such device; .*valid: cpu, cuda"),
        ("cuda", "torch finds no CUDA device here; device='cpu' runs anywhere"),
    ],
)
def test_a_device_that_is_not_here_is_refused(device, words, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=words):
        load(FACTORY, device=device)


def test_an_onnx_file_runs_on_the_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(ConfigError, match=r"ONNX Runtime runs .*onnx on the CPU"):
        load(network_file(tmp_path), device="cuda")
