"""One run, from its specification to a complete folder in the store."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from experiments.config.spec import RunSpec
from experiments.jobs.arithmetic import held
from experiments.jobs.stale import SOURCES, renew, stale
from experiments.jobs.workbench import Workbench, Workbenches
from experiments.protocol.probes.survey import Survey
from experiments.protocol.resume import ReplayError
from experiments.protocol.settings import Stage
from experiments.protocol.snapshot import Snapshot, StateError
from experiments.records.files import BusyError
from experiments.records.schema import Header, Measurement, RecordError, Row
from experiments.records.shards import Shard, check_splits, merged
from experiments.records.store import Store
from experiments.records.writer import Writer

log = logging.getLogger(__name__)

EVERY = 10.0  # seconds between two lines of progress
AT_MOST, SHARE = 1.0, 0.02  # seconds between two snapshots, but no more than this share of the time for them


def store_of(output: Path) -> Store:
    """Return the store of runs under an output folder."""
    return Store(output / "runs")


def execute(
    spec: RunSpec, workbenches: Workbenches, anew: str | None = None, shard: Shard | None = None
) -> Header | None:
    """Run what is not there yet; return the header of the complete run, None where parts of it are still missing.

    A finished run made with the same N0 is left as it is; an interrupted one goes on. What fails is kept in the
    store with its traceback and raised again.

    Args:
        spec: The run.
        workbenches: Where its network is found.
        anew: Which of `experiments.jobs.stale.WHICH` are made again though they are there; None for none.
        shard: The part of it to make; the last one that is made completes the run. None for all of it.

    Raises:
        BusyError: Another process is making the run, or this part of it.
        ConfigError: The run has no parts.
    """
    store = store_of(workbenches.place.output)
    if shard:
        check_splits(spec.identity, shard)
    renew([spec], store, anew)
    try:
        _make(spec, workbenches.bench(spec), store, shard)
    except BusyError:
        if not store.finished(spec.run_id):  # else the other process was done in the meantime
            raise
    except Exception as error:
        log.error("failed: %s, %s", spec.title, _noted(store, spec, error))
        raise
    return store.header(spec.run_id) if store.finished(spec.run_id) else None


def _make(spec: RunSpec, bench: Workbench, store: Store, shard: Shard | None) -> None:
    header = bench.header(spec)
    there = _is_there(spec, store, header)
    _warn_of_other_source(spec, store)
    if there:
        return
    if not header.samples:
        log.warning("N0 gets no test image wrong: nothing to correct, the run is empty")
    if shard is None:
        _complete(spec, bench, store, header)
        return
    parts, part = store.parts(spec.run_id), shard.header(header)
    if not _is_there(spec, parts, part):
        _complete(spec, bench, parts, part, shard)
    _merge(store, header, parts, shard.count)


def _is_there(spec: RunSpec, store: Store, header: Header) -> bool:
    """Return whether a run, or a part of one, is complete and of the same N0; one of another is discarded."""
    if not store.finished(header.run_id):
        return False
    if store.header(header.run_id).base["sha256"] == header.base["sha256"]:
        log.info("cached: %s (%s)", spec.title, header.run_id)
        return True
    log.warning("run %s was made with another N0: running it again", header.run_id)
    store.discard(header.run_id)
    return False


def _complete(
    spec: RunSpec, bench: Workbench, store: Store, header: Header, shard: Shard | None = None
) -> None:
    """Make the rows that are not there yet of a run, or of a part of one."""
    with store.writing(header) as writer:
        if writer.rows and writer.begun:  # the hashes stay those of the first rows
            writer.header.provenance[SOURCES] = writer.begun.provenance.get(SOURCES)
        _write(spec, bench, writer, shard)


def _merge(store: Store, header: Header, parts: Store, count: int) -> None:
    """Make a run of its parts, if all are there and of its N0."""
    names = [shard.name for shard in Shard.every(count)]
    if not all(parts.finished(name) for name in names):
        return
    runs = [parts.read(name) for name in names]
    if any(run.header.base["sha256"] != header.base["sha256"] for run in runs):
        return
    with store.writing(header) as writer:
        earlier = [writer.begun] if writer.rows and writer.begun else []
        own = header.provenance[SOURCES]
        made_by = (one.provenance.get(SOURCES) for one in (*earlier, *(run.header for run in runs)))
        header.provenance[SOURCES] = next((sources for sources in made_by if sources != own), own)
        for row in merged(runs)[len(writer.rows) :]:
            writer.append(row)
        writer.complete(_summary(writer.rows, retained=None))
    log.info("merged: %s, of %d parts", header.run_id, count)


def _noted(store: Store, spec: RunSpec, error: Exception) -> str:
    """Keep a failure; return where, in words."""
    try:
        return f"see {store.fail(spec.run_id, spec.identity, error)}"
    except RecordError as second:
        return f"{error}; there is no record of it: {second}"


def _warn_of_other_source(spec: RunSpec, store: Store) -> None:
    paths = stale(spec, store)
    if paths:
        log.warning(
            "%s was %s by other source: %s; rerun=changed makes it again",
            spec.title, "made" if store.finished(spec.run_id) else "begun", ", ".join(paths),
        )  # fmt: skip


def _write(spec: RunSpec, bench: Workbench, writer: Writer, shard: Shard | None) -> None:
    started, title = time.perf_counter(), f"{spec.title}, shard {shard}" if shard else spec.title
    stage = _stage(spec, bench, shard)
    if writer.rows:
        log.info("going on: %s, %d of %d samples are done", title, len(writer.rows), len(stage.samples))
    try:
        _append(title, stage, writer, bench.place.device)
    except ReplayError as error:
        log.warning("cannot go on (%s): %s starts anew", error, title)
        writer.restart()
        stage = _stage(spec, bench, shard)
        _append(title, stage, writer, bench.place.device)
    writer.complete(_summary(writer.rows, stage.retained()))
    log.info("done: %s in %.1f s: %s", title, time.perf_counter() - started, outcome(writer.rows))


def _stage(spec: RunSpec, bench: Workbench, shard: Shard | None) -> Stage | Survey:
    """Return a run of all its samples, or of those of one shard, ready to begin."""
    stage = bench.stage(spec)
    return replace(stage, samples=shard.of(stage.samples)) if shard else stage


def _summary(rows: Sequence[Row | Measurement], retained: float | None) -> dict[str, float | None]:
    return {"retained": retained, "seconds": round(sum(map(_seconds, rows)), 3)}


def _append(title: str, stage: Stage | Survey, writer: Writer, device: str) -> None:
    """Append the rows that are not there yet."""
    done = list(writer.rows)
    progress, snapshots = Progress(title, len(done), len(stage.samples)), _Snapshots(stage, writer)
    for row in held(_rows(stage, done, snapshots.last()), device):
        writer.append(row)
        snapshots.step()
        progress.step()


def _rows(
    stage: Stage | Survey, done: list[Row | Measurement], saved: Snapshot | None
) -> Iterator[Row | Measurement]:
    if isinstance(stage, Stage):
        return stage.rows([row for row in done if isinstance(row, Row)], saved)
    return stage.rows(done)


def _seconds(row: Row | Measurement) -> float:
    if isinstance(row, Measurement):
        return row.seconds
    return row.search_seconds + (row.evaluation_seconds or 0)


def outcome(rows: Sequence[Row | Measurement]) -> str:
    """Return how many samples came out how, in words."""
    found = [getattr(row, "outcome", "measured") for row in rows]
    return (
        ", ".join(f"{found.count(kind)} {kind.replace('_', ' ')}" for kind in dict.fromkeys(found))
        or "no samples"
    )


class _Snapshots:
    """Keeps now and then what rows alone do not hold; it takes at most a `SHARE` of the time."""

    def __init__(self, stage: Stage | Survey, writer: Writer) -> None:
        self._stage = stage if isinstance(stage, Stage) else None
        self._writer, self._due = writer, time.perf_counter() + AT_MOST

    def last(self) -> Snapshot | None:
        """Return the snapshot that an earlier attempt kept."""
        kept = self._writer.state()
        return Snapshot.load(*kept) if kept else None

    def step(self) -> None:
        started = time.perf_counter()
        if self._stage is None or started < self._due:
            return
        try:
            snapshot = self._stage.snapshot(len(self._writer.rows))
        except StateError as error:
            log.warning("%s: interrupted corrections would be looked for again", error)
            self._stage = None
            return
        if snapshot is not None:
            self._writer.keep_state(snapshot.dump())
        now = time.perf_counter()
        self._due = now + max(AT_MOST, (now - started) / SHARE)


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
