#!/usr/bin/env bash
# Guess: a classifier that onnx2torch makes of an ONNX file has the file's weights as
# parameters: as many of them, and tied as there.
#
# Seen: A weight of Gemm becomes a parameter, that of MatMul, as exporters write linear
# layers of sequences, a buffer: it is not in `parameters()` and gets no gradient. One
# initializer that two nodes read becomes two tensors, for Gemm and for MatMul alike:
# changing one leaves the other.
#
# Versions: onnx2torch 1.5.15, ONNX 1.23.2, torch 2.14.1, Python 3.11.
#
# Why it matters: To correct a deployed file one converts it, searches among its parameters
# and writes the change back. The search finds the layers of Gemm alone, or none; a change
# that works on the untied copy is another one in the file, where both uses change.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx2torch==1.5.15 onnx==1.23.2 torch==2.14.1
"$folder/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx2torch import convert

random = np.random.default_rng(0)
SHARED = random.normal(0, 1, (4, 4)).astype(np.float32)


def classifier(op: str) -> onnx.ModelProto:
    """Two layers that read one weight, with a ReLU between them."""
    graph = helper.make_graph(
        [
            helper.make_node(op, ["inputs", "weight"], ["sums"]),
            helper.make_node("Relu", ["sums"], ["units"]),
            helper.make_node(op, ["units", "weight"], ["logits"]),
        ],
        "classifier",
        [helper.make_tensor_value_info("inputs", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(SHARED, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


print(*(f"{name} {version(name)}" for name in ("onnx2torch", "onnx", "torch")))
print("expected: 1 parameter of 4 by 4 for either")
inputs, seen = torch.tensor(random.normal(0, 1, (3, 4)), dtype=torch.float32), {}
for op in ("Gemm", "MatMul"):
    model = convert(classifier(op))
    right = np.maximum(inputs.numpy() @ SHARED, 0) @ SHARED
    if not np.allclose(model(inputs).detach().numpy(), right, atol=1e-4):
        sys.exit("the converted classifier computes something else: this is another matter")
    parameters = [one for one in model.parameters() if one.shape == (4, 4)]
    buffers = [one for one in model.buffers() if one.shape == (4, 4)]
    places = {one.data_ptr() for one in (*parameters, *buffers)}
    seen[op] = len(parameters), len(buffers), len(places)
    print(f"seen:     {op}: {seen[op][0]} parameters, {seen[op][1]} buffers, in {seen[op][2]} places")
if seen != {"Gemm": (2, 0, 2), "MatMul": (0, 2, 2)}:
    sys.exit("the behaviour has changed")
EOF
