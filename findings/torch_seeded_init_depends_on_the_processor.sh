#!/usr/bin/env bash
# Guess: on the CPU, one version of torch and one seed give one initial network; sums
# may round differently on another processor, but drawing numbers does not.
#
# Seen: torch.randn from 16 numbers on, and the uniform start of nn.Linear, differ in
# their last bits between processors with AVX2 and those without (told apart here by
# torch's own variable). torch.rand, torch.randperm, fewer than 16 normal numbers, and
# float64 normal numbers are the same.
#
# Versions: torch 2.14.1, Python 3.11, x86-64, on the CPU.
#
# Why it matters: Two machines part before the first training step: a seed does not name
# a network. The start has to be stored, or drawn in float64 and then rounded.
set -euo pipefail
if ! grep -qw avx2 /proc/cpuinfo; then
    echo "this finding needs an x86-64 processor with AVX2" >&2
    exit 2
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import os, subprocess, sys

DRAWS = """
import hashlib, torch
draws = {
    "rand(1000)": lambda: torch.rand(1000),
    "randperm(1000)": lambda: torch.randperm(1000),
    "randn(15)": lambda: torch.randn(15),
    "randn(1000), float64": lambda: torch.randn(1000, dtype=torch.float64),
    "randn(16)": lambda: torch.randn(16),
    "randn(1000)": lambda: torch.randn(1000),
    "Linear(20, 30)": lambda: torch.nn.Linear(20, 30).weight.detach(),
}
for name, draw in draws.items():
    torch.manual_seed(0)
    print(name, hashlib.sha256(draw().numpy().tobytes()).hexdigest()[:8], sep="=")
"""


def drawn(capability: str) -> list[str]:
    env = dict(os.environ, ATEN_CPU_CAPABILITY=capability)
    done = subprocess.run([sys.executable, "-c", DRAWS], env=env, check=True, stdout=-1, text=True)
    return done.stdout.split("\n")[:-1]


plain, avx2 = drawn("default"), drawn("avx2")
other = [a.split("=")[0] for a, b in zip(plain, avx2) if a != b]
print("torch", __import__("torch").__version__)
print("expected: no draw differs between the two sorts of processor")
print("seen:     these differ:", other)
if other != ["randn(16)", "randn(1000)", "Linear(20, 30)"]:
    sys.exit("the behaviour has changed")
EOF
