"""Files that are whole or not there: written beside and renamed, held by one process at a time, told by checksum."""

import contextlib
import errno
import fcntl
import hashlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from experiments.records.schema import RecordError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class BusyError(RecordError):
    """Another process is at it."""


@contextlib.contextmanager
def writable(path: Path) -> Iterator[None]:
    """Turn what the system says of a write into a sentence with the path.

    Raises:
        RecordError: The system refuses: a full disk, a read-only folder.
    """
    try:
        yield
    except OSError as error:
        advice = "; what is finished is kept, make room and repeat" if error.errno in NO_ROOM else ""
        raise RecordError(f"{path} cannot be written: {error.strerror or error}{advice}") from error


def write(path: Path, content: bytes | memoryview) -> None:
    """Write a file that takes the place of `path` when it is on the disk: whole, or not at all.

    Raises:
        RecordError: It cannot be written.
    """
    # Other processes may write the same file, on a shared disk those of other machines.
    partial = path.with_name(f"{path.name}.{platform.node()}-{os.getpid()}.writing")
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)


def append(file: IO[bytes], content: bytes) -> None:
    """Write all of `content` to the end of an unbuffered file."""
    while content:
        content = content[file.write(content) :]


@contextlib.contextmanager
def locked(path: Path, wait: bool) -> Iterator[None]:
    """Hold a lock file inside the block; the system gives it back when the process ends, however it does.

    Args:
        path: Of the lock file, which goes at the end.
        wait: Whether to wait for a process that holds it.

    Raises:
        BusyError: Another process holds it, and `wait` is false.
        RecordError: It cannot be written.
    """
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = taken(path, wait)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(lock)


def taken(path: Path, wait: bool) -> int:
    """Return the descriptor of a locked file that is still the one at `path`; see `locked`."""
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if path.exists() and os.path.samestat(os.fstat(lock), path.stat()):
                return lock
        except BlockingIOError as error:
            os.close(lock)
            raise BusyError(f"{path} is held by another process") from error
        os.close(lock)  # who held it has removed it meanwhile


def sha256(content: bytes) -> str:
    """Return the SHA-256 of some bytes, in hex."""
    return hashlib.sha256(content).hexdigest()
