"""Notes and progress on stderr: nothing of it is part of a command's answer."""

import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bgd.errors import first_line
from bgd.progress import Loop, observed

EVERY = 5.0  # seconds before the first line of progress, and between two


def note(text: str) -> None:
    """Say something beside the answer."""
    print(f"bgd: {text}", file=sys.stderr, flush=True)


@contextmanager
def noted_warnings() -> Iterator[None]:
    """Say warnings as notes inside the block, but those about what software beneath is going to change."""
    with warnings.catch_warnings():
        for kind in (DeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", kind)
        warnings.showwarning = lambda message, *rest, **more: note(first_line(Warning(message)))
        yield


@contextmanager
def progress() -> Iterator[None]:
    """Say every 5 seconds, while the block runs, how far it is and about how long it still takes."""
    over, started = threading.Event(), time.monotonic()
    with observed() as loops:

        def say() -> None:
            while not over.wait(EVERY):
                note(line(list(loops), time.monotonic(), started))

        thread = threading.Thread(target=say, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def line(loops: Sequence[Loop], now: float, started: float) -> str:
    """Return how far the outermost loop is that has made a step, with an estimate; else how long it has been."""
    loop = next((each for each in loops if each.done), None)
    if loop is None:
        what = f"{loops[-1].what}: " if loops else ""
        return f"{what}{_time(now - started)} so far"
    gone = now - loop.started
    left = gone * (loop.total - loop.done) / loop.done
    return f"{loop.what}: {loop.done:,} of {loop.total:,} in {_time(gone)}, about {_time(left)} left"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
