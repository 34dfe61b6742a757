"""Tiny ONNX files of one network: a hidden layer, and a head written in every way that exporters write it."""

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from bgd import rng

INPUTS, UNITS, CLASSES, TOKENS = 6, 5, 4, 3


def torch_network(classes=CLASSES):
    """The network that every file is of."""
    with rng.torch_seeded(rng.stream(0, "init")):
        return nn.Sequential(nn.Linear(INPUTS, UNITS), nn.ReLU(), nn.Linear(UNITS, classes)).eval()


def inputs(count=40):
    return torch.from_numpy(rng.stream(0, "inputs").standard_normal((count, INPUTS))).float()


def node(kind, given, out, **options):
    return helper.make_node(kind, list(given), [out], name=f"{kind}_{out}", **options)


def constant(value, name):
    return numpy_helper.from_array(np.asarray(value, order="C"), name)


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def hidden(network=None):
    """Nodes that make `h` of `x`, and their tensors."""
    network = network or torch_network()
    made = [node("Gemm", ("x", "w1", "b1"), "a", transB=1), node("Relu", ("a",), "h")]
    return made, {"w1": network[0].weight.detach().numpy(), "b1": network[0].bias.detach().numpy()}


def written(
    path, nodes, tensors, x=("n", INPUTS), kind=TensorProto.FLOAT, outputs=None, given=(), external=False
):
    """Write a file of nodes, with `tensors` as initializers; `outputs` are (name, shape) or whole descriptions."""
    described = outputs or [("scores", ("n", CLASSES))]
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [value("x", x, kind), *given],
        [each if not isinstance(each, tuple) else value(*each) for each in described],
        [constant(each, name) for name, each in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path, save_as_external_data=external, location=f"{path.name}.data", size_threshold=0)
    return path


def head(way, network=None, out="z"):
    """Nodes and tensors that make logits of `h`, in one of `WAYS`."""
    layer = (network or torch_network())[2]
    w, b = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    if way == "Gemm":
        return [node("Gemm", ("h", "w", "b"), out, transB=1)], {"w": w, "b": b}
    if way == "Gemm, turned":
        return [node("Gemm", ("h", "w", "b"), out)], {"w": w.T, "b": b[None]}
    if way == "MatMul and Add":
        return [node("MatMul", ("h", "w"), "p"), node("Add", ("p", "b"), out)], {"w": w.T, "b": b[None]}
    if way == "Add with the bias first":
        return [node("MatMul", ("h", "w"), "p"), node("Add", ("b", "p"), out)], {"w": w.T, "b": b}
    if way == "Transpose":
        made = [node("Transpose", ("w",), "t", perm=[1, 0]), node("Identity", ("b",), "c")]
        return [*made, node("Gemm", ("h", "t", "c"), out)], {"w": w, "b": b}
    if way == "Constant nodes":
        made = [
            node("Constant", (), "w", value=constant(w.T, "")),
            node("Constant", (), "b", value=constant(b, "")),
        ]
        return [*made, node("MatMul", ("h", "w"), "p"), node("Add", ("p", "b"), out)], {}
    raise KeyError(way)


WAYS = ("Gemm", "Gemm, turned", "MatMul and Add", "Add with the bias first", "Transpose", "Constant nodes")
SOFTMAX = [  # as tf2onnx writes it
    node("ReduceMax", ("z",), "m", axes=[1], keepdims=1),
    node("Sub", ("z", "m"), "d"),
    node("Exp", ("d",), "e"),
    node("ReduceSum", ("e", "one"), "s", keepdims=1),
    node("Div", ("e", "s"), "scores"),
]
TAILS = {
    "nothing": [node("Identity", ("z",), "scores")],
    "softmax": [node("Softmax", ("z",), "scores", axis=1)],
    "log-softmax": [node("LogSoftmax", ("z",), "scores", axis=1)],
    "sigmoid": [node("Sigmoid", ("z",), "scores")],
    "softmax, in five operators": SOFTMAX,
    "softmax, then Reshape": [
        node("Softmax", ("z",), "q", axis=1),
        node("Reshape", ("q", "shape"), "scores"),
    ],
}


def network_file(folder, way="Gemm", tail="nothing", **options):
    """Write the network with its head in one way and with one tail."""
    made, tensors = hidden()
    last, more = head(way)
    extra = {"one": np.array([1]), "shape": np.array([-1, CLASSES])}
    used = {name for each in TAILS[tail] for name in each.input}
    extra = {name: each for name, each in extra.items() if name in used}
    return written(folder / "net.onnx", [*made, *last, *TAILS[tail]], {**tensors, **more, **extra}, **options)
