#!/usr/bin/env bash
# Guess: a value means the same in a Hydra configuration file and in an override on the
# command line.
#
# Seen: Files are read as YAML 1.1, overrides by a grammar of their own. "no" and "off"
# are False in a file and non-empty strings, hence true, in an override; 010 is 8 in a
# file and the string 010 in an override; 12:30 is 750 in a file; "nan" is a string in a
# file and a number in an override, and ".nan" the other way round.
#
# Versions: hydra-core 1.3.8 (with OmegaConf 2.3.1), Python 3.11.
#
# Why it matters: method.prune=no switches pruning on, without an error, in a run whose
# record says "no"; a sweep over overrides and the file that is meant to fix its winner
# run different things.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet hydra-core==1.3.8 omegaconf==2.3.1
mkdir "$folder/conf"
"$folder/venv/bin/python" - "$folder/conf" <<'EOF'
import pathlib, sys

import hydra
import omegaconf

folder = pathlib.Path(sys.argv[1])
words = ["true", "1e-3", "null", "no", "off", "010", "12:30", "nan", ".nan"]
(folder / "plain.yaml").write_text("value: 0\n")
for number, word in enumerate(words):
    (folder / f"file{number}.yaml").write_text(f"value: {word}\n")

other = []
print("hydra-core", hydra.__version__, "omegaconf", omegaconf.__version__)
print("expected: the second and the third column are the same")
print("seen:     word, in a file, in an override")
with hydra.initialize_config_dir(str(folder), version_base="1.3"):
    for number, word in enumerate(words):
        in_file = repr(hydra.compose(f"file{number}").value)
        in_override = repr(hydra.compose("plain", overrides=[f"value={word}"]).value)
        print(f"          {word:6} {in_file:8} {in_override}")
        if in_file != in_override:
            other.append(word)
if other != words[3:]:
    sys.exit("the behaviour has changed")
EOF
