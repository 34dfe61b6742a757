#!/usr/bin/env bash
# Guess: copy.deepcopy of a TorchScript module is a module of its own, as that of any
# module: its parameters are leaves, and training it leaves the original alone.
#
# Seen: its parameters are the results of an operation on the original's. They get no
# gradient, an optimizer refuses them, and a backward pass through the copy writes
# gradients into the original.
#
# Versions: torch 2.14.1, Python 3.11, on the CPU.
#
# Why it matters: Whoever tries a change on a private copy touches the model that was
# given. The copy needs detach_().requires_grad_() for each parameter.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'EOF'
import copy
import torch

print("torch", torch.__version__)
seen = {}
for kind, network in (("plain", torch.nn.Linear(3, 2)), ("script", torch.jit.script(torch.nn.Linear(3, 2)))):
    twin = copy.deepcopy(network)
    twin(torch.ones(1, 3)).sum().backward()
    leaves = all(each.is_leaf for each in twin.parameters())
    seen[kind] = leaves, all(each.grad is not None for each in network.parameters())
print("expected: the copy's parameters are leaves, and the original gets no gradient, for both")
for kind, (leaves, touched) in seen.items():
    print(f"seen:     {kind}: leaves {leaves}, the original got gradients {touched}")
if seen != {"plain": (True, False), "script": (False, True)}:
    raise SystemExit("the behaviour has changed")
EOF
