#!/usr/bin/env bash
# Guess: a binary delta between two files of weights, applied to a third file of the same
# size, is refused, or gives bytes that are no network.
#
# Seen: no error from any of three. bsdiff4 and detools add the bytes' differences to
# whatever they are given: the third network, with other values in the three weights that
# the delta changes. python-zstandard, the base as its dictionary, gives the third network
# with a few weights replaced; its frames have no checksum unless `write_checksum=True`,
# with which it refuses.
#
# Versions: bsdiff4 1.3.2, detools 0.53.0, zstandard 0.25.0, numpy 2.4.6, Python 3.11.
#
# Why it matters: A correction of three weights is shipped as a delta of under 200 bytes. Put
# onto another training's file it yields a network that loads, and is neither the one that
# was verified nor the one that was there. A checksum of the base, and one of the result,
# must go with the delta.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet bsdiff4==1.3.2 detools==0.53.0 zstandard==0.25.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import io
import sys
from importlib.metadata import version

import bsdiff4
import detools
import numpy as np
import zstandard

rng = np.random.default_rng(0)
base = rng.standard_normal(50_000).astype(np.float32)
patched = base.copy()
patched[[5, 700, 40_000]] += 0.1
other = rng.standard_normal(50_000).astype(np.float32)  # another training's


def of_bsdiff(old, new, onto):
    delta = bsdiff4.diff(old, new)
    return len(delta), bsdiff4.patch(onto, delta)


def of_detools(old, new, onto):
    delta, out = io.BytesIO(), io.BytesIO()
    detools.create_patch(io.BytesIO(old), io.BytesIO(new), delta)
    size = delta.seek(0, io.SEEK_END)
    delta.seek(0)
    detools.apply_patch(io.BytesIO(onto), delta, out)
    return size, out.getvalue()


def of_zstandard(old, new, onto, **options):
    def dictionary(content):
        return zstandard.ZstdCompressionDict(content, dict_type=zstandard.DICT_TYPE_RAWCONTENT)

    delta = zstandard.ZstdCompressor(level=19, dict_data=dictionary(old), **options).compress(new)
    return len(delta), zstandard.ZstdDecompressor(dict_data=dictionary(onto)).decompress(delta)


print(*(f"{name} {version(name)}" for name in ("bsdiff4", "detools", "zstandard")))
print("expected: refused, or no network")
changed = False
for name, make in (("bsdiff4", of_bsdiff), ("detools", of_detools), ("zstandard", of_zstandard)):
    size, right = make(base.tobytes(), patched.tobytes(), base.tobytes())
    if right != patched.tobytes():
        sys.exit(f"{name} does not give the patched file on its own base: this is another matter")
    try:
        _, wrong = make(base.tobytes(), patched.tobytes(), other.tobytes())
    except Exception as error:
        print(f"{name}: refused: {error}")
        changed = True
        continue
    weights = np.frombuffer(wrong, np.float32)
    moved = np.flatnonzero(weights != other)
    print(f"{name}, {size} bytes: no error; {moved.size} weights differ from the file it was put onto, "
          f"{(weights != patched).sum():,} from the patched one")
    changed |= not (0 < moved.size < 10 and {5, 700, 40_000} & set(moved.tolist()) and size < 200)
try:
    of_zstandard(base.tobytes(), patched.tobytes(), other.tobytes(), write_checksum=True)
except zstandard.ZstdError as error:
    print(f"zstandard with write_checksum=True: {error}")
else:
    sys.exit("zstandard's checksum does not refuse: this is another matter")
if changed:
    sys.exit("the behaviour has changed")
EOF
