#!/usr/bin/env bash
# Guess: what joblib gives to a worker is what the array holds when the call is made.
#
# Seen: Arrays above max_nbytes (1 MB) are written to a file that the workers map. Within
# one `with Parallel(...)` block the file is written once for an array object: an array
# that is changed in place between two calls reaches the workers as it was at the first.
# Smaller arrays, and calls of Parallel without the block, are right. Nothing is said.
#
# Versions: joblib 1.6.0, cloudpickle 3.1.2, NumPy 2.4.6, Python 3.11.
#
# Why it matters: weights that are updated in place and evaluated by workers round after
# round (a population, a line search, a sweep over patches) are the first round's for any
# but the smallest network: a test with a small one passes. Give a copy, or set
# max_nbytes=None.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet joblib==1.6.0 cloudpickle==3.1.2 numpy==2.4.6
cat > "$folder/rounds.py" <<'EOF'
import sys

import joblib
import numpy as np
from joblib import Parallel, delayed


def first(weights: np.ndarray) -> float:
    return float(weights[0])


def rounds(size: int, **options) -> list[float]:
    """What a worker sees in three rounds; the weights are 1, 2, 3."""
    weights, seen = np.zeros(size), []
    with Parallel(n_jobs=2, **options) as parallel:
        for _ in range(3):
            weights += 1
            seen += parallel([delayed(first)(weights)])
    return seen


small, large, copied = rounds(1_000), rounds(1_000_000), rounds(1_000_000, max_nbytes=None)
print("joblib", joblib.__version__, "numpy", np.__version__)
print("expected: [1.0, 2.0, 3.0] in three rounds")
print(f"seen:     8 kB {small}, 8 MB {large}, 8 MB with max_nbytes=None {copied}")
if small != [1, 2, 3] or copied != small or large != [1, 1, 1]:
    sys.exit("the behaviour has changed")
EOF
"$folder/venv/bin/python" "$folder/rounds.py"
