"""A run while it is being made: rows appended one by one, each with a checksum, until it is complete."""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.records.checks import check_figures, check_place
from experiments.records.files import append, sha256, writable, write
from experiments.records.schema import Header, Measurement, RecordError, Row, dump, header_in, row_in
from experiments.records.sums import SUMS, read, write_sums

log = logging.getLogger(__name__)

HEADER, ROWS = "run.json", "rows.jsonl"
PARTIAL, FAILED = ".partial", ".failed.json"  # endings of names beside a run's own
ROW_SUMS = "rows.sums"  # of a partial run: for each row, the start of the SHA-256 of everything up to its end
STATE = "state"  # of a partial run: what it needs to go on that its rows do not hold


def aside(folder: Path) -> Path:
    """Return where a damaged folder, or a part of it, is put aside: beside it, under a number of its own."""
    number, name = 1, folder.name.removesuffix(PARTIAL)
    while (place := folder.with_name(f"{name}.damaged-{number}")).exists():
        number += 1
    return place


class Writer:
    """Appends rows to a partial run and makes it complete.

    Args:
        folder: Of the partial run, which nobody else writes to; it may hold an earlier attempt.
        header: Of the run.

    Attributes:
        header: Of the run.
        rows: Every row so far, those of an earlier attempt included.
        begun: The header of that attempt; None where this is the first.
    """

    def __init__(self, folder: Path, header: Header) -> None:
        self._folder, self.header = folder, header
        self._rows, self._sums = folder / ROWS, folder / ROW_SUMS
        with writable(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self.rows: list[Row | Measurement] = []
        self._marks: list[str] = []
        self._total = hashlib.sha256()
        self.begun = self._attempt()
        self._recover()
        with writable(self._rows):
            self._row_file = self._rows.open("ab", buffering=0)
            self._sum_file = self._sums.open("ab", buffering=0)

    def _attempt(self) -> Header | None:
        """Return the header of an earlier attempt with the same N0; rows of another one are put aside."""
        path, header = self._folder / HEADER, None
        try:
            header = header_in(read(path))
            if header.base != self.header.base:
                raise RecordError("it is of another N0")
        except RecordError as error:
            header = None
            if self._rows.exists() and self._rows.stat().st_size:
                log.warning("%s: %s; the run starts anew, its rows are in %s", path, error, self._put_aside())
        if header is None:
            for name in (ROWS, ROW_SUMS, STATE):
                (self._folder / name).unlink(missing_ok=True)
            write(path, dump(self.header).encode())
        return header

    def _recover(self) -> None:
        """Take over the sound rows of an earlier attempt; what follows them is cut off, and put aside unless torn."""
        if not self._rows.exists():
            return
        content = read(self._rows)
        whole = content[: content.rfind(b"\n") + 1]
        kept = b""
        try:
            for line, row in self._sound(whole):
                self._count(line)
                self.rows.append(row)
                kept += line
        except RecordError as error:
            log.warning(
                "%s: %s; the %d rows before it stay, the others are in %s",
                self._rows, error, len(self.rows), self._put_aside(),
            )  # fmt: skip
        if kept != content:
            write(self._rows, kept)
        write(self._sums, "".join(f"{mark}\n" for mark in self._marks).encode())

    def _sound(self, content: bytes) -> Iterator[tuple[bytes, Row | Measurement]]:
        """Yield the lines and rows of a partial run.

        Raises:
            RecordError: A line is not what was written.
        """
        marks = read(self._sums).decode(errors="replace").split() if self._sums.exists() else None
        lines, seen, total = content.splitlines(keepends=True), set[int](), hashlib.sha256()
        for place, line in enumerate(lines):
            total.update(line)
            if marks is not None and marks[place : place + 1] != [_mark(total.hexdigest())]:
                if place == len(marks) == len(lines) - 1:
                    return  # the process ended between the row and its checksum
                raise RecordError(f"line {place + 1} is not what was written")
            try:
                row = row_in(line)
                check_place(self.header, place, row, seen)
                if marks is None:
                    check_figures(self.header, [row])
            except RecordError as error:
                raise RecordError(f"line {place + 1}: {error}") from error
            yield line, row

    def _count(self, line: bytes) -> None:
        self._total.update(line)
        self._marks.append(_mark(self._total.hexdigest()))

    def _put_aside(self) -> Path:
        """Keep the rows as they are under another name, and return it."""
        place = aside(self._folder)
        write(place / ROWS, read(self._rows))
        return place / ROWS

    def append(self, row: Row | Measurement) -> None:
        """Add one row; it is on its way to the disk when this returns.

        Raises:
            RecordError: It cannot be written.
        """
        line = dump(row).encode()
        with writable(self._rows):
            append(self._row_file, line)
            self._count(line)
            append(self._sum_file, f"{self._marks[-1]}\n".encode())
        self.rows.append(row)

    def restart(self) -> None:
        """Put the rows of an earlier attempt aside and begin anew."""
        if self.rows:
            log.warning("the rows so far are in %s", self._put_aside())
        with writable(self._rows):
            self._row_file.truncate(0)
            self._sum_file.truncate(0)
        (self._folder / STATE).unlink(missing_ok=True)
        self.rows.clear()
        self._marks.clear()
        self._total = hashlib.sha256()

    def keep_state(self, content: bytes) -> None:
        """Keep what the run needs to go on after the rows so far, in the place of what was kept before."""
        head = json.dumps([len(self.rows), (self._marks or [""])[-1], sha256(content)])
        write(self._folder / STATE, head.encode() + b"\n" + content)

    def state(self) -> tuple[int, bytes] | None:
        """Return the state that `keep_state` kept and after how many rows; None where there is none for these rows."""
        path = self._folder / STATE
        if not path.exists():
            return None
        head, _, content = read(path).partition(b"\n")
        try:
            count, mark, total = json.loads(head)
            if total == sha256(content) and mark == ("", *self._marks)[count]:
                return count, content
        except (ValueError, TypeError, IndexError):
            pass
        log.warning("%s is not of these rows, or damaged: it is left out", path)
        return None

    def complete(self, summary: dict[str, Any]) -> None:
        """Write the header with its summary and the checksums, and make the run complete.

        Raises:
            RecordError: Rows are missing, or it cannot be written.
        """
        if len(self.rows) != self.header.samples:
            raise RecordError(f"run {self.header.run_id} has {len(self.rows)} rows of {self.header.samples}")
        with writable(self._folder):
            os.fsync(self._row_file.fileno())
            write(self._folder / HEADER, dump(replace(self.header, summary=summary)).encode())
            write_sums(self._folder, (HEADER, ROWS))
            for path in self._folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name not in (HEADER, ROWS, SUMS):
                    path.unlink()
            run = self._folder.with_name(self.header.run_id)
            self._folder.rename(run)
            run.with_name(f"{run.name}{FAILED}").unlink(missing_ok=True)

    def close(self) -> None:
        """Close the files; what was appended stays."""
        self._row_file.close()
        self._sum_file.close()


def _mark(digits: str) -> str:
    return digits[:16]
