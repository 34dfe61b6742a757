#!/usr/bin/env bash
# Guess: a linear program in small units is solved as well as the same one in large
# units: solvers scale rows and costs, and "optimal" and "infeasible" are about the
# problem that was given.
#
# Seen: HiGHS drops coefficients below 1e-9 before it begins and holds costs and rows to
# absolute tolerances of 1e-7. Through scipy, without a warning: a feasible problem is
# reported infeasible, a point that satisfies no constraint and one that is the worst of
# all are reported optimal.
#
# Versions: SciPy 1.17.1 (its own HiGHS), NumPy 2.4.6, Python 3.11.
#
# Why it matters: The smallest L1 change that mends a sample is such a program, its rows
# are gradients of a margin. For a saturated network (softmax near 0 or 1) these are
# below 1e-9: "no correction exists", or an empty one that mends nothing. Divide each
# row by its largest entry.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet scipy==1.17.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import sys

import numpy as np
import scipy
from scipy.optimize import linprog


def solve(cost: float, slope: float, least: float | None, upper: float | None) -> str:
    """Minimise cost * x subject to slope * x >= least and 0 <= x <= upper."""
    rows = {} if least is None else {"A_ub": [[-slope]], "b_ub": [-least]}
    found = linprog([cost], bounds=(0, upper), **rows)
    return f"optimal x={found.x[0]:g}" if found.status == 0 else f"status {found.status}"


tiny = 5e-10
small = [solve(1, tiny, 1, None), solve(1, tiny, tiny, None), solve(-1e-8, 1, None, 1)]
scaled = [solve(1, 1, 1 / tiny, None), solve(1, 1, 1, None), solve(-1, 1, None, 1)]
print("scipy", scipy.__version__, "numpy", np.__version__)
print("status 2: infeasible")
print("expected (the same problems, scaled by hand):", scaled)
print("seen:                                        ", small)
if scaled != ["optimal x=2e+09", "optimal x=1", "optimal x=1"]:
    sys.exit("the scaled problems come out otherwise: this is another matter")
if small != ["status 2", "optimal x=0", "optimal x=0"]:
    sys.exit("the behaviour has changed")
EOF
