"""The processes that make the runs: each keeps a workbench, and none outlives the one that started it."""

import logging
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from threading import Thread

from experiments.execute import execute
from experiments.process import prepare
from experiments.spec import RunSpec
from experiments.workbench import Place, Workshop

WAKE_EVERY = 15.0  # seconds without a finished run

_workshop: Workshop | None = None  # of a worker process


def log_to_console(level: int = logging.INFO) -> None:
    """Print what is logged, with the time."""
    logging.basicConfig(level=level, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)


def run_all(todo: list[RunSpec], place: Place, say: Callable[[int], None]) -> list[str]:
    """Make every run in `place.jobs` processes, in the order given; return the titles of what failed.

    Args:
        todo: The runs.
        place: Where; how many processes, and how many threads each has.
        say: Called with how many runs are over, whenever one is and now and then.
    """
    context = get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    failed = []
    with theirs, ours, ProcessPoolExecutor(place.jobs, context, _start, (place, theirs)) as pool:
        pending: dict[Future[None], RunSpec] = {pool.submit(_work, spec): spec for spec in todo}
        try:
            while pending:
                ready, _ = wait(pending, timeout=WAKE_EVERY, return_when=FIRST_COMPLETED)
                for future in ready:
                    spec = pending.pop(future)
                    if future.exception() is not None:
                        failed.append(f"{spec.title}: {future.exception()}")
                say(len(todo) - len(pending))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            ours.close()  # the workers end at once; their rows so far are on the disk
            raise
    return failed


def _start(place: Place, parent: Connection) -> None:
    """Prepare a worker process."""
    global _workshop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process: the parent ends its workers
    Thread(target=_end_with, args=(parent,), daemon=True).start()
    log_to_console(logging.WARNING)  # the parent tells the progress
    prepare(place.threads)
    _workshop = Workshop(place)


def _end_with(parent: Connection) -> None:
    """End this process when the parent closes its end of the pipe, or is gone: the system closes it then."""
    with suppress(EOFError, OSError):
        parent.recv_bytes()
    os._exit(1)


def _work(spec: RunSpec) -> None:
    assert _workshop is not None
    execute(spec, _workshop)
