"""Measure where the time goes, against the obvious way in the same run.

    python scripts/bench.py [--images 1000] [--threads 1]

Needs no MNIST: the tiny subset repeated, and networks with fresh weights, cost what trained ones cost. Writes
outputs/bench/bench.json beside what it prints. Ratios are comparable between machines, seconds are not.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bgd import data, rng
from bgd.evaluation import FullEvaluator, Images, IncrementalEvaluator
from bgd.methods.base import Problem, Sample
from bgd.methods.bgd.prior import GradientPrior, Sampler
from bgd.methods.bgd.search import SubsetSearch
from bgd.methods.bgd.update import FirstOrder
from bgd.methods.descent import SampleDescent
from bgd.methods.top_k import TopK
from bgd.networks import MLP, AlexNet
from bgd.parameters import ParameterSpace
from bgd.patch import Patch
from experiments.workbench import TINY

METHODS = {
    "bgd_ii": SubsetSearch(),
    "bgd_i": SubsetSearch(update=FirstOrder()),
    "top_k": TopK(),
    "retrain, 10 steps": SampleDescent(steps=10),
}


def seconds(action: Callable[[], object], repeats: int = 3) -> float:
    """Return the least of some wall times, after one run to warm up."""
    action()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times)


def repeated(images: int) -> Images:
    """Return `images` training images and as many test images, the tiny subset over and over."""
    tiny = data.load("tiny", TINY)
    pixels, labels = tiny.test.tensors()
    times = -(-images // len(labels))
    pixels, labels = pixels.repeat(times, 1, 1, 1)[:images], labels.repeat(times)[:images]
    return Images(pixels, labels, pixels, labels)


def moved(network: nn.Module, name: str, count: int) -> tuple[Patch, Patch]:
    """Return a patch of some weights of a tensor, spread over it, and the patch that takes it back."""
    space = ParameterSpace.of(network)
    old = torch.cat([parameter.detach().reshape(-1) for parameter in network.parameters()])
    span = space.span(name)
    index = torch.linspace(span.start, span.stop - 1, count + 2)[1:-1].long()
    new = old[index] + 0.5
    return Patch.sparse(space, index, old[index], new), Patch.sparse(space, index, new, old[index])


def bench_evaluation(network: nn.Module, images: Images, batch: int) -> dict[str, dict[str, float]]:
    """Print the full evaluation beside the incremental one, by the lowest layer that is edited.

    `accumulated` is what a sample costs in the non-reloading setting: evaluate the patch, then move to it.
    """
    full, fast = FullEvaluator(network, images, batch), IncrementalEvaluator(network, images, batch)
    found: dict[str, dict[str, float]] = {}
    for name in ParameterSpace.of(network).weights:
        found[name] = {}
        for count in (1, 5):
            there, back = moved(network, name, count)
            slow = seconds(lambda p=there: full.after(p), 1)
            wanted, got = full.after(there), fast.after(there)
            assert abs(got.figures.train_loss / wanted.figures.train_loss - 1) < 1e-6
            assert torch.equal(got.test_predictions, wanted.test_predictions)
            reloaded = seconds(lambda p=there: fast.after(p))

            def accumulate(patches=(there, back)) -> None:
                for patch in patches:
                    fast.advance(patch, fast.after(patch))

            accumulated = seconds(accumulate, 1) / 2
            found[name] |= {f"{count}": slow / reloaded, f"{count}, accumulated": slow / accumulated}
            print(
                f"  {count} of {name:14} full {slow * 1e3:8.1f} ms   incremental {reloaded * 1e3:8.2f} ms"
                f" {slow / reloaded:6.1f}x   accumulated {accumulated * 1e3:8.2f} ms {slow / accumulated:6.1f}x"
            )
    return found


def bench_search(network: nn.Module) -> dict[str, float]:
    """Print the time each method takes for a sample, in single forward passes."""
    problem = Problem(network)
    images, labels = data.load("tiny", TINY).test.tensors()
    samples = [Sample(i, images[i : i + 1], (labels[i : i + 1] + 1) % 10) for i in range(3)]

    def forward() -> None:
        with problem.trying() as trial:
            for _ in range(20):
                trial.look(samples[0])

    one = seconds(forward) / 20
    print(f"  one forward pass on one sample: {one * 1e3:.2f} ms")
    found = {}
    for name, method in METHODS.items():
        passes = []

        def correct(method=method, passes=passes) -> None:
            for sample in samples:
                with problem.trying() as trial:
                    method.correct(trial, sample, rng.stream(0, "bench", sample.index))
                passes.append(trial.forward_passes)

        each = seconds(correct, 1) / len(samples)
        found[name] = each / one
        print(
            f"  {name:18} {each * 1e3:9.1f} ms a sample  {np.mean(passes):6.1f} forward passes  {each / one:7.1f}x one"
        )
    return found


def bench_sampler(network: nn.Module) -> float:
    """Print 50 draws without replacement beside numpy's obvious way: choice with the drawn set to 0."""
    space = ParameterSpace.of(network)
    magnitude = space.drop_biases(torch.rand(space.size))
    weights = GradientPrior().weights(magnitude, space)

    def obvious() -> None:
        left, stream = weights.double().numpy().copy(), rng.stream(0)
        for _ in range(50):
            left[stream.choice(len(left), p=left / left.sum())] = 0.0

    def ours() -> None:
        sampler = Sampler(weights, rng.stream(0))
        for _ in range(50):
            sampler.draw()

    slow, fast = seconds(obvious, 1), seconds(ours, 1)
    print(
        f"  50 draws: obvious {slow * 1e3:9.1f} ms   table with rejection {fast * 1e3:9.1f} ms   {slow / fast:6.1f}x"
    )
    return slow / fast


def main() -> None:
    """Measure both networks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000, help="training images and as many test images")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images = repeated(options.images)
    found = {}
    for name, network, batch in (("mlp", MLP(), 1000), ("alexnet", AlexNet(), 100)):
        network.eval()
        print(f"{name}, {2 * options.images:,} images, {options.threads} threads")
        found[name] = {
            "evaluation_ratio": bench_evaluation(network, images, batch),
            "search_in_forward_passes": bench_search(network),
            "sampler_ratio": bench_sampler(network),
        }
    target = Path("outputs", "bench", "bench.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(found, indent=1) + "\n")
    print(f"written to {target}")


if __name__ == "__main__":
    main()
