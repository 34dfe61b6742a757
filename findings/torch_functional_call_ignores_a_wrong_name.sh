#!/usr/bin/env bash
# Guess: torch.func.functional_call raises an error for a parameter name that the
# network does not have, as load_state_dict does.
#
# Seen: A wrong last part of the name is ignored: the network runs with its own weights,
# and the gradient for the tensor that was passed is zero. A wrong first part raises
# AttributeError. Only strict=True refuses both, and it then also demands all other
# parameters.
#
# Versions: torch 2.14.1, Python 3.11, x86-64, on the CPU.
#
# Why it matters: Corrections are tried out by passing changed parameters. A correction
# under a stale name (after pruning: weight_orig; after a rename: fc.w) looks like one
# without any effect.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import sys

import torch
from torch.func import functional_call, grad


def outcome(name: str) -> str:
    try:
        new = functional_call(network, {name: torch.zeros(2, 3)}, (x,))
    except (AttributeError, RuntimeError) as error:
        return type(error).__name__
    return "same output" if torch.equal(new, network(x)) else "other output"


torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Linear(3, 2))
x = torch.ones(1, 3)
names = ["0.weight", "0.weight_orig", "1.weight"]
seen = [outcome(name) for name in names]
slope = grad(lambda w: functional_call(network, {"0.weight_orig": w}, (x,)).sum())(torch.ones(2, 3))

print("torch", torch.__version__, "names", names)
print("expected: other output, then an error, and an error")
print("seen:    ", seen, "gradient for the second:", slope.abs().sum().item())
if seen != ["other output", "same output", "AttributeError"] or slope.any():
    sys.exit("the behaviour has changed")
EOF
