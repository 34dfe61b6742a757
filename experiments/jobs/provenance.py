"""What made a run: revision of the code, versions, hardware, data. A header keeps it beside the run's identity."""

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from experiments.jobs.arithmetic import facts
from experiments.mnist.data import SOURCES

ROOT = Path(__file__).parents[2]
CODE = ("bgd", "experiments", "pyproject.toml")  # what can change a number
LIBRARIES = ("bgd", "torch", "torchvision", "numpy", "hydra-core")


def provenance(dataset: str, device: str, threads: int) -> dict[str, Any]:
    """Return a header's facts about the code, the machine and the data.

    `revision` is git's, `dirty` whether `CODE` differed from it; both are None where there is no repository.
    `data` has the SHA-256 of each file, which loading has checked.
    """
    return {
        **revision(),
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "device": device,
        "hardware": hardware(device),
        **facts(device),
        "cores": os.cpu_count(),
        "threads": threads,
        "data": SOURCES[dataset].sha256,
    }


def hardware(device: str) -> str:
    """Return the name of the card or of the processor."""
    return torch.cuda.get_device_name() if device == "cuda" else _processor()


@cache
def revision() -> dict[str, Any]:
    """Return the revision that this process began with."""
    try:
        return {
            "revision": _git("rev-parse", "HEAD"),
            "dirty": bool(_git("status", "--porcelain", "--", *CODE)),
        }
    except (OSError, subprocess.CalledProcessError):
        return {"revision": None, "dirty": None}


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@cache
def _processor() -> str:
    """Return the name of the processor, its architecture where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
