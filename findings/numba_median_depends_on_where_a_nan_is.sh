#!/usr/bin/env bash
# Guess: the median of values of which one is NaN is NaN in compiled code too, as NumPy has it,
# and the order of the values does not matter.
#
# Seen: It is a number or NaN, depending on where the NaN stands: of the six places beside five
# numbers, three give a number. `np.percentile(values, 50)` in compiled code gives NaN for each.
#
# Versions: numba 0.68.1, numpy 2.4.6, Python 3.11.
#
# Why it matters: A correction that destroys the network has a loss of NaN. The median over
# corrections then looks like any other number, or does not, as they happen to come.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numba==0.68.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version

import numba
import numpy as np


def median(values: np.ndarray) -> float:
    return np.median(values)


def percentile(values: np.ndarray) -> float:
    return np.percentile(values, 50)


def by_place(function, given=(1.0, 2.0, 3.0, 4.0, 5.0)) -> list[float]:
    """What a function gives for five numbers and a NaN, at each place of the NaN."""
    return [float(function(np.insert(np.array(given), place, np.nan))) for place in range(6)]


print(*(f"{name} {version(name)}" for name in ("numba", "numpy")))
expected, seen = by_place(median), by_place(numba.njit(median))
if not np.isnan(expected).all() or not np.isnan(by_place(numba.njit(percentile))).all():
    sys.exit("NumPy's median, or the compiled percentile, is a number: this is another matter")
print("expected:", *expected)
print("seen:    ", *seen)
if np.isnan(seen).all() or not np.isnan(seen).any():
    sys.exit("the behaviour has changed")
EOF
