"""What a larger largest weight does to the rest of a tensor in 8 bits, on N0's errors among the images set aside.

    python scripts/scales.py network=mlp method=bgd_ii,last_layer_weight --samples 60

With one scale a tensor, a weight that outgrows all others makes the step between two values of every other one larger.
For corrections by any method, sorted by how many times larger the largest weight of a tensor becomes: the accuracy on
the images set aside that 8 bits cost beyond what they cost N0, in points, and how many images change class by 8 bits
alone. Takes what `python -m experiments.run` takes, with lists of networks and methods. Nothing is kept.
"""

import argparse
import sys
from typing import Any

import numpy as np
import torch
from hydra import initialize_config_dir

from bgd import rng
from bgd.arithmetic import Elsewhere
from bgd.arithmetic.elsewhere import growth
from bgd.patch import Patch
from experiments.command import prepared
from experiments.config.overrides import CONF, composed, jobs_of
from experiments.jobs.ending import REFUSALS, ended
from experiments.jobs.process import every_core
from experiments.jobs.progress import log_to_console
from experiments.mnist.data import DataError
from experiments.protocol.settings import Stage
from scripts.held_out import HeldOut

BOUNDS = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0, np.inf)  # of the growth; 1 is none


def cost_of(elsewhere: Elsewhere, images: torch.Tensor, labels: torch.Tensor) -> np.ndarray[Any, Any]:
    """Return accuracy in float32, in 8 bits, and the share of images on which the two differ."""
    plain = elsewhere.outputs("float32", images).argmax(1)
    coarse = elsewhere.outputs("int8", images).argmax(1)
    right = [(each == labels).double().mean() for each in (plain, coarse)]
    return np.array([*map(float, right), float((plain != coarse).double().mean())])


def patches(stage: Stage, samples: int) -> list[Patch]:
    """Correct the first samples of a stage."""
    found = []
    for sample in stage.samples[:samples]:
        stream = rng.stream(stage.seed, "method", sample.index)
        patch = stage.problem.correct(stage.method, sample, stream).patch
        found += [patch] if patch is not None else []
    return found


def main(arguments: list[str]) -> int:
    """Correct, measure, print a table. Return the exit status."""
    return ended(lambda: _command(arguments), (*REFUSALS, DataError))


def _command(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=str(__doc__), formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="of Hydra, as network=mlp method=bgd_ii,top_k")
    parser.add_argument("--samples", type=int, default=60, help="the first so many")
    options = parser.parse_intermixed_args(arguments)
    log_to_console()
    points: list[tuple[float, float, float]] = []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        bench, key = None, ""
        for job in jobs_of(["-m", *options.overrides]):
            spec, place = prepared(composed(["scale.samples=null", "scale.train_images=100", *job]))
            if bench is None or key != spec.bench_id:
                with every_core():
                    bench, key = HeldOut(spec, place), spec.bench_id
            stage = bench.stage(spec)
            assert isinstance(stage, Stage)
            elsewhere, (images, labels) = Elsewhere(stage.problem.current), bench.data.test.tensors()
            before = cost_of(elsewhere, images, labels)
            for patch in patches(stage, options.samples):
                with elsewhere.patched(patch):
                    after = cost_of(elsewhere, images, labels)
                more = (after[0] - after[1]) - (before[0] - before[1])
                larger = max(growth(patch, stage.problem.original).values(), default=1.0)
                points.append((larger, 100 * more, 100 * (after[2] - before[2])))
    print(
        "| growth | corrections | points lost, mean | worst | more images that 8 bits change (%), mean | worst |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for low, high in zip((0.0, *BOUNDS), BOUNDS, strict=False):
        chosen = np.array([point for point in points if low < point[0] <= high])
        if len(chosen):
            mean, worst = chosen.mean(0), chosen.max(0)
            cells = [f"{low:g} to {high:g}", str(len(chosen))]
            cells += [f"{mean[1]:.3f}", f"{worst[1]:.2f}", f"{mean[2]:.3f}", f"{worst[2]:.2f}"]
            print(f"| {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
