"""Methods that descend on one sample, beside the plain way of each: torch's operations on whole vectors.

    python -m scripts.bench.descents [SAMPLES]      # AlexNet, one thread; some minutes

The time is that of a correction, with its patch, as `Problem.attempt_many` takes it: of the process, so that other work
on the machine counts little. A step, with its share of what a correction takes besides, is also given in networks:
what a copy would read and write meanwhile, over the bytes of all parameters.
"""

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from bgd import rng
from bgd.curvature.base import Curvature, Estimator
from bgd.knowledge import Knowledge
from bgd.methods import lora, momentum
from bgd.methods.base import Correction, Method, Problem
from bgd.patch import parts
from experiments.config.build import build
from experiments.config.presets import specs
from scripts.bench import tables
from scripts.bench.machine import bandwidth
from scripts.bench.options import parse
from scripts.bench.subjects import Subject, subject
from scripts.bench.tables import milliseconds, times
from scripts.bench.timing import say, threads

METHODS = ("ewc", "kl_retrain", "l2_sp", "lora", "retrain", "l1", "fine_tune")
KEPT = 1000  # images, of the keep-set


def bench(subject: Subject) -> dict[str, object]:
    """Measure on one thread, as a search runs; print the table."""
    say(f"{subject.name}: descents on a sample")
    found, size = {}, sum(parameter.nbytes for parameter in subject.network.parameters())
    with threads(1):
        rate = bandwidth()
        for name, method in methods(subject.name).items():
            problem = problem_of(subject)
            next(problem.attempt_many(method, *_work(subject, 1)))  # what is made once, compiled code too
            seconds, corrections = _measured(problem, method, subject)
            with plain():
                plain_seconds, wanted = _measured(problem, method, subject)
            fast, slow = statistics.median(seconds), statistics.median(plain_seconds)
            alike = sum(same(*pair) for pair in zip(corrections, wanted, strict=True))
            a_step = [
                each / found.steps for each, found in zip(seconds, corrections, strict=True) if found.steps
            ]
            found[name] = {
                "plain_seconds": slow,
                "seconds": fast,
                "ratio": slow / fast,
                "steps": statistics.median(each.steps for each in corrections),
                "networks_a_step": statistics.median(a_step) * rate / size if a_step else None,
                "same": alike,
                "samples": len(wanted),
            }
            say(f"{subject.name}: {name} done")
    print(f"\n{subject.name}: a correction by descent, one thread, median of the process' seconds")
    print(tables.text(HEADINGS, [cells(name, one) for name, one in found.items()]))
    return {"network": subject.name, "source": subject.source, "threads": 1, "methods": found}


HEADINGS = (
    "method",
    "plain (ms)",
    "now (ms)",
    "ratio",
    "steps",
    "a step, in networks read or written",
    "the same",
)


def cells(name: str, row: dict[str, Any]) -> tuple[str, ...]:
    """Lay out a method's row; for the console and the document."""
    networks = row["networks_a_step"]
    return (
        name,
        milliseconds(row["plain_seconds"]),
        milliseconds(row["seconds"]),
        times(row["ratio"]),
        f"{row['steps']:g}",
        "" if networks is None else f"{networks:.1f}",
        f"{row['same']} of {row['samples']}",
    )


def methods(network: str) -> dict[str, Method]:
    """Return the methods with the options of the laptop profile."""
    every = {spec.method["name"]: spec for spec in specs("laptop", ["frontier_points"])
             if spec.network["name"] == network}  # fmt: skip
    return {name: build(every[name].method, "method") for name in METHODS}


def problem_of(subject: Subject) -> Problem:
    """Return the problem, with what the methods ask for."""
    images, labels = subject.images.train, subject.images.train_labels

    def curvature(estimator: Estimator) -> Curvature:
        trial = Problem(subject.network).current
        first = slice(estimator.images)
        return estimator.estimate(
            trial.module, trial.space, images[first], labels[first], rng.stream(0, "curvature")
        )

    return Problem(subject.network, Knowledge(curvature=curvature, keep_images=lambda: images[:KEPT]))


@contextmanager
def plain() -> Iterator[None]:
    """Have every descent take whole steps inside the block, LoRA run every layer, and torch find what differs."""
    with (
        mock.patch.object(momentum, "SMALLEST", sys.maxsize),
        mock.patch.object(lora, "known_layers", return_value={}),
        mock.patch.object(parts, "LONG", sys.maxsize),
    ):
        yield


def same(one: Correction, other: Correction) -> bool:
    """Return whether two corrections took the same steps to the same change, but for rounding."""
    if one.steps != other.steps or bool(one) != bool(other):
        return False
    if one.patch is None or other.patch is None:
        return True
    pairs = zip(one.patch.norms(), other.patch.norms(), strict=True)
    return all(abs(a - b) <= 1e-5 * b for a, b in pairs)


def _work(subject: Subject, count: int | None = None) -> tuple[list, list]:
    samples = subject.samples[:count]
    return samples, [rng.stream(0, "method", sample.index) for sample in samples]


def _measured(problem: Problem, method: Method, subject: Subject) -> tuple[list[float], list[Correction]]:
    """Return the seconds of each correction, and the corrections."""
    seconds, found = [], []
    corrections = problem.attempt_many(method, *_work(subject))
    for _ in subject.samples:
        began = time.process_time()
        found.append(next(corrections))
        seconds.append(time.process_time() - began)
    return seconds, found


if __name__ == "__main__":
    options = parse(["--samples", sys.argv[1] if len(sys.argv) > 1 else "6"])
    bench(subject("alexnet", options))
