"""Runs on disk: nothing lost, nothing half-written, nothing taken for what it is not.

A run is a folder `runs/<run_id>/` with `run.json` (the header), `rows.jsonl` (one row a line) and their checksums,
`SHA256SUMS`. While it is being made the folder is `<run_id>.partial`; the rename at the end is what makes it complete.
Rows of a partial run survive a kill. A failure is kept apart as `<run_id>.failed.json`. A run that is not what its
header and checksums say is never used: it is put aside as `<run_id>.damaged-1` when it is made again.
"""

import contextlib
import json
import logging
import shutil
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.records.checks import check_header, checked
from experiments.records.claims import Claim, claim_in, claimed
from experiments.records.files import BusyError, writable, write
from experiments.records.schema import Header, RecordError, Run, header_in, row_in
from experiments.records.sums import Sums, read, read_sums
from experiments.records.writer import FAILED, HEADER, PARTIAL, ROWS, Writer, aside

log = logging.getLogger(__name__)

LOCK, SHARDS, PRESETS, PLANS = ".lock", ".shards", "presets.", "plan."  # what else is beside the runs
Stamp = tuple[tuple[int, int, int], ...]


class Store:
    """Runs in a folder, complete ones and partial ones."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._looked_at: dict[str, tuple[Stamp, str | None]] = {}

    def finished(self, run_id: str) -> bool:
        """Return whether the run is complete and what it says it is."""
        return (self.root / run_id).is_dir() and self.fault(run_id) is None

    def fault(self, run_id: str) -> str | None:
        """Return why what is in the place of a complete run is none, in a sentence; None for a sound run or nothing.

        A run without checksums is held to the number of its rows here, and to everything else by `read`.
        """
        folder = self.root / run_id
        if not folder.exists():
            return None
        stamp = _stamp(folder)
        seen, fault = self._looked_at.get(run_id, (None, None))
        if seen != stamp:
            fault = self._fault(run_id)
            self._looked_at[run_id] = stamp, fault
        return fault

    def _fault(self, run_id: str) -> str | None:
        try:
            header, sums = self._header(run_id)
            path = self.root / run_id / ROWS
            content = read(path, sums)
            count = content.count(b"\n")
            if count != header.samples:
                return f"{path} has {count} rows of {header.samples}"
        except RecordError as error:
            return str(error)
        return None

    def faults(self) -> list[str]:
        """Return a sentence for each thing in the folder that is neither a sound run nor beside one."""
        found = []
        for path in sorted(self.root.iterdir()) if self.root.is_dir() else []:
            if path.is_dir() and "." not in path.name:
                found.append(self.fault(path.name))
            elif not _is_known(path.name):
                found.append(f"{path} is no run")
        return [fault for fault in found if fault]

    def done_rows(self, run_id: str) -> int:
        """Return how many rows the run has so far, complete or not."""
        if self.finished(run_id):
            return self.header(run_id).samples
        rows = 0
        with contextlib.suppress(OSError):
            rows = (self.root / f"{run_id}{PARTIAL}" / ROWS).read_bytes().count(b"\n")
        parts = self.parts(run_id)
        return rows + sum(parts.done_rows(name) for name in parts.names())

    def parts(self, run_id: str) -> "Store":
        """Return the store of a run's parts, which has them by the name of their shard (`records.shards`)."""
        return Store(self.root / f"{run_id}{SHARDS}")

    def names(self) -> list[str]:
        """Return what is complete here, begun or being written, by name."""
        names = (path.name for path in self.root.iterdir()) if self.root.is_dir() else ()
        endings = (PARTIAL, LOCK)
        known = {
            name.removesuffix(ending) for name in names for ending in ("", *endings) if name.endswith(ending)
        }
        return sorted(name for name in known if "." not in name)

    def claims(self, run_id: str) -> dict[str, Claim]:
        """Read who is making a run, by the empty name, and parts of it, by theirs; of those that are gone, too."""
        parts, found = self.parts(run_id), {"": claim_in(self.root / f"{run_id}{LOCK}")}
        found |= {name: claim_in(parts.root / f"{name}{LOCK}") for name in parts.names()}
        return {name: claim for name, claim in found.items() if claim}

    def header(self, run_id: str) -> Header:
        """Read the header of a complete run.

        Raises:
            RecordError: It is not what was written.
        """
        return self._header(run_id)[0]

    def _header(self, run_id: str) -> tuple[Header, Sums | None]:
        """Return the header of a complete run, and the checksums it has been held to."""
        path = self.root / run_id / HEADER
        sums = read_sums(path.parent)
        content = read(path, sums)
        try:
            header = header_in(content)
            if header.run_id != run_id:
                raise RecordError(f"it is of run {header.run_id}")
            if sums is None:
                check_header(header)
        except RecordError as error:
            raise RecordError(f"{path}: {error}") from error
        return header, sums

    def read(self, run_id: str) -> Run:
        """Read a complete run.

        Raises:
            RecordError: It is not what its header and its checksums say.
        """
        header, sums = self._header(run_id)
        path = self.root / run_id / ROWS
        lines = read(path, sums).splitlines()
        return checked(header, lambda: list(map(row_in, lines)), str(path), sums is not None)

    def complete(self) -> list[str]:
        """Return the ids of the complete runs, in order."""
        folders = sorted(self.root.iterdir()) if self.root.is_dir() else []
        return [path.name for path in folders if "." not in path.name and self.finished(path.name)]

    def headers(self) -> Iterator[Header]:
        """Read the header of every complete run of this schema; those of another one stay where they are."""
        yield from map(self.header, self.complete())

    def begun(self, run_id: str) -> Header | None:
        """Return the header of a partial run; None where there is none that can be read."""
        with contextlib.suppress(RecordError):
            return header_in(read(self.root / f"{run_id}{PARTIAL}" / HEADER))
        return None

    def discard(self, run_id: str) -> None:
        """Remove a run, complete or partial, for example one made with another N0.

        Raises:
            BusyError: Another process is writing it, or a part of it.
        """
        parts = self.parts(run_id)
        with contextlib.ExitStack() as held:
            held.enter_context(self._held(run_id))
            for name in parts.names():
                held.enter_context(parts._held(name))
            for ending in ("", PARTIAL, SHARDS):
                shutil.rmtree(self.root / f"{run_id}{ending}", ignore_errors=True)

    def fail(self, run_id: str, spec: dict[str, Any], error: BaseException) -> Path:
        """Keep a failure with its traceback; return where.

        Raises:
            RecordError: It cannot be written.
        """
        path = self.root / f"{run_id}{FAILED}"
        text = "".join(traceback.format_exception(error))
        content = json.dumps({"run_id": run_id, "spec": spec, "traceback": text}, indent=1) + "\n"
        write(path, content.encode())
        return path

    def failed(self, run_id: str) -> bool:
        """Return whether there is a record of a failure of the run."""
        return (self.root / f"{run_id}{FAILED}").exists()

    def failure(self, run_id: str) -> tuple[str, float]:
        """Return the last line of a failure's traceback, and when it was; the line is empty where it cannot be read."""
        path = self.root / f"{run_id}{FAILED}"
        with contextlib.suppress(OSError, ValueError, LookupError, AttributeError):
            text = json.loads(path.read_bytes())["traceback"]
            return str(text).strip().splitlines()[-1], path.stat().st_mtime
        return "", 0.0

    def forgive(self, run_id: str) -> None:
        """Remove the record of a run's failure: it is about to be tried again."""
        (self.root / f"{run_id}{FAILED}").unlink(missing_ok=True)

    def failures(self) -> list[Path]:
        """Return the failure records."""
        return sorted(self.root.glob(f"*{FAILED}"))

    @contextlib.contextmanager
    def writing(self, header: Header) -> Iterator[Writer]:
        """Open a run to append rows to; the writer holds the rows that an earlier attempt left.

        What is in the run's place and is no sound run is put aside.

        Raises:
            BusyError: Another process is writing it, or has just completed it.
            RecordError: It cannot be written.
        """
        run_id = header.run_id
        with self._held(run_id):
            if self.finished(run_id):
                raise BusyError(f"run {run_id} has just been completed by another process")
            self._clear(run_id)
            writer = Writer(self.root / f"{run_id}{PARTIAL}", header)
            try:
                yield writer
            finally:
                writer.close()
            if (self.root / run_id).is_dir():
                shutil.rmtree(self.root / f"{run_id}{SHARDS}", ignore_errors=True)

    @contextlib.contextmanager
    def _held(self, run_id: str) -> Iterator[None]:
        """Keep other processes from writing a run inside the block."""
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(claimed(self.root / f"{run_id}{LOCK}"))
            except BusyError as error:
                raise BusyError(f"run {run_id} is being written by another process") from error
            yield

    def _clear(self, run_id: str) -> None:
        """Put aside what is in a run's place."""
        fault = self.fault(run_id)
        if fault is not None:
            place = aside(self.root / run_id)
            with writable(place):
                (self.root / run_id).rename(place)
            log.warning("%s: it is now %s, the run is made again", fault, place)


def _stamp(folder: Path) -> Stamp:
    """Return a stamp that changes when a file of a folder does."""
    if not folder.is_dir():
        return ((0, 0, 0),)
    states = [entry.stat() for entry in sorted(folder.iterdir())]
    return tuple((state.st_ino, state.st_mtime_ns, state.st_size) for state in states)


def _is_known(name: str) -> bool:
    """Return whether a name is that of something beside the runs: a failure, a lock, a list of presets, a plan."""
    return (
        name.endswith((FAILED, LOCK, PARTIAL, SHARDS, ".writing"))
        or ".damaged-" in name
        or name.startswith((PRESETS, PLANS))
    )
