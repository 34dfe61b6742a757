#!/usr/bin/env bash
# Guess: a sweep with the grid sampler of hydra-optuna-sweeper runs every point of the grid, as
# Hydra's own sweeper does: a grid says how many points there are.
#
# Seen: It runs 20 points and exits with 0, after a line with the best of them. n_trials, 20
# unless it is set, ends a grid, too. One line of the log is about it: "Updating num of trials
# to 20 due to using GridSampler", which sounds like the size of the grid.
#
# Versions: hydra-optuna-sweeper 1.3.0, optuna 2.10.1, hydra-core 1.3.8, Python 3.11.
#
# Why it matters: Hyper-parameters of a method are compared on a grid. The best of a part of
# it, thought to be the best of all, is an unfair comparison that nobody sees.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet hydra-optuna-sweeper==1.3.0 optuna==2.10.1 hydra-core==1.3.8
cat > "$folder/job.py" <<'EOF'
"""A job whose value is least at the point (5, 6); it writes down that it ran."""
from pathlib import Path

import hydra


@hydra.main(config_path=None, config_name=None, version_base="1.3")
def main(config):
    with (Path(__file__).parent / "ran").open("a") as file:
        file.write(f"{config.a} {config.b}\n")
    return -10.0 * config.a - config.b


main()
EOF
cd "$folder"
for sweeper in "" "hydra/sweeper=optuna hydra/sweeper/sampler=grid"; do
    rm -f ran
    # shellcheck disable=SC2086  # two words
    venv/bin/python job.py -m $sweeper "+a=choice(1,2,3,4,5)" "+b=choice(1,2,3,4,5,6)" > log 2>&1 ||
        { cat log; exit 1; }
    sort -u ran | wc -l >> points
done
venv/bin/python - <<'EOF'
import sys
from importlib.metadata import version
from pathlib import Path

print(*(f"{name} {version(name)}" for name in ("hydra-optuna-sweeper", "optuna", "hydra-core")))
own, optuna = (int(line) for line in Path("points").read_text().split())
print(f"expected: 30 of 30 points of the grid; Hydra's own sweeper: {own}")
said = [line for line in Path("log").read_text().splitlines() if "trials" in line]
print(f"seen:     {optuna} of 30; of trials the log says:", *said)
if optuna == 30:
    sys.exit("the behaviour has changed")
if (own, optuna) != (30, 20):
    sys.exit("the numbers are others: this is another matter")
EOF
