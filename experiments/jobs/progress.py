"""How far the runs of `make reproduce` are, and afterwards where the time went."""

import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from experiments.jobs.costs import Kind, Planned, cost_of_sample, samples_in, seconds_per_sample
from experiments.records.schema import Header, subject
from experiments.records.store import Store

log = logging.getLogger(__name__)

SAY_EVERY = 15.0  # seconds between two lines of progress
SHOWN = 8  # kinds of runs that took longest


def log_to_console(level: int = logging.INFO) -> None:
    """Print what is logged, with the time."""
    logging.basicConfig(level=level, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)


class Progress:
    """Says how far all runs are, by the rows on disk weighted with what a row costs."""

    def __init__(self, todo: Sequence[Planned], output: Path, costs: dict[Kind, float]) -> None:
        self._todo, self._store, self._costs = todo, Store(output / "runs"), costs
        self._before = {spec.run_id: self._store.done_rows(spec.run_id) for spec in todo}
        self._started = self._said = time.perf_counter()

    def say(self, done: int) -> None:
        """Say it, if the last time is a while ago or `done`, the number of runs that are over, is all of them."""
        now = time.perf_counter()
        if now - self._said < SAY_EVERY and done < len(self._todo):
            return
        self._said, elapsed = now, now - self._started
        costs = {**self._costs, **seconds_per_sample(self._store.headers())}  # those done by now tell more
        rows = {spec.run_id: self._store.done_rows(spec.run_id) for spec in self._todo}
        gone = left = 0.0
        for spec in self._todo:
            each = cost_of_sample(spec, costs)
            gone += each * (rows[spec.run_id] - self._before[spec.run_id])
            if not self._store.finished(spec.run_id):
                left += each * max(0, samples_in(spec) - rows[spec.run_id])
        eta = f", about {elapsed * left / gone / 60:.0f} min left" if gone and left else ""
        log.info(
            "%d of %d runs, %d samples, %.0f min gone%s",
            done, len(self._todo), sum(rows.values()), elapsed / 60, eta,
        )  # fmt: skip


class Stopwatch:
    """Tells at the end how long it took, and what of it which runs took."""

    def __init__(self) -> None:
        self._started, self._used = time.perf_counter(), _core_seconds()

    def text(self, headers: Iterable[Header]) -> str:
        """Return the time since this was made, and that of the runs made since, the longest kinds first.

        Workers count once they have ended.
        """
        wall, used = time.perf_counter() - self._started, _core_seconds() - self._used
        return "\n".join([f"took {_words(wall)}, {used:.0f} core-seconds", *_longest(headers)])


def _core_seconds() -> float:
    """Return the seconds of one core that this process and its ended children have used."""
    return sum(os.times()[:4])


def _words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _longest(headers: Iterable[Header]) -> Iterator[str]:
    spent: Counter[tuple[str, str, str]] = Counter()
    for header in headers:
        spent[subject(header.spec)] += header.summary["seconds"]
    total = sum(spent.values()) or 1.0
    longest = spent.most_common(SHOWN)
    for (network, setting, method), seconds in longest:
        yield f"  {network:8} {setting:14} {method:16} {seconds:7.1f} s {seconds / total:5.0%}"
    rest = total - sum(seconds for _, seconds in longest)
    if len(spent) > SHOWN:
        yield f"  {f'the other {len(spent) - SHOWN} kinds':40} {rest:7.1f} s {rest / total:5.0%}"
