"""How whole commands grow: a run with its samples, a plan with JOBS."""

import math
import os
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from scripts.bench import tables
from scripts.bench.checkout import ROOT
from scripts.bench.options import Options
from scripts.bench.timing import say
from scripts.bench.tree import Measured, Tree

PART = "commands"
PROFILE = "laptop"
RUN = ("network=mlp", "method=bgd_ii", "seed=0", "device=cpu")
SETTINGS = ("reloading", "non_reloading")
SAMPLES = (43, 173, 691)  # each four times the one before
PRESET = "ablations"  # 24 runs of the MLP, minutes of one core
PARTS_OF_A_ROW = ("search", "evaluation")


def bench(options: Options) -> list[dict[str, Any]]:
    """Measure whole processes, medians of the repeats; print and return the lines.

    Raises:
        Ended: A process ended badly.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        (options.output / "bases").mkdir(parents=True, exist_ok=True)
        tree = Tree(ROOT, Path(folder), options.data.resolve())
        tree.bases.symlink_to((options.output / "bases").resolve())
        lines = [*_samples(tree, options.repeats), *_jobs(tree, options.repeats)]
    print(f"\nwhole commands, medians of {options.repeats}")
    print(tables.text(HEADINGS, [cells(line) for line in lines], left=1))
    return lines


def _samples(tree: Tree, repeats: int) -> Iterator[dict[str, Any]]:
    """Measure a run of so many samples, on one thread."""
    for setting in SETTINGS:
        words = [*RUN, f"setting={setting}", f"profile={PROFILE}"]
        tree.run([*words, "scale.samples=1"])  # N0, and what is kept of it, are there before
        found = []
        for count in SAMPLES:
            runs = [tree.run([*words, f"scale.samples={count}"]) for _ in range(repeats)]
            at = len(runs[0].rows)
            rows = at * statistics.median(one.seconds(PARTS_OF_A_ROW) for one in runs)
            found.append({"of": "samples", "at": at, "rows": rows, **_whole(runs)})
            say(f"{setting}: {found[-1]['at']} samples")
        yield from _grown(f"a run of bgd_ii on the MLP, {setting}", found, "rows")


def _jobs(tree: Tree, repeats: int) -> Iterator[dict[str, Any]]:
    """Measure a plan with 1, 2, 4 ... processes, up to one a core."""
    cores = os.cpu_count() or 1
    _planned(tree, cores)  # the same for its N0
    found = []
    for jobs in (2**power for power in range(cores.bit_length())):
        runs = [_planned(tree, jobs) for _ in range(repeats)]
        found.append({"of": "JOBS", "at": jobs, **_whole(runs)})
        say(f"{PRESET}: {jobs} jobs")
    yield from _grown(f"PRESETS={PRESET} of the laptop profile", found, "wall")


def _planned(tree: Tree, jobs: int) -> Measured:
    """Make the runs of a preset anew; what was composed of the profile stays for the next one."""
    output = tree.folder / "plan"
    if not output.exists():
        output.mkdir()
        (output / "bases").symlink_to(tree.bases)
    words = ["run", f"--profile={PROFILE}", f"--presets={PRESET}", f"--jobs={jobs}", "--device=cpu"]
    found = tree.start("experiments.reproduce", *words, f"--data={tree.data}", f"--output={output}")
    for run in (output / "runs").glob("*/"):
        shutil.rmtree(run)
    return found


def _whole(runs: Sequence[Measured]) -> dict[str, float]:
    return {name: statistics.median(getattr(one, name) for one in runs) for name in ("wall", "cpu", "peak")}


def _grown(what: str, found: Sequence[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Return points with what they are of, and how some seconds grow from one to the next: the power of the number."""
    powers = [
        math.log(after[key] / before[key]) / math.log(after["at"] / before["at"])
        for before, after in pairwise(found)
    ]
    return [
        {"what": what, **point, "power": power} for point, power in zip(found, [None, *powers], strict=True)
    ]


HEADINGS = (
    "command",
    "with",
    "rows (s)",
    "whole process (s)",
    "its cores (s)",
    "largest process (GiB)",
    "grows as",
)


def cells(line: dict[str, Any]) -> tuple[str, ...]:
    """Lay out a line, for the console and for the document."""
    return (
        line["what"],
        f"{line['at']:,} {line['of']}" if line["of"] != "JOBS" else f"JOBS={line['at']}",
        f"{line['rows']:.3g}" if "rows" in line else "",
        f"{line['wall']:.3g}",
        f"{line['cpu']:.3g}",
        f"{line['peak'] / 2**30:.2f}",
        "" if line["power"] is None else f"^{line['power']:.2f}",
    )
