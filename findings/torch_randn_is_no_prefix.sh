#!/usr/bin/env bash
# Guess: with one seed, the first numbers of torch.randn(n) are the same for every n, as
# they are for torch.rand and for NumPy's generators.
#
# Seen: A tensor of fewer than 16 numbers is drawn by another algorithm than a longer
# one, and the last 16 numbers are drawn anew where the length is no multiple of 16:
# randn(8) shares nothing with randn(16), randn(100) only 84 numbers with randn(200).
#
# Versions: torch 2.14.1, Python 3.11, x86-64, on the CPU. NumPy 2.4.6 for comparison.
#
# Why it matters: One more sample, class or hidden unit changes noise that was meant to
# be the same: an ablation over sizes then compares different draws, and a run that is
# extended does not contain the shorter one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import sys

import numpy as np
import torch


def shared(draw, few: int, many: int) -> int:
    """How many of the first `few` numbers are also the first of `many`."""
    return int((draw(few) == draw(many)[:few]).sum())


def seeded(name: str):
    return lambda n: getattr(torch, name)(n, generator=torch.Generator().manual_seed(0)).numpy()


sizes = [(8, 15), (8, 16), (16, 17), (100, 200)]
randn = [shared(seeded("randn"), *pair) for pair in sizes]
rand = [shared(seeded("rand"), *pair) for pair in sizes]
numpy = [shared(lambda n: np.random.default_rng(0).standard_normal(n), *pair) for pair in sizes]
whole = [few for few, _ in sizes]

print("torch", torch.__version__, "numpy", np.__version__)
print("numbers shared by the lengths", sizes)
print("expected:", whole, "(torch.rand:", rand, "numpy:", numpy, ")")
print("seen:    ", randn)
if rand != whole or numpy != whole or randn != [8, 0, 1, 84]:
    sys.exit("the behaviour has changed")
EOF
