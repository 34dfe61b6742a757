#!/usr/bin/env bash
# Guess: SessionOptions.add_initializer replaces a weight of the model, so a session gives
# the outputs of the model with the new weight.
#
# Seen: Only without graph optimizations. With the default ones a convolution that is
# followed by BatchNormalization is fused with it from the values stored in the model:
# the new weight is ignored, without an error or a warning. A weight that nothing is
# fused into, as that of a MatMul, is replaced.
#
# Versions: onnxruntime 1.32.0, onnx 1.23.2, Python 3.11, on the CPU.
#
# Why it matters: Trying a corrected weight in a running service without touching the
# file is what the call is for. The correction is then judged on the old network.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def stored(name: str, value: np.ndarray) -> TensorProto:
    return numpy_helper.from_array(np.asarray(value, np.float32), name)


weight = np.ones((1, 1, 1, 1), np.float32)
plain = {"scale": [1], "shift": [0], "mean": [0], "variance": [1]}
nodes = [
    helper.make_node("Conv", ["x", "weight"], ["hidden"]),
    helper.make_node("BatchNormalization", ["hidden", *plain], ["y"]),
]
shape = [1, 1, 1, 1]
graph = helper.make_graph(
    nodes,
    "graph",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    [stored("weight", weight), *(stored(name, value) for name, value in plain.items())],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
onnx.checker.check_model(model)


def output(level: onnxruntime.GraphOptimizationLevel) -> float:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    value = onnxruntime.OrtValue.ortvalue_from_numpy(5 * weight)
    options.add_initializer("weight", value)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return round(session.run(None, {"x": np.ones(shape, np.float32)})[0].item(), 3)


levels = onnxruntime.GraphOptimizationLevel
seen = [output(levels.ORT_DISABLE_ALL), output(levels.ORT_ENABLE_ALL)]
print("onnxruntime", onnxruntime.__version__)
print("output with the weight 5 in place of 1, without and with optimizations")
print("expected:", [5.0, 5.0])
print("seen:    ", seen)
if seen != [5.0, 1.0]:
    sys.exit("the behaviour has changed")
EOF
