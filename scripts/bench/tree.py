"""A checkout whose own command line is asked, each time a process of its own that is measured."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scripts.bench.checkout import ROOT


class Ended(RuntimeError):
    """A process of one of the trees ended badly."""


@dataclass(frozen=True)
class Measured:
    """One process, to its end.

    Attributes:
        wall, cpu: Seconds of it; `cpu` of all of its threads.
        peak: Bytes of its memory at most; where it has others of its own, of the largest one.
        said: What it printed.
        rows: Of the run it made.
    """

    wall: float
    cpu: float
    peak: int
    said: str = ""
    rows: tuple[dict[str, Any], ...] = ()

    def seconds(self, parts: Sequence[str], middle: bool = False) -> float:
        """Return the seconds of a row, by some of its parts: their mean over the rows, or their median."""
        found = [sum(float(row[f"{part}_seconds"]) for part in parts) for row in self.rows]
        return statistics.median(found) if middle else statistics.fmean(found)


@dataclass(frozen=True)
class Tree:
    """A checkout, and a folder of its own for what it writes."""

    path: Path
    folder: Path
    data: Path

    @property
    def bases(self) -> Path:
        """Where its N0 are kept."""
        return self.folder / "bases"

    def start(self, *command: str) -> Measured:
        """Run `python -m COMMAND` in the tree.

        Raises:
            Ended: With another status than 0.
        """
        environment = os.environ | {"PYTHONPATH": str(self.path), "OMP_NUM_THREADS": "1"}
        measured = self.folder / "measured.json"
        small = [sys.executable, "-S", str(ROOT / "scripts/bench/one_process.py"), str(measured)]
        done = subprocess.run(
            [*small, sys.executable, "-m", *command],
            cwd=self.path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Ended(f"{self.path}: {' '.join(command)}: {done.stderr[-2000:]}")
        return Measured(said=done.stdout, **json.loads(measured.read_text()))

    def run(self, overrides: Sequence[str]) -> Measured:
        """Make a run anew; its records go when they are read."""
        output = Path(tempfile.mkdtemp(dir=self.folder))
        (output / "bases").symlink_to(self.bases)
        found = self.start("experiments.run", *overrides, f"data_dir={self.data}", f"output_dir={output}")
        (path,) = output.glob("runs/*/rows.jsonl")
        rows = tuple(json.loads(line) for line in path.read_text().splitlines())
        shutil.rmtree(output)
        return replace(found, rows=rows)

    def base_id(self, overrides: Sequence[str]) -> str:
        """Find the id of the N0 of a run: each tree hashes its own description."""
        script = str(ROOT / "scripts/bench/one_base.py")
        environment = os.environ | {"PYTHONPATH": str(self.path)}
        command = [sys.executable, script, str(self.path), *overrides]
        done = subprocess.run(
            command, cwd=self.path, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        return done.stdout.split()[-1]
