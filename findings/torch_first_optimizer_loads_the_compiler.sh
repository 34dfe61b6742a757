#!/usr/bin/env bash
# Guess: Making an optimizer takes microseconds: it stores references to parameters.
#
# Seen: The first one of a process imports torch._dynamo, the compiler's front end, and
# some 900 modules with it. That takes longer than importing torch itself, although
# nothing is compiled.
#
# Versions: torch 2.14.1, Python 3.11, x86-64, on the CPU.
#
# Why it matters: A correction by ten steps of SGD takes milliseconds, and the first one
# seconds: timings of methods have to leave the first optimizer out, and a command that
# corrects one sample should write the ten steps itself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import sys
import time

import torch

parameter = torch.nn.Parameter(torch.zeros(3))
took, loaded = [], []
for _ in range(2):
    before, started = set(sys.modules), time.perf_counter()
    torch.optim.SGD([parameter], lr=0.1)
    took.append(time.perf_counter() - started)
    loaded.append(len(set(sys.modules) - before))

compiler = "torch._dynamo" in sys.modules
print("torch", torch.__version__)
print("expected: modules that the first and the second optimizer import: [0, 0]")
print(f"seen:     modules that the first and the second optimizer import: {loaded}, torch._dynamo: {compiler}")
print(f"          seconds: {took[0]:.2f} and {took[1]:.5f}")
if loaded[0] < 100 or loaded[1] > 0 or not compiler:
    sys.exit("the behaviour has changed")
EOF
