#!/usr/bin/env bash
# Guess: to load an ONNX model that keeps its weights in a file of their own, change a number
# and save it to the same two files leaves them as large as before.
#
# Seen: The weights are written once more behind those that are there: the file grows by the
# whole model at each save, and the old weights stay in it. What is loaded is right.
#
# Versions: ONNX 1.23.2, NumPy 2.4.6, Python 3.11.
#
# Why it matters: Classifiers above 2 GB have to keep their weights so, and patches come in a
# row: after ten of them the file is eleven times as large.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'EOF'
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

folder = Path(sys.argv[1])
file, data = folder / "model.onnx", folder / "model.data"


def save(model: onnx.ModelProto) -> int:
    """Write both files; return the size of the one with the weights."""
    onnx.save_model(model, file, save_as_external_data=True, location=data.name, size_threshold=0)
    return data.stat().st_size


weight = np.random.default_rng(0).normal(size=(256, 10)).astype(np.float32)
graph = helper.make_graph(
    [helper.make_node("MatMul", ["inputs", "weight"], ["logits"])],
    "classifier",
    [helper.make_tensor_value_info("inputs", TensorProto.FLOAT, ["n", 256])],
    [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 10])],
    [numpy_helper.from_array(weight, "weight")],
)
sizes = [save(helper.make_model(graph))]
for step in range(3):
    model = onnx.load(file)
    weight[step, 0] += 1
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "weight"))
    sizes.append(save(model))
print(*(f"{name} {version(name)}" for name in ("onnx", "numpy")))
print(f"expected: {weight.nbytes:,} bytes after each of 4 saves")
print("seen:    ", ", ".join(f"{size:,}" for size in sizes))
if not np.array_equal(numpy_helper.to_array(onnx.load(file).graph.initializer[0]), weight):
    sys.exit("what is loaded is wrong: this is another matter")
if sizes != [weight.nbytes * saves for saves in (1, 2, 3, 4)]:
    sys.exit("the behaviour has changed")
EOF
