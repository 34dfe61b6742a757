#!/usr/bin/env bash
# Guess: `a.sum()` and `a.mean()` in a function that Numba compiles agree with NumPy's to
# float32's rounding, as Numba implements NumPy's functions and both are of one array.
#
# Seen: Numba adds one number after the other to one float32. NumPy adds in pairs. The
# sum of the squares of 25 million weights is 6 % too small; the mean of 50 million flags,
# nine tenths of them 1, is 0.34: from 2^24 on another 1 changes nothing. No warning.
#
# Versions: Numba 0.68.1, NumPy 2.4.6, Python 3.11, one CPU thread, x86-64.
#
# Why it matters: The squared length of a network or of a dense change, and a mean loss or
# an accuracy over many images, are such sums: of 1.28 million losses of 0.8 nats the mean
# is off by 9e-5 nats, more than many a correction of one sample moves it. Compiled code
# is to add into a float64 of its own.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numba==0.68.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import sys

import numba
import numpy as np


def total(values):
    return values.sum()


def mean(values):
    return values.mean()


random = np.random.default_rng(0)
squares = np.square(random.normal(0, 0.02, 25_000_000).astype(np.float32))
flags = (random.random(50_000_000) < 0.9).astype(np.float32)
losses = np.abs(random.normal(0, 1, 1_280_000)).astype(np.float32)
print("numba", numba.__version__, "numpy", np.__version__)
rows = {}
for name, function, values in (
    ("sum of 25,000,000 squares", total, squares),
    ("mean of 50,000,000 flags", mean, flags),
    ("mean of 1,280,000 losses", mean, losses),
):
    exact, plain = function(values.astype(np.float64)), function(values)
    rows[name] = compiled = [float(numba.njit(function)(values)), float(plain), float(exact)]
    print(f"{name}: numba {compiled[0]:.6g}, numpy {compiled[1]:.6g}, in float64 {compiled[2]:.6g}")
off = {name: abs(own[0] / own[2] - 1) for name, own in rows.items()}
near = all(abs(plain / exact - 1) < 1e-6 for _, plain, exact in rows.values())
print("expected: all within 1e-6 of each other")
print("seen:     numba is off by", ", ".join(f"{value:.1e}" for value in off.values()))
if not near:
    sys.exit("numpy's sums are off as well: this is another matter")
if min(off.values()) < 2e-5 or off["sum of 25,000,000 squares"] < 0.01 or rows["mean of 50,000,000 flags"][0] > 0.34:
    sys.exit("the behaviour has changed")
EOF
