"""One method on AlexNet in a process of its own: `PYTHONPATH=TREE python scripts/device/one_run.py TREE JSON`.

Prints a line of JSON: seconds of a row, the most memory, and how many kernel launches and torch operations a sample is.
It uses no more of a tree than this one and 782a196 have.
"""

import importlib
import json
import resource
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from torch.profiler import ProfilerActivity, profile

LAUNCHES = (
    "cudaLaunchKernel",
    "cudaLaunchKernelExC",
    "cuLaunchKernel",
    "cuLaunchKernelEx",
    "cudaGraphLaunch",
)


def module_of(tree: Path, *names: str) -> Any:
    """Import the first of some modules that a tree has."""
    there = (name for name in names if (tree / f"{name.replace('.', '/')}.py").exists())
    return importlib.import_module(next(there))


def overrides(given: dict[str, Any]) -> list[str]:
    """Give the run: the thesis profile after one epoch of training, or a narrow network on the tiny subset."""
    words = [f"{key}={given[key]}" for key in ("setting", "method")]
    scale = [f"scale.samples={given['samples']}", "scale.recipe.epochs=1"]
    size = ["profile=smoke", "network.width=0.1"] if given["tiny"] else ["profile=thesis"]
    return ["network=alexnet", "seed=0", *size, *words, *scale]


def measure(tree: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Run the samples once to have everything there, once for the time, and once to count."""
    if given["device"] == "pretended":
        counting = importlib.import_module("counting")  # beside this file, whatever the tree
        with counting.card() as counts:
            return _counted(*_prepared(tree, given, "cuda"), counts)
    spec, bench = _prepared(tree, given, given["device"])
    rows = list(bench.stage(spec).rows())
    memory = _memory(given["device"])
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if given["device"] == "cuda" else [])]
    with profile(activities=activities) as counted:
        list(bench.stage(spec).rows())
    numbers = {event.key: event.count for event in counted.key_averages()}
    launches = sum(numbers.get(name, 0) for name in LAUNCHES)
    operations = sum(count for key, count in numbers.items() if key.startswith("aten::"))
    return _times(rows) | {
        "memory": memory,
        "launches": launches / len(rows) if given["device"] == "cuda" else None,
        "operations": operations / len(rows),
        "device": torch.cuda.get_device_name() if given["device"] == "cuda" else "cpu",
    }


def _prepared(tree: Path, given: dict[str, Any], device: str) -> tuple[Any, Any]:
    """Return the run and its workbench, on which the first sample was made already."""
    spec_module = module_of(tree, "experiments.config.spec", "experiments.spec")
    rooms = module_of(tree, "experiments.jobs.workbench", "experiments.workbench")
    folder = next(tree / name for name in ("experiments/conf", "conf") if (tree / name).is_dir())
    with initialize_config_dir(str(folder), version_base="1.3"):
        spec = spec_module.RunSpec.of(compose("config", overrides=overrides(given)))
    place = rooms.Place(Path(given["data"]), Path(given["state"]), device, 1)
    bench = rooms.Workbench(spec, place)
    list(bench.stage(replace(spec, scale=replace(spec.scale, samples=1))).rows())
    return spec, bench


def _counted(spec: Any, bench: Any, counts: Any) -> dict[str, Any]:
    """Run the samples on a card that counts: what would be launched by searches, and every operation."""
    before = counts.searching, counts.everywhere
    rows = list(bench.stage(spec).rows())
    return _times(rows) | {
        "memory": _memory("cpu"),
        "launches": (counts.searching - before[0]) / len(rows),
        "operations": (counts.everywhere - before[1]) / len(rows),
        "device": "a pretended card",
    }


def _times(rows: list[Any]) -> dict[str, Any]:
    return {
        "samples": len(rows),
        "search": statistics.fmean(row.search_seconds for row in rows),
        "evaluation": statistics.fmean(row.evaluation_seconds for row in rows),
        "torch": torch.__version__,
    }


def _memory(device: str) -> int:
    """Return the most bytes so far, of the card or of the process."""
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), json.loads(sys.argv[2]))))
