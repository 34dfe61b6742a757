"""Large networks beside an earlier commit: a search in forward passes, its memory in networks, many draws."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from bgd import rng
from bgd.methods.bgd.prior import GradientPrior, Magnitude, Sampler
from bgd.parameters import ParameterSpace
from scripts.bench import tables
from scripts.bench.checkout import ROOT, checked_out
from scripts.bench.tables import milliseconds, times
from scripts.bench.targets import LARGE, word
from scripts.bench.timing import least, say

NETWORKS = ("resnet18", "mobilenet_v3_large", "vit_b_16")
MANY = 86_000_000  # parameters to draw from: those of ViT-B/16
DRAWS = 20


def bench(against: str, samples: int) -> list[dict[str, Any]]:
    """Measure, and print the tables.

    Args:
        against: A commit to measure in the same run.
        samples: Corrections of each network.
    """
    found, rows = [], []
    with checked_out(against) as earlier:
        for name in NETWORKS:
            say(f"{name}: {samples} corrections by BGD-II, here and at {against}")
            here, there = (_run(tree, name, samples) for tree in (ROOT, earlier))
            plain = _run(ROOT, name, 0)
            found.append(_compared(here, there, plain))
            rows.append(_row(found[-1]))
    headings = (
        "",
        "forward ms",
        "search",
        "at " + against,
        "holds",
        "memory",
        "at " + against,
        "gradient alone",
        "holds",
    )
    print(
        f"\nBGD-II's search, median of {samples} samples, in forward passes; memory beyond the network, in networks"
    )
    print(tables.text(headings, rows))
    return [*found, _draws()]


def _compared(here: dict[str, Any], there: dict[str, Any], plain: dict[str, Any]) -> dict[str, Any]:
    """Return what was measured of one network, as multiples of a forward pass and of its parameters."""
    forward = statistics.median(each["forward_seconds"] for each in (here, there, plain))
    size = here["parameters_bytes"]

    def passes(run: dict[str, Any]) -> float:
        return statistics.median(each["seconds"] for each in run["searches"]) / forward

    return {
        "network": here["network"],
        "forward_seconds": forward,
        "search_passes": passes(here),
        "search_passes_before": passes(there),
        "same_corrections": [each["parameters"] for each in here["searches"]]
        == [each["parameters"] for each in there["searches"]],
        "candidates": [each["candidates"] for each in here["searches"]],
        "memory": here["beyond_bytes"] / size,
        "memory_before": there["beyond_bytes"] / size,
        "memory_of_a_gradient": plain["beyond_bytes"] / size,
    }


def _row(found: dict[str, Any]) -> tuple[str, ...]:
    return (
        found["network"],
        milliseconds(found["forward_seconds"]),
        f"{found['search_passes']:.1f}",
        f"{found['search_passes_before']:.1f}",
        word(found["search_passes"] <= LARGE["search_passes"]),
        f"{found['memory']:.1f}",
        f"{found['memory_before']:.1f}",
        f"{found['memory_of_a_gradient']:.1f}",
        word(found["memory"] <= LARGE["memory"]),
    )


def _draws() -> dict[str, Any]:
    """Return the seconds of draws from many parameters, and of numpy's choice of as many."""
    space = ParameterSpace(("weight",), ((MANY // 1000, 1000),))
    gradient = torch.from_numpy(rng.stream(0, "gradient").standard_normal(MANY, dtype="float32"))

    def fast() -> None:
        sampler = Sampler(GradientPrior().weights(Magnitude(gradient, space)), rng.stream(0))
        for _ in range(DRAWS):
            sampler.draw()

    def obvious() -> None:
        weights = gradient.abs().double().numpy()
        rng.stream(0).choice(MANY, DRAWS, replace=False, p=weights / weights.sum())

    seconds, before = least(fast, repeats=3), least(obvious, repeats=1, warm=False)
    print(
        f"\n  {DRAWS} draws from {MANY:,} parameters: {seconds:.2f} s, numpy's choice {before:.1f} s "
        f"({times(before / seconds)}); holds: {word(seconds <= LARGE['draws_seconds'])}\n"
    )
    return {"network": "draws", "parameters": MANY, "seconds": seconds, "obvious_seconds": before}


def _run(tree: Path, name: str, samples: int) -> dict[str, Any]:
    """Measure in a process of its own, with a tree's library."""
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "scripts/bench/one_search.py"), name, str(samples)]
    done = subprocess.run(command, env=environment, cwd=tree, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
