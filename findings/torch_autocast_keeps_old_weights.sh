#!/usr/bin/env bash
# Guess: torch.autocast casts a weight when a layer is called, so a network that is
# changed between two calls answers with its new weights.
#
# Seen: The block keeps the cast of each float32 parameter until it is left. What is
# written in place meanwhile is not seen, be it by copy_ under no_grad, by
# load_state_dict or by an optimizer: the memory holds the new values, the answers are of
# the old ones, also those under no_grad. torch.clear_autocast_cache() and
# cache_enabled=False help.
#
# Versions: torch 2.14.1, NumPy 2.4.6, Python 3.11, CPU with bfloat16.
#
# Why it matters: who finds a wrong answer, patches the weights and asks again in the same
# block gets the old answers: the correction seems to fail, and to harm nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'EOF'
import sys

import torch
from torch import nn

x, y = torch.eye(3), torch.tensor([1, 2, 0])


def by_copy(network: nn.Linear) -> None:
    with torch.no_grad():
        network.weight.copy_(torch.eye(3).roll(1, 0))


def by_state(network: nn.Linear) -> None:
    network.load_state_dict({"weight": torch.eye(3).roll(1, 0)})


def by_step(network: nn.Linear) -> None:
    nn.functional.cross_entropy(network(x), y).backward()
    torch.optim.SGD(network.parameters(), lr=30.0).step()


def answers(change, keep: bool) -> list[int]:
    """Answers of a network that says 0, 1, 2, after a change to one that says 1, 2, 0."""
    network = nn.Linear(3, 3, bias=False)
    network.load_state_dict({"weight": torch.eye(3)})
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=keep):
        assert network(x).argmax(1).tolist() == [0, 1, 2]
        change(network)
        with torch.no_grad():
            return network(x).argmax(1).tolist()


changes = {"copy_": by_copy, "load_state_dict": by_state, "SGD": by_step}
plain = {name: answers(change, keep=False) for name, change in changes.items()}
seen = {name: answers(change, keep=True) for name, change in changes.items()}
print("torch", torch.__version__)
print("expected (as with cache_enabled=False):", plain)
print("seen:                                  ", seen)
if set(map(tuple, plain.values())) != {(1, 2, 0)} or set(map(tuple, seen.values())) != {(0, 1, 2)}:
    sys.exit("the behaviour has changed")
EOF
