#!/usr/bin/env bash
# Guess: np.argsort does not promise an order of ties, but it is one deterministic
# algorithm, so one version of NumPy orders the same array the same way everywhere.
#
# Seen: The sort is another one on processors with AVX-512, with AVX2 and with neither,
# and each leaves ties in another order. The ten largest of 1000 tied numbers are then
# different indices. kind="stable" is the same everywhere.
#
# Versions: NumPy 2.4.6, Python 3.11, x86-64; extensions switched off by NumPy's own
# variable.
#
# Why it matters: Gradients are full of ties: dead ReLUs give zeros, quantised weights
# give equal values. A sparse correction that picks its k weights by argsort picks other
# weights on another machine, without any rounding.
set -euo pipefail
if ! grep -qw avx2 /proc/cpuinfo; then
    echo "this finding needs an x86-64 processor with AVX2" >&2
    exit 2
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import os, subprocess, sys

PICK = """
import numpy as np
scores = np.random.default_rng(0).integers(0, 5, 1000).astype(np.float32)
for kind in (None, "stable"):
    print(sorted(np.argsort(-scores, kind=kind)[:10].tolist()))
"""


def picked(disabled: str) -> tuple[str, str]:
    env = dict(os.environ, NPY_DISABLE_CPU_FEATURES=disabled, PYTHONWARNINGS="ignore")
    done = subprocess.run([sys.executable, "-c", PICK], env=env, check=True, stdout=-1, text=True)
    usual, stable = done.stdout.splitlines()
    return usual, stable


with_avx2, stable_with = picked("X86_V4 AVX512_ICL AVX512_SPR")
without, stable_without = picked("X86_V3 X86_V4 AVX512_ICL AVX512_SPR")
print("numpy", __import__("numpy").__version__)
print("expected: the same ten indices, with AVX2 and without")
print("seen:     with AVX2   ", with_avx2)
print("          without AVX2", without)
if stable_with != stable_without or with_avx2 == without:
    sys.exit("the behaviour has changed")
EOF
