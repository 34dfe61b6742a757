#!/usr/bin/env bash
# Guess: a sweep through `hydra/launcher=submitit_local` runs as many jobs at a time as the
# machine has room for by `cpus_per_task`, or one after the other.
#
# Seen: Every job of the sweep starts at once, whatever `cpus_per_task` says.
#
# Versions: hydra-submitit-launcher 1.2.0, submitit 1.5.4, hydra-core 1.3.8, Python 3.11.
#
# Why it matters: A sweep over methods and seeds is a few hundred jobs, each a process with a
# torch and a data set of its own. What is tried on a laptop before a cluster takes the
# machine's memory with it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet hydra-submitit-launcher==1.2.0 submitit==1.5.4 hydra-core==1.3.8
cat > "$folder/job.py" <<'EOF'
"""A job that waits until 12 are at work, and writes down how many it saw at the most."""
import time
from pathlib import Path

import hydra


@hydra.main(config_path=None, config_name=None, version_base="1.3")
def main(config):
    here, most = Path(__file__).parent, 0
    (here / f"{config.job}.running").touch()
    end = time.monotonic() + 120
    while most < 12 and time.monotonic() < end:
        most = max(most, len(list(here.glob("*.running"))))
        time.sleep(0.1)
    time.sleep(1)  # for those that have yet to look
    (here / f"{config.job}.running").unlink()
    (here / f"{config.job}.seen").write_text(str(most))


main()
EOF
(cd "$folder" && venv/bin/python job.py -m hydra/launcher=submitit_local \
    hydra.launcher.cpus_per_task="$(nproc)" "+job=range(12)" > log 2>&1) || { cat "$folder/log"; exit 1; }
"$folder/venv/bin/python" - "$folder" <<'EOF'
import os
import sys
from importlib.metadata import version
from pathlib import Path

print(*(f"{name} {version(name)}" for name in ("hydra-submitit-launcher", "submitit", "hydra-core")))
seen = [int(path.read_text()) for path in Path(sys.argv[1]).glob("*.seen")]
if len(seen) != 12:
    sys.exit("not every job ended: this is another matter")
print("expected: 1 of 12 jobs at a time, each asking for every processor of the machine")
print(f"seen:     {max(seen)} at a time")
if max(seen) == 1:
    sys.exit("the behaviour has changed")
if max(seen) != 12:
    sys.exit("some started together: this is another matter")
EOF
