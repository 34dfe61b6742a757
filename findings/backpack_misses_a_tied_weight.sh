#!/usr/bin/env bash
# Guess: a library of per-sample gradients counts every use of a parameter; the sum over
# the samples is then the ordinary gradient.
#
# Seen: Where a weight is used by its layer and once more outside it (an autoencoder
# whose decoder is the encoder's weight transposed), BackPACK gives the part of the layer
# alone, without a word. The ordinary gradient in .grad, computed in the same backward
# pass, is right.
#
# Versions: backpack-for-pytorch 1.7.1, torch 2.14.1, Python 3.11.
#
# Why it matters: Fisher matrices and influence are built from these gradients; with a
# tied weight they are those of another network. Compare the sum over samples with .grad
# once per network.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6 backpack-for-pytorch==1.7.1
"$folder/venv/bin/python" -W ignore - <<'EOF'
import sys
from importlib.metadata import version

import backpack
import torch
from backpack.extensions import BatchGrad
from torch import nn


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode, self.head = nn.Linear(4, 5), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.encode(x)) @ self.encode.weight)


def gap(weight: nn.Parameter) -> float:
    """How far the samples' sum is from the ordinary gradient, relative to it."""
    return ((weight.grad_batch.sum(0) - weight.grad).norm() / weight.grad.norm()).item()


torch.manual_seed(0)
x, y = torch.randn(6, 4), torch.arange(6) % 3
network, loss = backpack.extend(Tied()), backpack.extend(nn.CrossEntropyLoss(reduction="sum"))
with backpack.backpack(BatchGrad()):
    loss(network(x), y).backward()
tied, head = gap(network.encode.weight), gap(network.head.weight)

print("backpack", version("backpack-for-pytorch"), "torch", torch.__version__)
print("expected: relative gap 0 for both weights")
print(f"seen:     {tied:.2f} for the tied weight, {head:.2f} for the other")
if head > 0.01 or tied < 0.05:
    sys.exit("the behaviour has changed")
EOF
