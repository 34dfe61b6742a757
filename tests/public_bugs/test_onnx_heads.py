"""The last layer of an ONNX file, held to ONNX Runtime."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import bgd
from experiments.public_bugs.onnx_heads import OnnxHead

WIDTH, CLASSES = 5, 3


def model(constants):
    """Relu, MatMul, Add, Softmax: weights as initializers or as Constant nodes."""
    rng = np.random.default_rng(0)
    arrays = {"w": rng.normal(size=(WIDTH, CLASSES)), "b": rng.normal(size=(1, CLASSES))}
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in arrays.items()]
    nodes = [
        helper.make_node("Relu", ["x"], ["h"]),
        helper.make_node("MatMul", ["h", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["z"]),
        helper.make_node("Softmax", ["z"], ["p"]),
    ]
    if constants:
        nodes = [*(helper.make_node("Constant", [], [each.name], value=each) for each in tensors), *nodes]
    shape = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
        for name, size in (("x", WIDTH), ("p", CLASSES))
    ]
    graph = helper.make_graph(nodes, "g", shape[:1], shape[1:], [] if constants else tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def said(path, x):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


@pytest.mark.parametrize("constants", [False, True])
def test_a_patch_of_the_head_is_a_patch_of_the_file(tmp_path, constants):
    path, patched = tmp_path / "m.onnx", tmp_path / "patched.onnx"
    onnx.save(model(constants), path)
    x = np.random.default_rng(1).normal(size=(300, WIDTH)).astype(np.float32)
    file = OnnxHead(path)
    features = file.features(x)
    assert torch.equal(features, torch.tensor(np.maximum(x, 0)))
    logits = file.head(features).detach()
    np.testing.assert_allclose(logits.softmax(1).numpy(), said(path, x), atol=1e-6)
    wrong = (int(logits[0].argmax()) + 1) % CLASSES
    fix = bgd.correct(file.head, features[:1], wrong, "last_layer_weight")
    before = path.read_bytes()
    file.write(fix.patch, patched)
    assert path.read_bytes() == before
    after = patched.read_bytes()
    assert len(after) == len(before)
    assert sum(a != b for a, b in zip(after, before, strict=True)) <= 4  # bytes of one float
    assert said(patched, x)[0].argmax() == wrong
    with fix.patch.applied(file.head):
        np.testing.assert_allclose(
            file.head(features).detach().softmax(1).numpy(), said(patched, x), atol=1e-6
        )
