"""A package's jobs in a process of their own, a file for each that is done."""

import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from bgd.errors import ConfigError, first_line
from experiments.jobs.provenance import revision
from experiments.public_bugs.measure import Bench
from experiments.public_bugs.plan import Settings
from experiments.public_bugs.subject import Source
from experiments.public_bugs.subjects import subject_of
from experiments.records.public_bugs import Job, write_rows

LIBRARIES = ("torch", "numpy", "scipy", "numba", "onnx", "onnxruntime")


def work(package: str, jobs: Sequence[Job], settings: Settings) -> None:
    """Do a package's jobs, a file each; what the package needs comes first on this process' path of imports.

    Raises:
        SystemExit: The package cannot be had; it has been said why.
    """
    torch.set_num_threads(1)
    began = time.perf_counter()
    try:
        bench = Bench(subject_of(package, Source(Path(settings.data_dir), settings.seed)))
    except (ConfigError, ImportError) as error:
        raise SystemExit(f"{package} is left out: {first_line(error)}") from error
    for number, job in enumerate(jobs, 1):
        row = bench.row(job, provenance())
        write_rows(settings.rows / f"{job.id}.jsonl", [row])
        gone = time.perf_counter() - began
        left = (
            f", about {gone / number * (len(jobs) - number) / 60:.0f} min left" if number < len(jobs) else ""
        )
        print(
            f"{package} {job.report} {job.method or 'as it is'}: {number} of {len(jobs)}, {gone:.0f} s{left}",
            flush=True,
        )


def provenance() -> dict[str, str]:
    """Tell what makes a row."""
    versions = {name: version(name) for name in LIBRARIES}
    return {
        "python": sys.version.split()[0],
        **versions,
        **{name: str(told) for name, told in revision().items()},
    }
