#!/usr/bin/env bash
# Guess: A file of torch.save is a zip archive with a CRC-32 for each tensor, so a bit that
# flipped in a weight is an error when it is loaded, as it is for Python's zipfile.
#
# Seen: torch.load gives the altered weight and says nothing. zipfile names the record.
#
# Versions: torch 2.14.1, Python 3.11, x86-64.
#
# Why it matters: Corrections change a few bytes of a checkpoint. Which bytes changed, and
# whether others did by accident, has to be checked by whoever reads the file.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'EOF'
import sys
import zipfile

import torch

weight = torch.arange(64.0)
torch.save({"weight": weight}, "model.pt")
content = bytearray(open("model.pt", "rb").read())
at = content.index(weight.numpy().tobytes()) + 4 * 63 + 3
content[at] ^= 0x40
open("altered.pt", "wb").write(content)

record = zipfile.ZipFile("altered.pt").testzip()
found = torch.load("altered.pt", weights_only=True)["weight"]
print("torch", torch.__version__)
print("expected: torch.load refuses a record with a wrong checksum")
print("seen:     zipfile says", record, "and torch.load gives", found[63].item(), "for", weight[63].item())
if record != "model/data/0" or torch.equal(found, weight):
    sys.exit("the behaviour has changed")
EOF
