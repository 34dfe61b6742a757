"""Making runs by workers that a launcher starts: started again while there is something left that nobody is at."""

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Protocol

from bgd.errors import ConfigError, first_line
from experiments.jobs.costs import Kind
from experiments.jobs.ending import ends_everything
from experiments.jobs.execute import store_of
from experiments.jobs.progress import Progress
from experiments.jobs.work import Task, work
from experiments.jobs.workbench import Place
from experiments.jobs.workers import AGAIN_AFTER, WAKE_EVERY
from experiments.records.store import Store

log = logging.getLogger(__name__)

TRIES = 2  # of workers that get no further: then what is left is called a failure


class Starter(Protocol):
    """What starts workers: see `experiments.jobs.launchers.Launcher`."""

    def start(self, function: Callable[[object], None], output: Path) -> None: ...  # noqa: D102


def launch(tasks: Sequence[Task], place: Place, launcher: Starter, costs: dict[Kind, float]) -> list[str]:
    """Make runs, or parts of them; return a line for each run that failed.

    A worker that is killed takes no run with it: others are started, and go on with its rows. Runs that another command
    is making are waited for.

    Args:
        tasks: In the order to make them; N0 of each is there.
        place: Where; `jobs` is how many workers share its memory.
        launcher: Starts the workers.
        costs: Seconds that a sample takes, by kind, to tell how long the rest takes.
    """
    store = store_of(place.output)
    specs = {task.spec.run_id: task.spec for task in tasks}
    for run_id in specs:
        store.forgive(run_id)
    progress = Progress(list(specs.values()), place.output, costs)

    def told() -> None:
        progress.say(sum(store.finished(run_id) or store.failed(run_id) for run_id in specs))

    with _repeated(told):
        lost = _rounds(tasks, place, launcher, store)
    told()
    failed = {spec.title: store.failure(run_id)[0] for run_id, spec in specs.items() if store.failed(run_id)}
    return [f"{title}: {why}" for title, why in {**failed, **lost}.items()]


def _rounds(tasks: Sequence[Task], place: Place, launcher: Starter, store: Store) -> dict[str, str]:
    """Start workers until no task is left; return why, by title, where they get no further."""
    tried = 0
    while left := [task for task in tasks if not task.is_over(store)]:
        if all(task.is_claimed(store) for task in left):
            time.sleep(AGAIN_AFTER)
            continue
        before, why = _rows(tasks, store), "no worker came to its end (killed, out of memory?)"
        try:
            launcher.start(functools.partial(work, left, place), place.output)
        except ConfigError:
            raise
        except Exception as error:  # whatever a launcher makes of a worker's end
            if ends_everything(error):
                raise
            why = f"{type(error).__name__}: {first_line(error)}"
            log.warning("a worker ended badly (%s): what is left is tried again", why)
        tried = 0 if _rows(tasks, store) != before else tried + 1
        if tried == TRIES:
            return {task.spec.title: why for task in left if not task.is_over(store)}
    return {}


def _rows(tasks: Sequence[Task], store: Store) -> tuple[int, int]:
    """Return how far the tasks are: rows there, and tasks over."""
    runs = {task.spec.run_id for task in tasks}
    return sum(map(store.done_rows, runs)), sum(task.is_over(store) for task in tasks)


@contextlib.contextmanager
def _repeated(say: Callable[[], None]) -> Iterator[None]:
    """Call something every few seconds while the block waits."""
    ended = Event()

    def keep_saying() -> None:
        while not ended.wait(WAKE_EVERY):
            say()

    thread = Thread(target=keep_saying, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
