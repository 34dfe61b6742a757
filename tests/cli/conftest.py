"""A folder as a user of the command has it: a model's source and weights, inputs, labels, pictures, names."""

import json
import sys
from collections import namedtuple

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import nn

from bgd.cli.main import main

SOURCE = """
from torch import nn


def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))
"""
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WANTED = (3, 5, 7)  # labels in examples: no input may have them already

Said = namedtuple("Said", ("status", "out", "err"))


def exported(model):
    """The model as an ONNX file that ends in Softmax, made node by node."""
    node = onnx.helper.make_node
    nodes = [
        node("Flatten", ["x"], ["flat"]),
        node("Gemm", ["flat", "w1", "b1"], ["hidden"], transB=1),
        node("Relu", ["hidden"], ["features"]),
        node("Gemm", ["features", "w2", "b2"], ["logits"], transB=1),
        node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    tensors = [
        onnx.numpy_helper.from_array(value.numpy(), name)
        for name, value in zip(("w1", "b1", "w2", "b2"), model.state_dict().values(), strict=True)
    ]
    value = onnx.helper.make_tensor_value_info
    ends = [value("x", 1, ["n", 1, 8, 8])], [value("scores", 1, ["n", 10])]
    graph = onnx.helper.make_graph(nodes, "net", *ends, tensors)
    return onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)])


def made(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10)).eval()


@pytest.fixture(scope="session")
def model():
    return made()


@pytest.fixture(scope="session")
def folder(tmp_path_factory, model):
    """The files; nobody may change them."""
    path = tmp_path_factory.mktemp("session")
    (path / "net.py").write_text(SOURCE)
    (path / "names.txt").write_text("\n".join(NAMES))
    torch.save(model.state_dict(), path / "net.pt")
    onnx.save(exported(model), path / "net.onnx")
    inputs = np.random.Generator(np.random.PCG64(1)).normal(size=(300, 1, 8, 8)).astype("f")
    said = model(torch.from_numpy(inputs)).argmax(1).numpy()
    wrong = np.flatnonzero(~np.isin(said, WANTED))
    np.save(path / "wrong.npy", inputs[wrong[:1]])
    np.save(path / "many.npy", inputs[wrong[1:5]])
    np.savez(path / "keep.npz", x=inputs[100:150], y=said[100:150])
    np.savez(path / "other.npz", x=inputs[150:], y=said[150:])
    pictures(path, model)
    return path


def pictures(path, model):
    (path / "pictures").mkdir()
    pixels = np.random.Generator(np.random.PCG64(2)).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    said = model(torch.from_numpy(pixels.astype("f"))[:, None] / 255).argmax(1).numpy()
    chosen = pixels[~np.isin(said, WANTED)]
    Image.fromarray(chosen[0]).save(path / "digit.png")
    for number, each in enumerate(chosen[1:5]):
        Image.fromarray(each).save(path / "pictures" / f"{number}.png")


@pytest.fixture
def here(folder, tmp_path, monkeypatch):
    """A copy of the files to be in."""
    for each in folder.rglob("*"):
        there = tmp_path / each.relative_to(folder)
        there.mkdir() if each.is_dir() else there.symlink_to(each)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("net", "odd"):
        sys.modules.pop(name, None)


@pytest.fixture
def bgd(here, capsys):
    """Run the command in this process; the answer is read as JSON where it is asked for."""

    def run(*words):
        capsys.readouterr()
        status = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return Said(status, json.loads(out) if "--json" in words else out, err)

    return run
