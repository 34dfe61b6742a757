#!/usr/bin/env bash
# Guess: the same tensors with the same metadata give the same file, as they do with
# numpy.save: a checkpoint can be known by the SHA-256 of its file.
#
# Seen: The entries of the metadata are written in an order that changes from process to
# process. The same three tensors and six texts give another file each time; without
# metadata, or with one entry, the bytes are always the same.
#
# Versions: safetensors 0.8.0, NumPy 2.4.6, Python 3.11, x86-64.
#
# Why it matters: A content-addressed store keeps the same patch twice, a build that
# compares outputs byte by byte fails now and then, and a signature of the file says
# nothing of a file that was written again from the same numbers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet safetensors==0.8.0 numpy==2.4.6
cat > "$folder/save.py" <<'EOF'
import hashlib
import sys

import numpy as np
from safetensors.numpy import save

texts = {"method": "a", "seed": "0", "goal": "b", "sample": "c", "version": "1", "base": "d"}
count = int(sys.argv[1])
tensors = {name: np.arange(3, dtype=np.float32) for name in ("one", "two", "three")}
content = save(tensors, metadata=dict(list(texts.items())[:count]) or None)
print(hashlib.sha256(content).hexdigest())
EOF
different() {
  for _ in 1 2 3 4 5 6 7 8; do "$folder/venv/bin/python" "$folder/save.py" "$1"; done | sort -u | wc -l
}
none=$(different 0) one=$(different 1) six=$(different 6)
"$folder/venv/bin/python" -c 'from importlib.metadata import version; print("safetensors", version("safetensors"))'
echo "different files of 8 processes, with 0, 1 and 6 texts of metadata"
echo "expected: 1 1 1"
echo "seen:     $none $one $six (6 texts have 720 orders)"
[ "$none" = 1 ] && [ "$one" = 1 ] && [ "$six" -gt 1 ] || { echo "the behaviour has changed"; exit 1; }
