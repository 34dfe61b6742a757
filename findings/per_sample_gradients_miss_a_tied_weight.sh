#!/usr/bin/env bash
# Guess: libraries of per-sample gradients either count every use of a parameter or
# refuse the network; the mean or sum over the samples is then the ordinary gradient.
#
# Seen: Where a weight is used by its layer and once more outside it (an autoencoder
# whose decoder is the encoder's weight transposed), Opacus and BackPACK give the part
# of the layer alone, without a word. Opacus' validator finds nothing to object to. The
# ordinary gradient in .grad, computed in the same backward pass, is right.
#
# Versions: opacus 1.6.0, backpack-for-pytorch 1.7.1, torch 2.14.1, Python 3.11.
#
# Why it matters: Fisher matrices, clipping and influence are built from these
# gradients; with a tied weight they are those of another network. Compare the sum over
# samples with .grad once per network.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet \
    torch==2.14.1 numpy==2.4.6 opacus==1.6.0 backpack-for-pytorch==1.7.1
"$folder/venv/bin/python" -W ignore - <<'EOF'
import sys

import backpack
import opacus
import torch
from backpack.extensions import BatchGrad
from opacus.validators import ModuleValidator
from torch import nn


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode, self.head = nn.Linear(4, 5), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.encode(x)) @ self.encode.weight)


def gap(weight: nn.Parameter, field: str) -> float:
    """How far the samples' sum is from the ordinary gradient, relative to it."""
    return ((getattr(weight, field).sum(0) - weight.grad).norm() / weight.grad.norm()).item()


torch.manual_seed(0)
x, y, sums = torch.randn(6, 4), torch.arange(6) % 3, nn.CrossEntropyLoss(reduction="sum")
objections = ModuleValidator.validate(Tied(), strict=False)
wrapped = opacus.GradSampleModule(Tied(), loss_reduction="sum")
sums(wrapped(x), y).backward()
tied, head = (gap(layer.weight, "grad_sample") for layer in (wrapped.encode, wrapped.head))
extended = backpack.extend(Tied())
with backpack.backpack(BatchGrad()):
    backpack.extend(sums)(extended(x), y).backward()
packed = gap(extended.encode.weight, "grad_batch")

print("opacus", opacus.__version__, "torch", torch.__version__)
print("expected: relative gap 0 for the tied weight, or an objection")
print(f"seen:     Opacus {tied:.2f}, BackPACK {packed:.2f}, objections {objections}")
if objections or head > 0.01 or min(tied, packed) < 0.05:
    sys.exit("the behaviour has changed")
EOF
