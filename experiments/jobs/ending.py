"""How a command ends: in one sentence and an exit status, never in a traceback where the machine or the user says why.

Without torch: `experiments.from_records` ends so, too.
"""

import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING

from bgd.errors import ConfigError, first_line
from experiments.mnist.errors import DataError
from experiments.records.files import NO_ROOM
from experiments.records.schema import RecordError

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

REFUSED = 2  # exit status: nothing is wrong with the program, something with what it was given
STOPPED, TERMINATED = 130, 143  # the shell's numbers for SIGINT and SIGTERM
AGAIN = 0.05  # seconds until a stop that Python dropped is sent once more

REFUSALS: tuple[type[Exception], ...] = (ConfigError, RecordError, DataError)
NO_PLACE = (
    *NO_ROOM, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.EEXIST,
    errno.ENAMETOOLONG, errno.EIO,
)  # fmt: skip
NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
)  # torch raises RuntimeError for these


class Terminated(KeyboardInterrupt):
    """SIGTERM came: the same as Ctrl-C, but for the exit status."""


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Raise `Terminated` where SIGTERM finds the block; neither it nor Ctrl-C is lost there.

    Python drops what is raised while an object is finalized, and a signal may come just then: it is sent once more.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated

    def dropped(what: "UnraisableHookArgs") -> None:
        if not issubclass(what.exc_type, KeyboardInterrupt):
            shown(what)
            return
        number = signal.SIGTERM if issubclass(what.exc_type, Terminated) else signal.SIGINT
        again = threading.Timer(AGAIN, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()

    before, shown = signal.signal(signal.SIGTERM, stop), sys.unraisablehook
    sys.unraisablehook = dropped
    try:
        yield
    finally:
        sys.unraisablehook = shown
        signal.signal(signal.SIGTERM, before)


def ended(command: Callable[[], int], refusals: tuple[type[Exception], ...] = REFUSALS) -> int:
    """Do a command and return its exit status; where it is refused or stopped, say so on the error stream.

    Args:
        command: Gives the exit status of a command that ran to its end.
        refusals: Errors whose message is for the user. One with a `status` gives the exit status, else it is 2.
    """
    try:
        with terminable():
            return command()
    except (Exception, KeyboardInterrupt) as error:
        stop = interrupt_in(error)
        if stop is not None:
            print("stopped: the rows so far are kept, the same command goes on from there", file=sys.stderr)
            return TERMINATED if isinstance(stop, Terminated) else STOPPED
        sentence = str(error) if isinstance(error, refusals) else complaint(error)
        if sentence is None:
            raise
        print(f"error: {sentence}", file=sys.stderr)
        return int(getattr(error, "status", REFUSED))


def complaint(error: BaseException) -> str | None:
    """Return an error of the machine in a sentence: no room, no place, no memory; None for any other."""
    for cause in _chain(error):
        if isinstance(cause, OSError) and cause.errno in (NO_PLACE if cause is error else NO_ROOM):
            where = f": {cause.filename}" if cause.filename else ""
            advice = "; what is finished is kept, make room and repeat" if cause.errno in NO_ROOM else ""
            return f"cannot read or write{where} ({cause.strerror}){advice}"
        if isinstance(cause, MemoryError) or any(words in str(cause) for words in NO_MEMORY):
            words = first_line(cause)
            return (
                f"not enough memory ({words}); a smaller network, fewer images or jobs, or a lower memory=GiB"
            )
    return None


def ends_everything(error: BaseException) -> bool:
    """Return whether whatever comes next would fail as well: a signal came, or the disk is full or read-only."""
    full = (*NO_ROOM, errno.EROFS)
    return interrupt_in(error) is not None or any(
        isinstance(cause, OSError) and cause.errno in full for cause in _chain(error)
    )


def interrupt_in(error: BaseException) -> KeyboardInterrupt | None:
    """Return the signal behind an error: what it leaves half done may raise an error of its own on the way out."""
    return next((cause for cause in _chain(error) if isinstance(cause, KeyboardInterrupt)), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it came from."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        yield cause
        cause = cause.__cause__ or cause.__context__
