#!/usr/bin/env bash
# Guess: torchcrepe.predict is a function of the audio: the same tone has the same
# pitch at every call, and torch.manual_seed covers what may be random in it.
#
# Seen: Every pitch has a random number added, of up to 20 cents either way, the width
# of a bin. It is drawn from numpy's global generator, through scipy, so a seed of
# torch changes nothing and a seed of numpy does. Neither the README nor the
# docstring of predict says so.
#
# Versions: torchcrepe 0.0.24, torch 2.14.1, numpy 2.4.6, scipy 1.17.1, Python 3.11.
#
# Why it matters: Two runs with the same weights differ, so a comparison of outputs
# before and after a change of weights sees a change where there is none; a threshold
# on the pitch has to allow for 20 cents more.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torchcrepe==0.0.24 torch==2.14.1 torchaudio==2.11.0 numpy==2.4.6 \
  scipy==1.17.1 librosa==0.11.0 resampy==0.4.3
"$folder/venv/bin/python" - <<'EOF'
import math
import sys
from importlib.metadata import version

import numpy as np
import torch
import torchcrepe

tone = torch.sin(torch.arange(1024) * 2 * math.pi * 220 / 16000)[None]


def pitch() -> float:
    torch.manual_seed(0)
    heard = torchcrepe.predict(tone, 16000, model="tiny", decoder=torchcrepe.decode.argmax, pad=False)
    return float(heard)


drawn = [pitch() for _ in range(20)]
seeded = []
for _ in range(2):
    np.random.seed(0)
    seeded.append(pitch())

print(*(f"{name} {version(name)}" for name in ("torchcrepe", "torch", "numpy", "scipy")))
print("expected: one pitch for one tone, torch being seeded before each call")
print(f"seen:     {len(set(drawn))} pitches in 20 calls, from {min(drawn):.2f} to {max(drawn):.2f} Hz")
print("seen:     with numpy seeded:", seeded)
if len(set(drawn)) < 2 or seeded[0] != seeded[1]:
    sys.exit("the behaviour has changed")
EOF
