#!/usr/bin/env bash
# Guess: converting an ONNX model to float16 rounds each weight to the nearest float16, as a
# cast does; one beyond 65,504 overflows, one too small becomes 0.
#
# Seen: convert_float_to_float16 of onnxconverter-common brings every weight into -10,000 to
# 10,000, also 20,000, which float16 holds; and one between 0 and 1e-7 away from it, to 1e-7,
# which is twice the least float16. It warns with the number, without the weight's name;
# max_finite_val=65504 and min_positive_val=0 make it round.
#
# Versions: onnxconverter-common 1.16.0, onnx 1.23.2, Python 3.11.
#
# Why it matters: A second-order step divides by a gradient, so a correction of few
# parameters may leave a weight of any size. Rounded to float16 in memory it survives; the
# converted file has another weight, and the corrected input can be wrong again.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxconverter-common==1.16.0 onnx==1.23.2
"$folder/venv/bin/python" - <<'EOF'
import copy
import sys
import warnings
from importlib.metadata import version

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxconverter_common.float16 import convert_float_to_float16

weights = np.array([[1.5, 20_000, -30_000, 1e-8, -1e-8, 0]], np.float32).T
graph = helper.make_graph(
    [helper.make_node("MatMul", ["x", "w"], ["y"])],
    "linear",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 6])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
    [numpy_helper.from_array(weights, "w")],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
onnx.checker.check_model(model)
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    halved = convert_float_to_float16(copy.deepcopy(model))
rounded = convert_float_to_float16(copy.deepcopy(model), max_finite_val=65504, min_positive_val=0)
seen, set_so = (numpy_helper.to_array(each.graph.initializer[0]).ravel() for each in (halved, rounded))
guess = weights.astype(np.float16).ravel()
print(*(f"{name} {version(name)}" for name in ("onnxconverter-common", "onnx")))
print("weights: ", *(f"{value:g}" for value in weights.ravel()))
print("expected:", *(f"{value:g}" for value in guess))
print("seen:    ", *(f"{value:g}" for value in seen), f"({len(told)} warnings)")
print("set so:  ", *(f"{value:g}" for value in set_so))
if np.array_equal(seen, guess):
    sys.exit("the behaviour has changed")
if not np.array_equal(seen, np.array([1.5, 1e4, -1e4, 1e-7, -1e-7, 0], np.float16)):
    sys.exit("the weights are others than either: this is another matter")
if not np.array_equal(set_so, guess):
    sys.exit("the two limits do something else: this is another matter")
EOF
