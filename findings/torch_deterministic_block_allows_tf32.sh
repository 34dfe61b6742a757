#!/usr/bin/env bash
# Guess: torch.backends.cudnn.flags(enabled=True, deterministic=True) sets these two
# switches for the block and leaves the others as they are.
#
# Seen: The switches that are not named are set too, to the function's own defaults:
# inside the block TF32 is allowed again although it was forbidden. Setting the switch
# by cudnn.deterministic = True leaves TF32 forbidden.
#
# Versions: torch 2.14.1, Python 3.11; the settings can be read without a card.
#
# Why it matters: The block that should make a result more reproducible makes its
# convolutions coarser (10 bits instead of 23) on cards since Ampere, and can flip
# samples near the decision border.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import sys

import torch

cudnn = torch.backends.cudnn


def state() -> tuple[bool, str]:
    return cudnn.allow_tf32, cudnn.conv.fp32_precision


cudnn.allow_tf32 = False
before = state()
with cudnn.flags(enabled=True, deterministic=True):
    inside = state()
after = state()
print("torch", torch.__version__)
print("expected: allow_tf32 False in the block, as before it:", before)
print("seen:     allow_tf32 and precision in the block:", inside, "after it:", after)
if before[0] or inside != (True, "tf32") or after != before:
    sys.exit("the behaviour has changed")
EOF
