#!/usr/bin/env bash
# Guess: torch.onnx.export writes each parameter of a network as an initializer of its own
# (a normalisation may be folded into the layer before it).
#
# Seen: a bias of zeros is left out, and with it the input of the layer that adds it;
# parameters of equal values are one initializer under one of their names, which several
# nodes read: the two normalisations of this network, as they start.
#
# Versions: torch 2.14.1, onnx 1.23.2, onnxscript 0.7.2, Python 3.11.
#
# Why it matters: A patch of one layer's parameter, written by its name, changes other
# layers as well; and where a bias was left out there is none to change. Who else reads a
# tensor has to be looked up in the file.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6 onnx==1.23.2 onnxscript==0.7.2
cd "$folder"
"$folder/venv/bin/python" -W ignore - 2>/dev/null <<'EOF'
import onnx
import torch
from torch import nn

network = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, 3)).eval()
nn.init.zeros_(network[4].bias)
torch.onnx.export(network, (torch.ones(2, 4),), "net.onnx", verbose=False)
graph = onnx.load("net.onnx").graph
names = {each.name for each in graph.initializer}
missing = sorted(set(dict(network.named_parameters())) - names)
readers = sum("1.weight" in node.input for node in graph.node)
print("torch", torch.__version__, "onnx", onnx.__version__)
print("expected: no parameter is missing, and one node reads 1.weight")
print(f"seen:     missing: {', '.join(missing)}; {readers} nodes read 1.weight")
if missing != ["3.bias", "3.weight", "4.bias"] or readers != 2:
    raise SystemExit("the behaviour has changed")
EOF
