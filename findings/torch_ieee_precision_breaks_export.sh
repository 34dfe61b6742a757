#!/usr/bin/env bash
# Guess: fp32_precision = "ieee" for cuDNN's convolutions and RNNs is the present way to
# forbid TF32; without a card it changes nothing.
#
# Seen: From then on torch.export.export and torch.backends.cudnn.flags() raise
# RuntimeError, on a CPU and without any convolution: both read the old switch
# allow_tf32, and reading it is an error. The message says that the two settings differ
# (they are equal) and that old and new switches were mixed (they were not). The one
# global switch torch.backends.fp32_precision = "ieee" does the same.
#
# Versions: torch 2.14.1, Python 3.11, on the CPU.
#
# Why it matters: Reproducible runs forbid TF32 in their first lines; the error then
# comes much later, from a tool that exports the corrected network.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import sys

import torch


def outcome(use) -> str:
    try:
        use()
    except RuntimeError as error:
        return "RuntimeError: " + str(error)[:60] + "..."
    return "works"


def export() -> None:
    torch.export.export(torch.nn.Linear(3, 2), (torch.ones(1, 3),))


def flags() -> None:
    with torch.backends.cudnn.flags(enabled=True, deterministic=True):
        pass


before = [outcome(export), outcome(flags)]
torch.backends.cudnn.conv.fp32_precision = "ieee"
torch.backends.cudnn.rnn.fp32_precision = "ieee"
after = [outcome(export), outcome(flags)]
print("torch", torch.__version__)
print("expected:", before)
print("seen:    ", after)
if before != ["works"] * 2 or not all(line.startswith("RuntimeError") for line in after):
    sys.exit("the behaviour has changed")
EOF
