#!/usr/bin/env bash
# Guess: a cast to float8_e4m3fn, which has no infinity, makes NaN of what is out of its
# range (448), as ml_dtypes does; and torch's two float8 types treat it alike.
#
# Seen: torch's float8_e4m3fn saturates, without a word: 10,000 becomes 448, and so does
# infinity. float8_e5m2 keeps infinity, and makes it of what is out of range. ml_dtypes
# gives NaN for e4m3fn.
#
# Versions: torch 2.14.1, ml_dtypes 0.6.0, numpy 2.4.6, Python 3.11.
#
# Why it matters: A correction whose step divides by a small gradient can leave weights of
# any size, or infinite ones. A check for finite weights after the cast finds nothing, and
# the shipped network has another weight than the one that was verified.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 ml_dtypes==0.6.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version

import ml_dtypes
import numpy as np
import torch

values = np.array([1.0, 448.0, 500.0, 1e4, -1e4, np.inf], np.float32)


def by_torch(kind, scale=1.0):
    return torch.tensor(values * np.float32(scale)).to(kind).float().numpy()


narrow, wide = by_torch(torch.float8_e4m3fn), by_torch(torch.float8_e5m2, 200)
other = values.astype(ml_dtypes.float8_e4m3fn).astype(np.float32)
print(*(f"{name} {version(name)}" for name in ("torch", "ml_dtypes")))
print("values:             ", *values)
print("expected (ml_dtypes):", *other)
print("seen, e4m3fn:       ", *narrow)
print("seen, e5m2, times 200:", *wide)
if np.array_equal(narrow, other, equal_nan=True):
    sys.exit("the behaviour has changed")
if not np.array_equal(narrow, [1, 448, 448, 448, -448, 448]):
    sys.exit("values out of range become others than either: this is another matter")
if not (np.isnan(other[2:]).all() and np.isinf(wide[1:]).all()):
    sys.exit("the other types have changed: this is another matter")
EOF
