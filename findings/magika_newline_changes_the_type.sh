#!/usr/bin/env bash
# Guess: magika strips white space at both ends of a file of less than a block of
# 4,096 bytes before its network sees it, as the docstring of its feature extraction
# says twice. So a line feed at the end, or the beginning, changes nothing.
#
# Seen: The first bytes are stripped on the left alone and the last bytes on the right
# alone, whatever the size. A line feed at the end stays in the first half of a small
# file's features, one at the beginning in the second half. JSON becomes JSONL, YAML
# is plain text without its last line feed, and the score of every file moves.
#
# Versions: magika 1.0.3, onnxruntime 1.32.0, Python 3.11.
#
# Why it matters: A reported misdetection reproduces, or does not, by an editor's last
# line feed. Whoever corrects one has to keep the very bytes, and a correction of one
# form does not cover the other.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet magika==1.0.3 onnxruntime==1.32.0 numpy==2.4.6 click==8.5.1
"$folder/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version

import magika

texts = {
    "one object of JSON": b'{"a": 1, "b": [2, 3]}',
    "YAML": b"key: value\nlist:\n  - one\n  - two",
    "SQL": b"select * from users",
}
identify = magika.Magika().identify_bytes


def said(content: bytes) -> str:
    answer = identify(content).prediction
    return f"{answer.output.label} ({answer.dl.label} {answer.score:.3f})"


print("magika", version("magika"), "onnxruntime", version("onnxruntime"))
print("expected: the same answer with and without a line feed at either end")
changed = []
for name, text in texts.items():
    answers = [said(text), said(text + b"\n"), said(b"\n" + text)]
    changed.append(len({answer.split()[0] for answer in answers}) > 1)
    print(f"seen:     {name}: {answers[0]}; with one at the end {answers[1]}, at the beginning {answers[2]}")
print("another type:", changed)
if changed[:2] != [True, True]:
    sys.exit("the behaviour has changed")
EOF
