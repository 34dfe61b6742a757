"""The companion studies: `python -m experiments.companions [key=value ...]`.

Does what is not done, then writes the records of each study, and the tables and figures of them all. Keys are those of
experiments/conf/companions/config.yaml; `plan=true` says what would be done. Two words come first instead:
`train [key=value ...]` trains once, by the groups of training.yaml beside it; `speed` measures lanes together against
one by one.
"""

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from bgd.errors import ConfigError, first_line, nearest
from experiments.companions.compose import composed, composing, content_of, training_of
from experiments.companions.plan import Lane, Settings, Work, rows_of, work_of
from experiments.companions.speed import ratios
from experiments.companions.train import train
from experiments.companions.work import work
from experiments.jobs.ending import ended
from experiments.records.companions import COMMITTED, study_file, write_rows
from experiments.records.files import BusyError, locked
from experiments.records.schema import RecordError
from experiments.report.build import write_all
from experiments.report.companions import Companions

ONE, SPEED, HELP = "train", "speed", ("-h", "--help")  # words
DATA = Path(os.environ.get("BGD_DATA", "data"))


def command(arguments: Sequence[str]) -> int:
    """Do what a command line asks for. Return the exit status."""
    first, *rest = arguments or [""]
    if first in HELP:
        print(__doc__)
        return 0
    if first and "=" not in first and first not in (ONE, SPEED):
        raise ConfigError(f"{first!r}: {nearest(first, (ONE, SPEED))}, or key=value")
    with composing():
        if first == ONE:
            return one(rest)
        if first == SPEED:
            return speed(rest)
        settings = Settings.of(composed("config", arguments))
        works = [work_of(settings, name) for name in settings.studies]
    for each in works:
        print(
            f"{each.name:16} {len(each.lanes):4} trainings, {len(each.todo):4} to do, about {each.minutes_left:.0f} min"
        )
    print(f"all of it: about {sum(each.minutes_left for each in works):.0f} min on two cores", flush=True)
    if settings.plan:
        return 0
    with held(settings):
        failed = done(settings, works)
        records = settings.output / COMMITTED.relative_to(COMMITTED.parents[1])
        for each in works:
            keep(settings, each, study_file(records, each.name))
        for path in write_all(settings.output, Companions(records=records).files(())):
            print(f"wrote {path}")
    for line in failed:
        print(line, file=sys.stderr)
    return 1 if failed else 0


@contextmanager
def held(settings: Settings) -> Iterator[None]:
    """Hold the studies: of two commands at once the second would train all of it again.

    Raises:
        BusyError: Another command holds one.
        RecordError: The folder cannot be written.
    """
    with ExitStack() as stack:
        for name in settings.studies:
            try:
                stack.enter_context(locked(settings.done / f"{name}.lock", wait=False))
            except BusyError as error:
                raise BusyError(
                    f"studies={name!r}: another command is at it; wait, or leave it out"
                ) from error
        yield


def keep(settings: Settings, work: Work, path: Path) -> None:
    """Write the records of a study; part of it does not take the place of what is there."""
    rows = rows_of(settings, work)
    if rows and (len(rows) == len(work.lanes) or not path.exists()):
        write_rows(path, rows)
    elif rows:
        print(f"{path} stays as it is: {len(rows)} of {len(work.lanes)} trainings of {work.name} are done")


def one(overrides: Sequence[str]) -> int:
    """Train once and print the evaluations, a line of JSON each."""
    training = training_of(content_of(overrides))
    (trained,) = train([training], DATA)
    for number, step in enumerate(trained.history["step"]):
        told = {name: round(values[number], 5) for name, values in trained.history.items() if name != "step"}
        print(json.dumps({"step": round(step), **told}))
    return 0


def speed(rest: Sequence[str]) -> int:
    """Print how much sooner lanes are trained together."""
    if rest:
        raise ConfigError(f"{rest[0]!r}: {SPEED} takes nothing more")
    torch.set_num_threads(1)
    for name, alone, together in ratios(DATA):
        print(
            f"{name}: 10 lanes one by one {alone:.1f} s, together {together:.1f} s: {alone / together:.1f} times",
            flush=True,
        )
    return 0


def done(settings: Settings, works: Sequence[Work]) -> list[str]:
    """Do what is not done, saying how far it is. Return a line for each bank that failed."""
    todo = [(each, bank) for each in works for bank in each.banks()]
    # A bank counts by its share of its study's minutes, so that the time left is told from the first on.
    cost = {id(bank): each.minutes * len(bank) / len(each.lanes) for each, bank in todo}
    total, gone, began, failed = sum(cost.values()), 0.0, time.perf_counter(), []
    with pool(settings.jobs or os.cpu_count() or 1) as processes:
        futures = {processes.submit(work, settings, bank): (each, bank) for each, bank in todo}
        for number, future in enumerate(as_completed(futures), 1):
            each, bank = futures[future]
            gone += cost[id(bank)]
            elapsed = time.perf_counter() - began
            left = elapsed / gone * (total - gone) / 60 if gone else 0.0
            said = f"{each.name} {bank[0].job.arm}"
            print(
                f"{number} of {len(todo)} banks, {said}, {elapsed:.0f} s gone, about {left:.0f} min left",
                flush=True,
            )
            failed += _failure(future, bank)
    return failed


def _failure(future: "Future[float]", bank: Sequence[Lane]) -> list[str]:
    """Say why a bank failed. Where its rows cannot be written, no other's can, and the error is raised."""
    error = future.exception()
    if error is None:
        return []
    if isinstance(error, RecordError):
        raise error
    return [f"{bank[0].job.study} {bank[0].job.arm} failed: {type(error).__name__}: {first_line(error)}"]


@contextmanager
def pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Give processes that end with this one: what has not begun is dropped when it is stopped."""
    executor = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"))
    try:
        yield executor
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


if __name__ == "__main__":
    raise SystemExit(ended(lambda: command(sys.argv[1:])))
