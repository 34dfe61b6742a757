#!/usr/bin/env bash
# Guess: a network whose file has float32 weights is computed with them on a CPU of a PC, where
# the 16-bit options of ncnn, made for phones, have nothing to gain.
#
# Seen: A linear layer keeps its weights in float16, by default, on an x86 processor that can
# convert them (F16C). Two files whose weights round to the same float16 give the same scores.
# With `use_fp16_storage`, `use_fp16_packed` and `use_fp16_arithmetic` off they do not.
#
# Versions: ncnn 1.0.20261020, numpy 2.4.6, Python 3.11.
#
# Why it matters: A correction can be a small change of one weight. It is in the file, and ncnn
# rounds it away. A correction for ncnn has to hold in float16, or be checked in ncnn itself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
grep -q -m1 -w f16c /proc/cpuinfo || { echo "this processor has no F16C: nothing to see here" >&2; exit 2; }
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet ncnn==1.0.20261020 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'EOF'
import sys
from importlib.metadata import version
from pathlib import Path

import ncnn
import numpy as np

GRAPH, WEIGHTS = Path(sys.argv[1]) / "layer.param", Path(sys.argv[1]) / "layer.bin"
GRAPH.write_text("7767517\n2 2\nInput in 0 1 x 0=64\nInnerProduct layer 1 1 x y 0=10 1=1 2=640\n")


def scores(weight: np.ndarray, **options: bool) -> np.ndarray:
    """What one linear layer gives for an input of ones."""
    tag, bias = np.zeros(1, np.uint32), np.zeros(10, np.float32)  # tag 0: float32
    WEIGHTS.write_bytes(tag.tobytes() + weight.tobytes() + bias.tobytes())
    network = ncnn.Net()
    for name, value in options.items():
        setattr(network.opt, name, value)
    network.load_param(str(GRAPH))
    network.load_model(str(WEIGHTS))
    run, inputs = network.create_extractor(), np.ones(64, np.float32)
    run.input("x", ncnn.Mat(inputs).clone())  # a Mat has the array's memory, and does not keep it
    return np.array(run.extract("y")[1])


before = np.ones((10, 64), np.float32)
after = before.copy()
after[3, 5] += 0.0004
off = dict.fromkeys(("use_fp16_storage", "use_fp16_packed", "use_fp16_arithmetic"), False)
print(*(f"{name} {version(name)}" for name in ("ncnn", "numpy")))
seen, full = (float((scores(after, **how) - scores(before, **how))[3]) for how in ({}, off))
print("expected: one weight is 0.0004 more, and so is a score")
print(f"seen:     the score is {seen:.4f} more; without 16-bit options {full:.4f}")
if abs(full - 0.0004) > 1e-5:
    sys.exit("it is not so without the options either: this is another matter")
if seen != 0:
    sys.exit("the behaviour has changed")
EOF
