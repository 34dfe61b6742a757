#!/usr/bin/env bash
# Guess: maximize=True of an optimizer on f is minimizing -f, as it is in torch.optim.
#
# Seen: SophiaH turns the gradient around and leaves the estimate of the curvature as it
# is. At a maximum it is negative, so it is raised to eps, and each step has the largest
# length that is allowed, whatever the gradient: the parameters jump to and fro over the
# maximum for ever. The same steps on -f arrive.
#
# Versions: pytorch_optimizer 4.1.0, torch 2.14.1, NumPy 2.4.6, Python 3.11.
#
# Why it matters: a correction maximizes the margin of a sample or its log-likelihood. It
# becomes descent by signs with a fixed length, and still seems to work from afar.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6 pytorch_optimizer==4.1.0
"$folder/venv/bin/python" -W ignore - <<'EOF'
import sys
from importlib.metadata import version

import torch
from pytorch_optimizer import SophiaH


def distance(maximize: bool) -> float:
    """How far from 0, the maximum of -x^2 / 2, 2,000 steps from 1.0025 end."""
    weight = torch.nn.Parameter(torch.tensor([1.0025]))
    optimizer = SophiaH([weight], lr=0.5, update_period=1, maximize=maximize)
    for _ in range(2_000):
        optimizer.zero_grad()
        value = -(weight**2).sum() / 2
        (value if maximize else -value).backward(create_graph=True)
        optimizer.step()
    return abs(weight.item())


torch.manual_seed(0)
plain, seen = distance(False), distance(True)
print("pytorch_optimizer", version("pytorch_optimizer"), "torch", torch.__version__)
print("distance from the maximum of -x^2 / 2 after 2,000 steps")
print(f"expected: {plain:.1e}, as for minimizing x^2 / 2")
print(f"seen:     {seen:.1e} with maximize=True, {0.5 * 0.01:g} being the largest step")
if plain > 1e-6 or seen < 1e-3:
    sys.exit("the behaviour has changed")
EOF
