#!/usr/bin/env bash
# Guess: a network without batch statistics gives an input the same scores alone and in
# a batch, up to the last digits of float32: 1e-6 of a logit or so.
#
# Seen: the classifier of magika, in ONNX Runtime on the CPU, moves log-probabilities of
# the same file by more than 1e-3 when the file is given twice instead of once. The
# kernels of matrix products depend on the number of rows, and the exported layer
# normalisation, a mean of squares less a squared mean, enlarges their rounding.
#
# Versions: magika 1.0.3 (its model alone), onnxruntime 1.32.0, numpy 2.4.6, x86-64.
#
# Why it matters: A correction with a margin of a thousandth of a logit holds for the file
# alone and not for the same file in a batch: of 25 of the smallest corrections of this
# model 4 did not. And features computed in batches are not those of one input.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 numpy==2.4.6
"$folder/venv/bin/pip" install --quiet --no-deps magika==1.0.3
"$folder/venv/bin/python" - <<'EOF'
import sysconfig
import numpy as np
import onnxruntime

path = sysconfig.get_paths()["purelib"] + "/magika/models/standard_v3_3/model.onnx"
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def tokens(text: bytes) -> np.ndarray:
    """The first and the last 1,024 bytes of a short file; 256 stands for none."""
    none = [256] * (1024 - len(text))
    return np.array([[*text, *none, *none, *text]], dtype=np.int32)


texts = [b"\n".join(b"key %d = %d" % (a * b, a + b) for a in range(1, 9)) for b in range(1, 41)]
worst = 0.0
for text in texts:
    once = tokens(text)
    alone = session.run(None, {"bytes": once})[0][0]
    twice = session.run(None, {"bytes": np.concatenate([once, once])})[0][0]
    likely = alone > 1e-6
    worst = max(worst, float(np.abs(np.log(alone[likely]) - np.log(twice[likely])).max()))
print("onnxruntime", onnxruntime.__version__)
print("expected: log-probabilities alone and given twice differ by less than 1e-5")
print(f"seen:     of {len(texts)} texts they differ by up to {worst:.1e}")
if worst < 1e-4:
    raise SystemExit("the behaviour has changed")
EOF
