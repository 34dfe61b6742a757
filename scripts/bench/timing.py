"""The least of some wall times, and the number of threads that they are of."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

_STARTED = time.perf_counter()


def once(action: Callable[[], object]) -> float:
    """Return the seconds that an action takes, run once."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def least(action: Callable[[], object], repeats: int = 3, budget: float = 5.0, warm: bool = True) -> float:
    """Return the least of some wall times in seconds: other processes make a time longer, never shorter.

    Args:
        action: What to time.
        repeats: The most times it is timed.
        budget: Seconds after which it is not timed again.
        warm: Whether it runs once more, untimed, before.
    """
    if warm:
        action()
    times: list[float] = []
    while not times or (len(times) < repeats and sum(times) < budget):
        times.append(once(action))
    return min(times)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Use so many threads of torch inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def say(text: str) -> None:
    """Print a line of progress, with the seconds since the bench began."""
    print(f"[{time.perf_counter() - _STARTED:5.0f} s] {text}", flush=True)
