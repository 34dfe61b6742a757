#!/usr/bin/env bash
# Guess: cross_entropy accepts class indices or class probabilities, so the same labels
# as indices and one-hot give the same loss, with class weights as without.
#
# Seen: Without weights the two are equal. With weights the mean over indices divides by
# the sum of the samples' weights, the mean over one-hot rows by their number: loss and
# gradient differ by the mean weight, here a factor of 10. The formulas in the
# documentation tell, the value does not.
#
# Versions: torch 2.14.1, Python 3.11, x86-64, on the CPU.
#
# Why it matters: Class weights are usual where corrections serve a rare class. A data
# set that hands out one-hot labels (or soft ones after mixup) then changes step size
# and stopping margin, and a comparison of two codes is off by a constant.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import sys

import torch
from torch.nn.functional import cross_entropy, one_hot

logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
labels = torch.tensor([0, 1, 2, 1])
weight = torch.tensor([10.0, 10.0, 10.0])  # all classes alike


def ratio(weight: torch.Tensor | None) -> float:
    rows = cross_entropy(logits, one_hot(labels, 3).float(), weight=weight)
    return (rows / cross_entropy(logits, labels, weight=weight)).item()


plain, weighted = ratio(None), ratio(weight)
print("torch", torch.__version__)
print("expected: loss of one-hot labels by loss of indices, without and with weights: 1 1")
print(f"seen:     {plain:.3f} {weighted:.3f}")
if abs(plain - 1) > 1e-3 or abs(weighted - 10) > 1e-2:
    sys.exit("the behaviour has changed")
EOF
