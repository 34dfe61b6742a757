"""Who is making a run: a lock file that names its process, with a heartbeat.

The system's lock keeps two processes apart, on one machine and wherever a shared disk passes locks on. A disk that
does not pass them on has the heartbeat: a file of another machine that has had one lately is taken for held. For that
the clocks have to agree to within a minute.
"""

import contextlib
import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from experiments.records.files import BusyError, taken, writable

HOST = platform.node()
BEAT = 10.0  # seconds between two heartbeats
LOST = 120.0  # seconds without one after which nobody is there any more


@dataclass(frozen=True)
class Claim:
    """What a lock file says of the process that holds it.

    Attributes:
        host: Name of its machine.
        pid: Its number there.
        since: When it took the lock, in seconds of Unix time.
        beat: Its last heartbeat, likewise.
    """

    host: str
    pid: int
    since: float
    beat: float

    @property
    def alive(self) -> bool:
        """Whether the process is there, as far as this machine can tell."""
        return time.time() - self.beat < LOST and (self.host != HOST or is_alive(self.pid))


def is_alive(process: int) -> bool:
    """Return whether this machine has a process of that number that has not ended."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    with contextlib.suppress(OSError):  # Linux alone tells those that their parent has not asked about yet
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True


def claim_in(path: Path) -> Claim | None:
    """Read a lock file; None where there is none, or one that names nobody."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Claim(**json.loads(path.read_bytes()), beat=path.stat().st_mtime)
    return None


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Hold a lock file that names this process inside the block; the system gives it back if the process is killed.

    Args:
        path: Of the lock file, which goes at the end.

    Raises:
        BusyError: Another process holds it.
        RecordError: It cannot be written.
    """
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = taken(path, wait=False)
        there = claim_in(path)
        if there and there.host != HOST and there.alive:
            os.close(lock)
            raise BusyError(f"{path} is held by process {there.pid} of {there.host}")
        mine = {"host": HOST, "pid": os.getpid(), "since": time.time()}
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps(mine).encode(), 0)
    ended = Event()
    heart = Thread(target=_beat, args=(path, ended), daemon=True)
    heart.start()
    try:
        yield
    finally:
        ended.set()
        heart.join()
        path.unlink(missing_ok=True)
        os.close(lock)


def _beat(path: Path, ended: Event) -> None:
    while not ended.wait(BEAT):
        with contextlib.suppress(OSError):
            os.utime(path)
