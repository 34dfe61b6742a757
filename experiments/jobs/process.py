"""How a process computes: its threads and its memory. A plan asks for the latter, so torch is imported late."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bgd.errors import ConfigError
from experiments.records.claims import is_alive

# Of a process that corrects and evaluates. With more, MKL splits the sums of a product among them and the last bits
# depend on how many there are. Its mode that prevents this (MKL_CBWR=AUTO,STRICT) is no way out: with it a product
# with one image's activations takes twice as long, and N0 comes out differently all the same.
THREADS = 1
SHARED = Path("/dev/shm")


def prepare(threads: int = THREADS) -> None:
    """Make this process compute with `threads` threads; `jobs.arithmetic` is settled by whatever computes."""
    import torch

    torch.set_num_threads(threads)


def machine_memory() -> int:
    """Return the bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def budget(memory: str | float) -> int:
    """Return how many bytes activations may be kept in: so many GiB, or for `auto` half of the machine's memory.

    Runs that leave N0 behind take up to half of it again.

    Raises:
        ConfigError: It is neither.
    """
    if memory == "auto":
        return machine_memory() // 2
    try:
        gigabytes = float(memory)
    except ValueError:
        gigabytes = -1.0
    if not 0 <= gigabytes < float("inf"):
        raise ConfigError(f"memory={memory!r}: must be auto or a number of GiB, 0 or above")
    return int(gigabytes * 2**30)


def core_threads() -> int:
    """Return how many threads use every core that this process may use, no more than OMP_NUM_THREADS where it is set.

    The bound is for a machine with other work on it: threads that outnumber the free cores spin while they wait for
    each other, and a training can take many times as long as with one.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    most = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return min(cores, int(most)) if most.isdecimal() and int(most) else cores


@contextlib.contextmanager
def every_core() -> Iterator[None]:
    """Use every core inside the block: to train N0, which all runs share, before any of them starts."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(core_threads())
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def shared_memory(jobs: int, memory: int) -> Iterator[Path | None]:
    """Yield a folder in memory where processes keep activations together; it is gone at the end.

    None where there is one process, or the machine has no such folder with so many bytes: each keeps its own then. What
    processes left that were killed is removed.
    """
    if jobs == 1 or not SHARED.is_dir():
        yield None
        return
    for left in SHARED.glob("bgd-*"):
        if not is_alive(int(left.name.split("-")[1])):
            shutil.rmtree(left, ignore_errors=True)
    if shutil.disk_usage(SHARED).free < memory:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix=f"bgd-{os.getpid()}-", dir=SHARED) as folder:
        yield Path(folder)
