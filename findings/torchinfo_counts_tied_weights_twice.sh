#!/usr/bin/env bash
# Guess: torchinfo's "Total params" is the number of a network's parameters: each once, as
# model.parameters() has them.
#
# Seen: A weight that two layers share is counted in both.
#
# Versions: torchinfo 1.8.0, torch 2.14.1, numpy 2.4.6 (which torchinfo needs and does not
# require), Python 3.11.
#
# Why it matters: How small a patch is, is said as a percentage of a network's parameters.
# With this total the percentage of a language model or text classifier with tied embeddings
# is too small, by up to a half.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 torchinfo==1.8.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version

import torch
import torchinfo
from torch import nn


class Tied(nn.Module):
    def __init__(self, tied):
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.head = nn.Linear(4, 10, bias=False)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, words):
        return self.head(self.embedding(words))


print(*(f"{name} {version(name)}" for name in ("torchinfo", "torch")))
words, totals = torch.zeros(2, 3, dtype=torch.long), {}
for tied in (False, True):
    network = Tied(tied)
    expected = sum(parameter.numel() for parameter in network.parameters())
    seen = torchinfo.summary(network, input_data=words, verbose=0).total_params
    totals[tied] = expected, seen
    print(f"{'tied' if tied else 'untied'}: expected {expected} parameters, seen {seen}")
if totals[True][0] == totals[True][1]:
    sys.exit("the behaviour has changed")
if totals != {False: (80, 80), True: (40, 80)}:
    sys.exit("the totals are others: this is another matter")
EOF
