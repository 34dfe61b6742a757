"""One run, from its specification to a complete folder in the store."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from bgd.records import Header, Measurement, Row
from bgd.settings import ReplayError
from bgd.store import Store, Writer
from experiments.arithmetic import held
from experiments.spec import RunSpec
from experiments.workbench import Workbench, Workshop

log = logging.getLogger(__name__)

EVERY = 10.0  # seconds between two lines of progress


def store_of(output: Path) -> Store:
    """Return the store of runs under an output folder."""
    return Store(output / "runs")


def execute(spec: RunSpec, workshop: Workshop) -> Header:
    """Run what is not there yet and return the header of the complete run.

    A finished run made with the same N0 is left as it is; an interrupted one goes on. What fails is kept in the
    store with its traceback and raised again.
    """
    store = store_of(workshop.place.output)
    try:
        bench = workshop.bench(spec)
        header = bench.header(spec)
        if store.finished(spec.run_id):
            kept = store.header(spec.run_id)
            if kept.base["sha256"] == header.base["sha256"]:
                log.info("cached: %s (%s)", spec.title, spec.run_id)
                return kept
            log.warning("run %s was made with another N0: running it again", spec.run_id)
            store.discard(spec.run_id)
        if not header.samples:
            log.warning("N0 gets no test image wrong: nothing to correct, the run is empty")
        with store.writing(header) as writer:
            _write(spec, bench, writer)
    except Exception as error:
        log.error("failed: %s, see %s", spec.title, store.fail(spec.run_id, spec.identity, error))
        raise
    return store.header(spec.run_id)


def _write(spec: RunSpec, bench: Workbench, writer: Writer) -> None:
    started = time.perf_counter()
    stage, device = bench.stage(spec), bench.place.device
    done = list(writer.rows)
    if done:
        log.info("going on: %s, %d of %d samples are done", spec.title, len(done), len(stage.samples))
    progress = Progress(spec.title, len(done), len(stage.samples))
    try:
        for row in held(stage.rows(done), device):
            writer.append(row)
            progress.step()
    except ReplayError as error:
        log.warning("cannot go on (%s): %s starts anew", error, spec.title)
        writer.restart()
        stage = bench.stage(spec)
        for row in held(stage.rows(), device):
            writer.append(row)
    seconds = sum(map(_seconds, writer.rows))
    writer.complete({"retained": stage.retained(), "seconds": round(seconds, 3)})
    log.info("done: %s in %.1f s: %s", spec.title, time.perf_counter() - started, outcome(writer.rows))


def _seconds(row: Row | Measurement) -> float:
    return row.seconds if isinstance(row, Measurement) else row.search_seconds + row.evaluation_seconds


def outcome(rows: Sequence[Row | Measurement]) -> str:
    """Return how many samples came out how, in words."""
    found = [getattr(row, "outcome", "measured") for row in rows]
    return (
        ", ".join(f"{found.count(kind)} {kind.replace('_', ' ')}" for kind in dict.fromkeys(found))
        or "no samples"
    )


class Progress:
    """Says now and then how far a run is and when it will end."""

    def __init__(self, title: str, done: int, total: int) -> None:
        self._title, self._first, self._done, self._total = title, done, done, total
        self._started = self._said = time.perf_counter()

    def step(self) -> None:
        """Count a sample."""
        self._done += 1
        now = time.perf_counter()
        if now - self._said < EVERY:
            return
        self._said = now
        each = (now - self._started) / (self._done - self._first)
        left = each * (self._total - self._done)
        log.info("%s: %d of %d samples, %.0f s left", self._title, self._done, self._total, left)
