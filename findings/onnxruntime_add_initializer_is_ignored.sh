#!/usr/bin/env bash
# Guess: A session whose options were given a value for an initializer
# (SessionOptions.add_initializer, "user supplied initializer") computes with that value.
#
# Seen: With the default optimisations it computes with the file's value, and says nothing,
# where ONNX Runtime folds or reorders weights as the session is made: a Conv (alone), a
# MatMul before a BatchNormalization, a weight behind a Transpose. A MatMul or Gemm alone
# uses the new value, and so does everything with ORT_DISABLE_ALL.
#
# Versions: onnxruntime 1.32.0, onnx 1.23.2, Python 3.11, x86-64, on the CPU.
#
# Why it matters: It looks like the way to try a correction on a deployed model without
# touching its file. In a convolution, the correction seems to have no effect.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper


def model(inputs: list[int], weight: list[int], *nodes: tuple) -> bytes:
    values = {"w": np.ones(weight), "one": np.ones(2), "zero": np.zeros(2)}
    graph = helper.make_graph(
        [helper.make_node(*node) for node in nodes],
        "graph",
        [helper.make_tensor_value_info("x", 1, inputs)],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def output(content: bytes, inputs: list[int], weight: list[int], level: str) -> float:
    options = ort.SessionOptions()
    options.log_severity_level = 3  # no warnings of values that a case does not use
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    value = ort.OrtValue.ortvalue_from_numpy(np.full(weight, 5, np.float32))
    options.add_initializer("w", value)
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return round(float(session.run(None, {"x": np.ones(inputs, np.float32)})[0].ravel()[0]), 3)


flat, image = ([1, 2], [2, 2]), ([1, 2, 1, 1], [2, 2, 1, 1])
norm = ("BatchNormalization", ["t", "one", "zero", "zero", "one"], ["y"])
cases = {
    "MatMul": (*flat, ("MatMul", ["x", "w"], ["y"])),
    "Conv": (*image, ("Conv", ["x", "w"], ["y"])),
    "MatMul, BatchNormalization": (*flat, ("MatMul", ["x", "w"], ["t"]), norm),
    "Transpose of the weight, MatMul": (*flat, ("Transpose", ["w"], ["v"]), ("MatMul", ["x", "v"], ["y"])),
}
seen = {}
for name, (inputs, weight, *nodes) in cases.items():
    content = model(inputs, weight, *nodes)
    seen[name] = [output(content, inputs, weight, f"ORT_{level}") for level in ("DISABLE_ALL", "ENABLE_ALL")]

print("onnxruntime", ort.__version__, "onnx", onnx.__version__)
print("The file's weights are 1 (output 2), the option's are 5 (output 10).")
print("expected: 10 with and without optimisations")
for name, outputs in seen.items():
    print("seen:", name, outputs)
if [[round(each) for each in outputs] for outputs in seen.values()] != [[10, 10], [10, 2], [10, 2], [10, 2]]:
    sys.exit("the behaviour has changed")
EOF
