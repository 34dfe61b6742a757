"""BGD-II on one large network, in a process of its own: what is measured of this tree and of an earlier commit alike.

    PYTHONPATH=TREE python scripts/bench/one_search.py NETWORK SAMPLES     # prints one line of JSON

It uses no more of the library than both have: `Problem`, `Sample`, `SubsetSearch` and `rng`. With 0 samples it measures
the network alone: a forward pass, and the memory of one plain gradient.
"""

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torchvision

from bgd import rng

SIZE = 224  # pixels of a side
PASSES = 7
NOISE = 0.3  # of the samples, around one image


def memory(name: str) -> int:
    """Return the bytes of this process' memory, now (`VmRSS`) or at most so far (`VmHWM`)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def seconds(action: Any) -> tuple[float, Any]:
    """Return how long an action takes, and what it gives."""
    started = time.perf_counter()
    found = action()
    return time.perf_counter() - started, found


def network_of(name: str) -> torch.nn.Module:
    """Return a network of torchvision's with random weights; a last layer of zeros gets some too."""
    network: torch.nn.Module = torchvision.models.get_model(name).eval()
    for parameter in network.parameters():
        if parameter.dim() > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    return network


def measure(name: str, count: int) -> dict[str, Any]:
    """Return seconds of a forward pass and of each search, and the memory beyond the network."""
    from bgd.methods.base import Problem, Sample  # the code of the library is no memory of a search
    from bgd.methods.bgd.search import SubsetSearch

    network = network_of(name)
    size = sum(parameter.nbytes for parameter in network.parameters())
    image = torch.randn(1, 3, SIZE, SIZE)
    with torch.no_grad():
        logits = network(image)
        forward = statistics.median(seconds(lambda: network(image))[0] for _ in range(PASSES))
    before = memory("VmRSS")
    found: dict[str, Any] = {"network": name, "parameters_bytes": size, "forward_seconds": forward}
    if not count:
        torch.nn.functional.cross_entropy(network(image), logits.argmin(1)).backward()
        return found | {"beyond_bytes": memory("VmHWM") - before}
    problem, searches = Problem(network), []
    second = logits[0].topk(2).indices[1:]
    for index in range(count):
        sample = Sample(index, image + NOISE * torch.randn(image.shape), second)
        with problem.trying() as trial:
            took, correction = seconds(
                lambda trial=trial, sample=sample: SubsetSearch().correct(
                    trial, sample, rng.stream(0, sample.index)
                )
            )
        searches.append(
            {
                "seconds": took,
                "candidates": trial.forward_passes,
                "parameters": 0 if correction.patch is None else len(correction.patch),
            }
        )
    return found | {"beyond_bytes": memory("VmHWM") - before, "searches": searches}


if __name__ == "__main__":
    torch.set_num_threads(1)
    with rng.torch_seeded(rng.stream(0, "large networks")):
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
