"""Features of many inputs are computed once, kept on disk, and compared when they are read."""

import pytest
import torch
from onnx_networks import inputs, network_file, torch_network

from bgd.deployed import features as kept
from bgd.deployed.onnx_head import OnnxModel


class Told:
    """Counts the inputs that were computed."""

    def __init__(self):
        self.calls = []

    def __call__(self, done, whole):
        self.calls.append((done, whole))


@pytest.fixture
def told(monkeypatch):
    monkeypatch.setattr("bgd.deployed.onnx_head.LOT", 16)
    return Told()


@pytest.fixture
def model(tmp_path, told):
    return OnnxModel.open(network_file(tmp_path), cache=tmp_path / "kept", progress=told)


def only(folder):
    (path,) = folder.iterdir()
    return path


def test_what_is_read_is_what_was_computed(tmp_path, model, told):
    first = model.inputs(inputs())
    assert told.calls == [(16, 40), (32, 40), (40, 40)]
    again = OnnxModel.open(model.source, cache=tmp_path / "kept", progress=told).inputs(inputs())
    assert len(told.calls) == 3, "nothing is computed but a few rows"
    assert torch.equal(again, first)
    with torch.no_grad():
        torch.testing.assert_close(first, torch_network()[:2](inputs()))


def test_other_inputs_another_head_and_another_file_have_features_of_their_own(tmp_path, model):
    model.inputs(inputs())
    model.inputs(inputs()[:20])
    OnnxModel.open(network_file(tmp_path, "Transpose"), cache=tmp_path / "kept").inputs(inputs())
    assert len(list((tmp_path / "kept").iterdir())) == 3


def test_external_data_counts(tmp_path):
    path = network_file(tmp_path, external=True)
    data = path.with_name(f"{path.name}.data")
    content = bytearray(data.read_bytes())
    for byte in (content[0], content[0] ^ 1):
        content[0] = byte
        data.write_bytes(content)
        OnnxModel.open(path, cache=tmp_path / "kept").inputs(inputs())
    assert len(list((tmp_path / "kept").iterdir())) == 2


@pytest.mark.parametrize("damage", ["bit", "end", "empty", "text"])
def test_a_damaged_file_is_computed_anew_and_said(tmp_path, model, told, damage):
    first = model.inputs(inputs())
    path = only(tmp_path / "kept")
    content = path.read_bytes()
    flipped = content[:-1] + bytes([content[-1] ^ 1])
    path.write_bytes({"bit": flipped, "end": content[:-8], "empty": b"", "text": b"x" * 80}[damage])
    with pytest.warns(UserWarning, match="are computed anew: "):
        assert torch.equal(model.inputs(inputs()), first)
    assert len(told.calls) == 6
    assert only(tmp_path / "kept").read_bytes() == content


@pytest.mark.parametrize("row", [0, 20, 39])
def test_features_that_are_whole_and_others_are_computed_anew_and_said(tmp_path, model, row):
    first = model.inputs(inputs())
    stale = first.clone()
    stale[row, 0] += 0.5
    kept.write(only(tmp_path / "kept"), stale)
    with pytest.warns(UserWarning, match="those of a few inputs are others now"):
        assert torch.equal(model.inputs(inputs()), first)
    kept.write(only(tmp_path / "kept"), first[:-1])
    with pytest.warns(UserWarning, match="those of a few inputs are others now"):
        assert torch.equal(model.inputs(inputs()), first)
