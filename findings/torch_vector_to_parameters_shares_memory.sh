#!/usr/bin/env bash
# Guess: vector_to_parameters copies the vector into the parameters, as its
# documentation says, so one saved vector can restore a network as often as needed.
#
# Seen: The parameters become views of the vector. The first step after a restore
# changes the saved vector itself, and every later restore brings back the changed
# weights. Two networks filled from one vector train each other.
#
# Versions: torch 2.14.1, Python 3.11, x86-64, on the CPU.
#
# Why it matters: Correcting one sample after the other, each from the same start, is
# this very loop: corrections pile up silently while every record says that each began
# at the original network. vector.clone() in the call mends it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import sys

import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

torch.manual_seed(0)
network = torch.nn.Linear(3, 2)
original = network.weight.detach().clone()
saved = parameters_to_vector(network.parameters()).detach()

restored = []
for _ in range(3):
    vector_to_parameters(saved, network.parameters())
    restored.append(torch.equal(network.weight, original))
    network(torch.ones(1, 3)).sum().backward()
    torch.optim.SGD(network.parameters(), lr=0.1).step()

other = torch.nn.Linear(3, 2)
vector_to_parameters(saved, other.parameters())
shared = other.weight.data_ptr() == network.weight.data_ptr()

print("torch", torch.__version__)
print("expected: each restore gives the original:", [True] * 3, "memory shared: False")
print("seen:     each restore gives the original:", restored, "memory shared:", shared)
if restored != [True, False, False] or not shared:
    sys.exit("the behaviour has changed")
EOF
