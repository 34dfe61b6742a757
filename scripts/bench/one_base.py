"""The id of the N0 of a run, as a tree hashes it.

PYTHONPATH=TREE python scripts/bench/one_base.py TREE OVERRIDE...
"""

import importlib
import sys
from pathlib import Path

from hydra import compose, initialize_config_dir

ROOMS = ("experiments.config.spec", "experiments.spec")  # now, and at 782a196
FOLDERS = ("experiments/conf", "conf")


def main(tree: Path, overrides: list[str]) -> None:
    """Print it."""
    names = [name for name in ROOMS if (tree / f"{name.replace('.', '/')}.py").exists()]
    spec = importlib.import_module(names[0])
    folder = next(tree / name for name in FOLDERS if (tree / name).is_dir())
    with initialize_config_dir(str(folder), version_base="1.3"):
        print(spec.RunSpec.of(compose("config", overrides=overrides)).base_id)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
