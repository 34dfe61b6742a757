#!/usr/bin/env bash
# Guess: torch.set_flush_denormal(True) makes torch on the CPU treat denormal numbers as
# zero; it returns True where that works.
#
# Seen: It sets the mode of the calling thread alone. Worker threads that already run
# keep denormals, so one multiplication of a tensor gives zeros in the first half and
# denormals in the second, at a place that depends on the number of threads.
#
# Versions: torch 2.14.1, Python 3.11, x86-64, Linux, 2 threads.
#
# Why it matters: Switched on in mid-run for speed (tiny probabilities and gradients of
# confident classifiers are denormal), it makes results depend on the number of threads
# and on whether anything ran in parallel before.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import sys

import torch

torch.set_num_threads(2)
tiny = torch.full((1_000_000,), 1e-40)  # a denormal float32
tiny * 1.0  # anything parallel: the second thread now runs

supported = torch.set_flush_denormal(True)
product = tiny * 1.0
torch.set_flush_denormal(False)
zeros = product.view(torch.int32) == 0  # bits, so that counting flushes nothing
half = [int(part.sum()) for part in zeros.chunk(2)]

print("torch", torch.__version__, "flushing is supported:", supported)
print("expected: zeros in the first and second half: [500000, 500000]")
print("seen:     zeros in the first and second half:", half)
if not supported or not 0 < sum(half) < len(tiny):
    sys.exit("the behaviour has changed")
EOF
