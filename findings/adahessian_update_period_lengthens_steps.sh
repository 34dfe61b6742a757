#!/usr/bin/env bash
# Guess: update_period=10 of AdaHessian estimates the curvature anew at each tenth step.
# Where it never changes, on a quadratic with a diagonal Hessian, whose Rademacher estimate
# is exact, training is the same for any period.
#
# Seen: The running mean of squared curvatures is fed at each tenth step and corrected for
# its start as if it had been fed at each: it is ten times too small at step 100, and
# still four times at step 3,000. Steps grow to three times their length, the root of the
# period. The first step is right, so nothing is to be seen at the start.
#
# Versions: pytorch_optimizer 4.1.0, torch 2.14.1, NumPy 2.4.6, Python 3.11.
#
# Why it matters: the option that makes curvature cheap multiplies the learning rate too,
# so a comparison of periods compares rates. SophiaH has no such correction and is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6 pytorch_optimizer==4.1.0
"$folder/venv/bin/python" -W ignore - <<'EOF'
import sys
from importlib.metadata import version

import torch
from pytorch_optimizer import AdaHessian


def lengths(period: int, steps: int = 100) -> list[float]:
    """Lengths of the first and the last step, down a slope whose curvature is fed as 1."""
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = AdaHessian([weight], lr=0.01, update_period=period)
    moved = []
    for _ in range(steps):
        weight.data.fill_(1.0)
        optimizer.zero_grad()
        (weight**2 / 2).sum().backward(create_graph=True)  # gradient 1, curvature 1
        optimizer.step()
        moved.append(1.0 - weight.item())
    return [round(moved[0], 4), round(moved[-1], 4)]


seen = {period: lengths(period) for period in (1, 2, 10)}
print("pytorch_optimizer", version("pytorch_optimizer"), "torch", torch.__version__)
print("the first and the hundredth step of lr=0.01, at gradient 1 and curvature 1, by period")
print("expected: [0.01, 0.01] for each")
print("seen:    ", seen)
if any(first != 0.01 for first, _ in seen.values()) or seen[1] != [0.01, 0.01] or seen[10][1] < 0.025:
    sys.exit("the behaviour has changed")
EOF
