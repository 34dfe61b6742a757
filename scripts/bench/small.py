"""Searches on a small network: compiled and many at once, beside one after another by torch, in one run."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import numpy as np

from bgd import rng
from bgd.methods.base import Correction, Method, Problem, Sample
from bgd.methods.bgd.together import Searches
from bgd.methods.catalogue.thesis import BGDC, BGDI, BGDII, BGDNorm, Random
from scripts.bench import tables
from scripts.bench.subjects import Subject
from scripts.bench.tables import times
from scripts.bench.timing import say, threads

METHODS: dict[str, Method] = {
    "bgd_ii": BGDII(),
    "bgd_i": BGDI(),
    "bgd_c": BGDC(),
    "bgd_norm": BGDNorm(),
    "random": Random(),
}
SEED = 0
PARTS = {  # of searches at once, and what does each; a search is compiled but for what it asks of torch
    "gradient": "_gradients",
    "weights": "_drawn_by",
    "guard": "_harmful",
    "search": "_searched",
}
REST = "rest"


def bench(subject: Subject) -> dict[str, object]:
    """Measure on one thread, all of the subject's samples; print the table."""
    say(f"{subject.name}: searches at once and one by one")
    with threads(1):
        rows = {name: _measured(subject, method) for name, method in METHODS.items()}
    print(f"\n{subject.name}: searches of {len(subject.samples)} samples, milliseconds of processor a sample")
    print(tables.text(HEADINGS, [cells(name, row) for name, row in rows.items()]))
    return {"network": subject.name, "samples": len(subject.samples), "methods": rows}


def _measured(subject: Subject, method: Method) -> dict[str, float]:
    """Return processor seconds a sample in each way, and how many corrections differ."""
    problem, samples = subject.problem(), subject.samples
    _at_once(problem, method, samples)  # compiled, statistics made, memory there
    slow, one_by_one = _timed(_one_by_one, problem, method, samples)
    fast, at_once = _timed(_at_once, problem, method, samples)
    single, _ = _timed(_one_a_call, problem, method, samples)
    with _watched() as spent:
        whole, _ = _timed(_at_once, problem, method, samples)
    parts = {name: seconds / len(samples) for name, seconds in spent.items()}
    different = sum(_key(a) != _key(b) for a, b in zip(one_by_one, at_once, strict=True))
    found = {"one_by_one": slow, "at_once": fast, "one_a_call": single, "different": different}
    return found | parts | {REST: whole - sum(parts.values())}


HEADINGS = ("method", "one by one", "at once", "ratio", "one a call", "others", *PARTS, REST)


def cells(name: str, row: dict[str, float]) -> tuple[str, ...]:
    """Lay out a method's row, milliseconds a sample; for the console and the document."""
    slow, fast, single, *parts = (
        f"{1e3 * row[key]:.3g}" for key in ("one_by_one", "at_once", "one_a_call", *PARTS, REST)
    )
    return (
        name,
        slow,
        fast,
        times(row["one_by_one"] / row["at_once"]),
        single,
        f"{row['different']:.0f}",
        *parts,
    )


@contextmanager
def _watched() -> Iterator[dict[str, float]]:
    """Give the processor seconds that searches at once spend in each of their parts, inside the block."""
    spent = dict.fromkeys(PARTS, 0.0)

    def timed(name: str, part: Callable[..., Any]) -> Callable[..., Any]:
        def within(*given: Any) -> Any:
            before, started = spent[name], time.process_time()
            found = part(*given)
            spent[name] = before + time.process_time() - started  # a search that starts anew is within itself
            return found

        return within

    with ExitStack() as stack:
        for name, method in PARTS.items():
            part = getattr(Searches, method)
            stack.enter_context(mock.patch.object(Searches, method, timed(name, part)))
        yield spent


def _timed(
    way: Callable[[Problem, Method, Sequence[Sample]], list[Correction]],
    problem: Problem,
    method: Method,
    samples: Sequence[Sample],
) -> tuple[float, list[Correction]]:
    """Return processor seconds a sample, and the corrections."""
    started = time.process_time()
    found = way(problem, method, samples)
    return (time.process_time() - started) / len(samples), found


def _one_by_one(problem: Problem, method: Method, samples: Sequence[Sample]) -> list[Correction]:
    return [problem.attempt(method, sample, _stream(sample))[0] for sample in samples]


def _at_once(problem: Problem, method: Method, samples: Sequence[Sample]) -> list[Correction]:
    return list(problem.attempt_many(method, samples, [_stream(sample) for sample in samples]))


def _one_a_call(problem: Problem, method: Method, samples: Sequence[Sample]) -> list[Correction]:
    return [found for sample in samples for found in _at_once(problem, method, [sample])]


def _stream(sample: Sample) -> np.random.Generator:
    return rng.stream(SEED, "method", sample.index)


def _key(correction: Correction) -> tuple[object, ...]:
    """Return what is the same in both ways."""
    patch = correction.patch
    values = patch and (patch.indices.tolist(), patch.new.tolist())
    return correction.altered, correction.steps, correction.reason, values
