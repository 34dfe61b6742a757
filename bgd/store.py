"""Runs on disk: nothing lost, nothing half-written.

A run is a folder `runs/<run_id>/` with `run.json` (the header) and `rows.jsonl` (one row a line). While it is
being made the folder is `<run_id>.partial`; the rename at the end is what makes it complete. Rows of a partial
run survive a kill. A failure is kept apart as `<run_id>.failed.json`.
"""

import contextlib
import fcntl
import json
import os
import shutil
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bgd.records import Header, Measurement, RecordError, Row, Run, dump, header_from, row_from


class Store:
    """Runs in a folder, complete ones and partial ones."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def finished(self, run_id: str) -> bool:
        """Return whether the run is complete."""
        return (self.root / run_id).is_dir()

    def done_rows(self, run_id: str) -> int:
        """Return how many rows the run has so far, complete or not."""
        for folder in (self.root / run_id, self.root / f"{run_id}.partial"):
            with contextlib.suppress(FileNotFoundError):
                return (folder / "rows.jsonl").read_bytes().count(b"\n")
        return 0

    def header(self, run_id: str) -> Header:
        """Read the header of a complete run."""
        return header_from(json.loads((self.root / run_id / "run.json").read_text()))

    def read(self, run_id: str) -> Run:
        """Read a complete run."""
        lines = (self.root / run_id / "rows.jsonl").read_text().splitlines()
        return Run.of(self.header(run_id), (row_from(json.loads(line)) for line in lines))

    def complete(self) -> list[str]:
        """Return the ids of the complete runs, in order."""
        folders = sorted(self.root.iterdir()) if self.root.is_dir() else []
        return [folder.name for folder in folders if folder.is_dir() and "." not in folder.name]

    def headers(self) -> Iterator[Header]:
        """Read the header of every complete run of this schema; those of another one stay where they are."""
        for run_id in self.complete():
            with contextlib.suppress(RecordError):
                yield self.header(run_id)

    def discard(self, run_id: str) -> None:
        """Remove a run, complete or partial, for example one made with another N0."""
        for folder in (self.root / run_id, self.root / f"{run_id}.partial"):
            shutil.rmtree(folder, ignore_errors=True)

    def fail(self, run_id: str, spec: dict[str, Any], error: BaseException) -> Path:
        """Keep a failure with its traceback; return where."""
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / f"{run_id}.failed.json"
        text = "".join(traceback.format_exception(error))
        path.write_text(json.dumps({"run_id": run_id, "spec": spec, "traceback": text}, indent=1) + "\n")
        return path

    def failures(self) -> list[Path]:
        """Return the failure records."""
        return sorted(self.root.glob("*.failed.json"))

    @contextlib.contextmanager
    def writing(self, header: Header) -> Iterator["Writer"]:
        """Open a run to append rows to; the writer holds the rows that an earlier attempt left.

        Raises:
            RecordError: Another process is writing it.
        """
        folder = self.root / f"{header.run_id}.partial"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RecordError(f"run {header.run_id} is being written by another process") from error
            writer = Writer(self, folder, header)
            try:
                yield writer
            finally:
                writer.close()


class Writer:
    """Appends rows to a partial run and makes it complete.

    Attributes:
        rows: Every row so far, those of an earlier attempt included.
    """

    def __init__(self, store: Store, folder: Path, header: Header) -> None:
        self._store, self._folder, self._header = store, folder, header
        self.rows = self._recover(folder / "rows.jsonl", folder / "run.json")
        self._file = (folder / "rows.jsonl").open("a")

    def _recover(self, rows: Path, header: Path) -> list[Row | Measurement]:
        """Return the whole rows of an earlier attempt with the same N0, and cut off a torn last line."""
        same = False
        with contextlib.suppress(FileNotFoundError, ValueError, RecordError):
            same = header_from(json.loads(header.read_text())).base == self._header.base
        if not same:
            rows.unlink(missing_ok=True)
            header.write_text(dump(self._header))
            return []
        with contextlib.suppress(FileNotFoundError):
            content = rows.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            if whole != content:
                rows.write_bytes(whole)
            return [row_from(json.loads(line)) for line in whole.splitlines()]
        return []

    def append(self, row: Row | Measurement) -> None:
        """Add one row; it is on its way to the disk when this returns."""
        self._file.write(dump(row))
        self._file.flush()
        self.rows.append(row)

    def restart(self) -> None:
        """Forget the rows of an earlier attempt."""
        self._file.truncate(0)
        self.rows.clear()

    def complete(self, summary: dict[str, Any]) -> None:
        """Write the header with its summary and make the run complete."""
        os.fsync(self._file.fileno())
        header = Header(**{**vars(self._header), "summary": summary})
        partial = self._folder / "run.json.partial"
        partial.write_text(dump(header))
        partial.replace(self._folder / "run.json")
        (self._folder / "lock").unlink(missing_ok=True)
        self._folder.rename(self._store.root / self._header.run_id)
        (self._store.root / f"{self._header.run_id}.failed.json").unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; what was appended stays."""
        self._file.close()
