"""The processes that make the runs: each keeps a workbench, and none outlives the one that started it."""

import logging
import os
import signal
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from threading import Thread

from experiments.config.spec import RunSpec
from experiments.jobs.execute import execute
from experiments.jobs.process import prepare
from experiments.jobs.progress import log_to_console
from experiments.jobs.workbench import Place, Workbenches
from experiments.records.files import BusyError

log = logging.getLogger(__name__)

WAKE_EVERY = 15.0  # seconds without a finished run
AGAIN_AFTER = 2.0  # seconds until runs of another command are looked at again

_workshop: Workbenches | None = None  # of a worker process


def run_all(todo: list[RunSpec], place: Place, say: Callable[[int], None]) -> list[str]:
    """Make every run in `place.jobs` processes, in the order given; return the titles of what failed.

    A process that is killed takes no other run with it: its run is tried once more in a fresh one. Runs that another
    command is making are waited for, after all others.

    Args:
        todo: The runs.
        place: Where; how many processes, and how many threads each has.
        say: Called with how many runs are over, whenever one is and now and then.
    """
    context = get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    with theirs, ours:
        crew = _Crew(todo, lambda: ProcessPoolExecutor(1, context, _start, (place, theirs)))
        try:
            crew.work(place.jobs, say)
        except BaseException:
            ours.close()  # the workers end at once; their rows so far are on the disk
            crew.dismiss(wait=False)
            raise
        crew.dismiss(wait=True)  # their time counts once they have ended
    return crew.failed


class _Crew:
    """Worker processes, each an executor of its own: one that breaks leaves the others as they are.

    Args:
        todo: The runs, in order.
        hire: Returns an executor with one process.

    Attributes:
        failed: A line for each run that failed.
    """

    def __init__(self, todo: list[RunSpec], hire: Callable[[], ProcessPoolExecutor]) -> None:
        self._todo, self._hire, self._total = deque(todo), hire, len(todo)
        self._elsewhere: deque[RunSpec] = deque()  # another command is making them
        self._free: list[ProcessPoolExecutor] = []
        self._running: dict[Future[None], tuple[RunSpec, ProcessPoolExecutor]] = {}
        self._killed: set[str] = set()
        self.failed: list[str] = []

    def work(self, jobs: int, say: Callable[[int], None]) -> None:
        """Make every run; see `run_all`."""
        self._free = [self._hire() for _ in range(min(jobs, self._total))]
        while self._todo or self._elsewhere or self._running:
            if not self._todo and not self._running:
                time.sleep(AGAIN_AFTER)
                self._todo, self._elsewhere = self._elsewhere, self._todo
            while self._free and self._todo:
                self._begin(self._todo.popleft(), self._free.pop())
            ready, _ = wait(self._running, timeout=WAKE_EVERY, return_when=FIRST_COMPLETED)
            for future in ready:
                self._end(*self._running.pop(future), future.exception())
            say(self._total - len(self._todo) - len(self._elsewhere) - len(self._running))

    def _begin(self, spec: RunSpec, worker: ProcessPoolExecutor) -> None:
        try:
            future = worker.submit(_work, spec)
        except BrokenProcessPool:  # killed while it had nothing to do
            worker.shutdown(wait=False)
            worker = self._hire()
            future = worker.submit(_work, spec)
        self._running[future] = spec, worker

    def _end(self, spec: RunSpec, worker: ProcessPoolExecutor, error: BaseException | None) -> None:
        """Take note of how a run ended."""
        if isinstance(error, BusyError):
            self._elsewhere.append(spec)
        elif isinstance(error, BrokenProcessPool):
            worker.shutdown(wait=False)
            worker = self._hire()
            self._killed_at(spec)
        elif error is not None:
            self.failed.append(f"{spec.title}: {error}")
        self._free.append(worker)

    def _killed_at(self, spec: RunSpec) -> None:
        if spec.run_id in self._killed:
            self.failed.append(f"{spec.title}: its process was killed twice (out of memory?)")
            return
        log.warning("the process of %s was killed (out of memory?): once more in a fresh one", spec.title)
        self._killed.add(spec.run_id)
        self._todo.appendleft(spec)

    def dismiss(self, wait: bool) -> None:
        """End the processes that have nothing to do, and with `wait` be there until they are gone."""
        for worker in (*self._free, *(worker for _, worker in self._running.values())):
            worker.shutdown(wait=wait, cancel_futures=True)


def _start(place: Place, parent: Connection) -> None:
    """Prepare a worker process."""
    global _workshop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process: the parent ends its workers
    Thread(target=_end_with, args=(parent,), daemon=True).start()
    log_to_console(logging.WARNING)  # the parent tells the progress
    prepare(place.threads)
    _workshop = Workbenches(place)


def _end_with(parent: Connection) -> None:
    """End this process when the parent closes its end of the pipe, or is gone: the system closes it then."""
    with suppress(EOFError, OSError):
        parent.recv_bytes()
    os._exit(1)


def _work(spec: RunSpec) -> None:
    assert _workshop is not None
    execute(spec, _workshop)
