#!/usr/bin/env bash
# Guess: a module of one's own in the place of a TransformerEncoderLayer's linear2 (say
# with a low-rank correction) is called whenever the layer is called, and
# torch.no_grad() does not change an output.
#
# Seen: In eval mode and under no_grad (or with every parameter frozen) the layer takes
# a fused path that reads linear2.weight and linear2.bias and never calls the module:
# the correction is there with gradients on, and gone without. nn.MultiheadAttention's
# out_proj is called on neither path, so a forward hook on it never runs.
#
# Versions: torch 2.14.1, Python 3.11, x86-64, on the CPU.
#
# Why it matters: A correction is found with gradients on and judged with gradients off:
# it holds while it is sought and has no effect when it is counted. Curvature gathered
# by hooks on every nn.Linear misses the attention's output layer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import sys

import torch
from torch import nn


class LowRank(nn.Linear):
    """A Linear with a correction of rank one."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__(base.in_features, base.out_features)
        self.load_state_dict(base.state_dict())
        self.left, self.right = (nn.Parameter(torch.ones(n)) for n in self.weight.shape)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + (x @ self.right)[..., None] * self.left


torch.manual_seed(0)
layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True).eval()
x = torch.randn(1, 5, 8)
plain = layer(x).detach()
layer.linear2 = LowRank(layer.linear2)
corrected = layer(x).detach()
with torch.no_grad():
    judged = layer(x)

attention, calls = nn.MultiheadAttention(8, 2, batch_first=True), []
attention.out_proj.register_forward_hook(lambda *_: calls.append(1))
attention(x, x, x)

far = (corrected - plain).abs().max().item()
same = [torch.allclose(judged, other, atol=1e-4) for other in (corrected, plain)]
print("torch", torch.__version__, f"the correction moves the output by up to {far:.1f}")
print("expected: under no_grad corrected, not plain: [True, False]; hook calls: 1")
print("seen:     under no_grad corrected, not plain:", same, "hook calls:", len(calls))
if far < 0.1 or same != [False, True] or calls:
    sys.exit("the behaviour has changed")
EOF
