#!/usr/bin/env bash
# Guess: a number that is written into a weight of a network whose weights optimum-quanto has
# frozen changes what the layer computes, or is refused.
#
# Seen: It is neither. An index, `mul_`, `copy_` and writing through `.data` return as on a
# plain tensor, and the layer computes what it did before, to the last bit: they write into
# the dequantized values, which are made for the purpose and dropped. `parameters()` has the
# weights as float32 of their usual shape.
#
# Versions: optimum-quanto 0.2.7, torch 2.14.1, Python 3.11.
#
# Why it matters: To patch a deployed classifier is to write a few numbers into its weights.
# Here that raises nothing, and the network is as wrong as before:
# what is patched has to be run, and quantized after that.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet optimum-quanto==0.2.7 torch==2.14.1
"$folder/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version

import torch
from optimum.quanto import freeze, qint8, quantize
from torch import nn

EDITS = {
    "weight[3, 5] = 9.0": lambda weight: weight.__setitem__((3, 5), 9.0),
    "weight.mul_(2.0)": lambda weight: weight.mul_(2.0),
    "weight.copy_(zeros)": lambda weight: weight.copy_(torch.zeros(10, 32)),
    "weight.data.add_(1.0)": lambda weight: weight.data.add_(1.0),
}


def moved(frozen: bool) -> dict[str, bool]:
    """Whether each edit of the last layer's weight changes what the network computes."""
    torch.manual_seed(0)
    inputs, found = torch.randn(5, 64), {}
    for name, edit in EDITS.items():
        network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).eval()
        quantize(network, weights=qint8)
        if frozen:
            freeze(network)
        shown = {(one.dtype, tuple(one.shape)) for one in network.parameters()}
        if (torch.float32, (10, 32)) not in shown:
            sys.exit("the weight is not shown as float32: this is another matter")
        with torch.no_grad():
            before = network(inputs)
            edit(network[2].weight)
            found[name] = not torch.equal(network(inputs), before)
    return found


print(*(f"{name} {version(name)}" for name in ("optimum-quanto", "torch")))
print("expected: each edit changes what the network computes, or raises")
before, after = moved(frozen=False), moved(frozen=True)
if not all(before.values()):
    sys.exit("an edit does nothing before the weights are frozen: this is another matter")
for name, changed in after.items():
    print(f"seen:     {name}: {'changes it' if changed else 'no error, and no change'}")
if any(after.values()):
    sys.exit("the behaviour has changed")
EOF
