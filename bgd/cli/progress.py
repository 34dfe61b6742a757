"""Notes and progress on stderr: nothing of it is part of a command's answer."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SILENT = 5.0  # seconds at the beginning in which nothing is said
EVERY = 5.0  # seconds between two lines

Clock = Callable[[], float]


def note(text: str) -> None:
    """Say something beside the answer."""
    print(f"bgd: {text}", file=sys.stderr, flush=True)


class Progress:
    """Says how far a piece of work is and about how long it still takes, once it takes longer than 5 seconds.

    Args:
        what: The work, in words.
        clock: Gives seconds.
    """

    def __init__(self, what: str, clock: Clock = time.monotonic) -> None:
        self._what, self._clock = what, clock
        self._started = self._said = clock()
        self._done = 0

    def __call__(self, done: int, total: int) -> None:
        """Say it, if the last time is a while ago: `done` of `total` parts are over; fewer than before begin anew."""
        now = self._clock()
        if done < self._done:
            self._started = self._said = now
        self._done = done
        if now - self._started < SILENT or now - self._said < EVERY or not done:
            return
        self._said, gone = now, now - self._started
        left = gone * (total - done) / done
        note(f"{self._what}: {done:,} of {total:,} in {_time(gone)}, about {_time(left)} left")


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say every 5 seconds how long the block has been at work, where nobody can say how much is left."""
    over, started = threading.Event(), time.monotonic()

    def say() -> None:
        while not over.wait(EVERY):
            note(f"{what}: {_time(time.monotonic() - started)} so far")

    thread = threading.Thread(target=say, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
