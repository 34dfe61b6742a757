#!/usr/bin/env bash
# Guess: flax.serialization.from_bytes(target, data) fills the target, so arrays of another
# shape or type than the target's are refused, as a missing key is.
#
# Seen: keys are compared, arrays are not: a 5 x 7 array of float64 is put where the target
# has 3 x 2 of float32, a vector of float16 where it has float32.
#
# Versions: flax 0.12.8, jax 0.10.2, msgpack 1.2.4, numpy 2.4.6, Python 3.11.
#
# Why it matters: A checkpoint of another architecture with the same layer names loads, and
# fails later, or broadcasts and does not fail at all; what was patched by index is patched
# elsewhere. Shapes and types must be compared by whoever loads.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet flax==0.12.8 jax==0.10.2 jaxlib==0.10.2 msgpack==1.2.4 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version

import numpy as np
from flax import serialization

target = {"kernel": np.zeros((3, 2), np.float32), "bias": np.zeros(2, np.float32)}
other = {"kernel": np.ones((5, 7), np.float64), "bias": np.ones(2, np.float16)}
print(*(f"{name} {version(name)}" for name in ("flax", "jax")))
print("expected: an error, or kernel (3, 2) float32 and bias (2,) float32")
try:
    found = serialization.from_bytes(target, serialization.to_bytes(other))
except (ValueError, TypeError) as error:
    print("seen: refused:", error)
    sys.exit("the behaviour has changed")
print("seen:", ", ".join(f"{name} {value.shape} {value.dtype}" for name, value in found.items()))
if any(found[name].dtype != value.dtype or not np.array_equal(found[name], value) for name, value in other.items()):
    sys.exit("the behaviour has changed")
try:
    serialization.from_bytes(target, serialization.to_bytes({"kernel": target["kernel"]}))
except ValueError as error:
    print("a missing key:", str(error).splitlines()[0])
else:
    sys.exit("a missing key is no error: this is another matter")
EOF
