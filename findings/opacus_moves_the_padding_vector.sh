#!/usr/bin/env bash
# Guess: Opacus' gradients of single samples add up to the gradient that torch gives of the
# batch, for each layer that Opacus takes.
#
# Seen: With `nn.Embedding(..., padding_idx=0)` torch gives the padding vector no gradient,
# Opacus gives it one of the size of the others'. With `scale_grad_by_freq=True` torch
# divides by how often a word comes, Opacus does not. Neither is refused.
#
# Versions: opacus 1.6.0, torch 2.14.1, Python 3.11.
#
# Why it matters: The padding vector is read by every shorter text. A correction of one text
# that takes the words with the largest gradient of their own takes this one, and changes
# all others; training with it lets padding mean something.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 opacus==1.6.0
"$folder/venv/bin/python" -W ignore - <<'EOF'
import sys
from importlib.metadata import version

import torch
from opacus import GradSampleModule
from torch import nn

texts = torch.tensor([[1, 2, 3, 0, 0, 0], [4, 1, 0, 0, 0, 0], [2, 2, 2, 4, 3, 0]])
labels = torch.tensor([0, 1, 2])


def gradients(**options: object) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradient of the batch by torch, and the sum of Opacus' gradients: of the embedding's weight."""
    torch.manual_seed(0)
    embedding = nn.Embedding(5, 4, **options)
    network = GradSampleModule(nn.Sequential(embedding, nn.Flatten(), nn.Linear(24, 3)), loss_reduction="sum")
    nn.functional.cross_entropy(network(texts), labels, reduction="sum").backward()
    return embedding.weight.grad, embedding.weight.grad_sample.sum(dim=0)


print("opacus", version("opacus"), "torch", version("torch"))
print("expected: the same, or refused")
plain, summed = gradients()
if not torch.allclose(plain, summed, atol=1e-6):
    sys.exit("a plain embedding differs as well: this is another matter")
batch, summed = gradients(padding_idx=0)
padding, given, others = batch[0].abs().max(), summed[0].abs().max(), batch[1:].abs().max()
rest = (batch - summed)[1:].abs().max()
print(f"seen:     largest gradient of the padding vector: torch {padding:.2g}, Opacus {given:.2g}")
print(f"          of the other vectors {others:.2g}, in which they differ by {rest:.1e} at most")
scaled, unscaled = gradients(scale_grad_by_freq=True)
ratio = (unscaled.abs().sum(dim=1) / scaled.abs().sum(dim=1)).tolist()
print("          with scale_grad_by_freq, Opacus by torch:", [round(value, 2) for value in ratio])
counts = [float((texts == word).sum()) for word in range(5)]
if padding != 0 or given < others / 4 or rest > 1e-6 or max(abs(a - b) for a, b in zip(ratio, counts)) > 1e-3:
    sys.exit("the behaviour has changed")
EOF
