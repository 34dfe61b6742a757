"""What of a plan is done, who is at what, what failed and what is left: read from the disk, while others write."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiments.jobs.costs import Kind, cost_of, samples_in
from experiments.jobs.known import Known
from experiments.jobs.plan import Plan
from experiments.records.claims import Claim
from experiments.records.store import Store


@dataclass(frozen=True)
class Work:
    """A process at a run, or at a part of one.

    Attributes:
        title: Of the run.
        run_id: Of it.
        part: Name of the part; empty for all of it.
        host, pid, since, beat: Of the process, as a `Claim` has them.
        rows: Samples that are done.
        samples: Of how many.
    """

    title: str
    run_id: str
    part: str
    host: str
    pid: int
    since: float
    beat: float
    rows: int
    samples: int


@dataclass(frozen=True)
class Failure:
    """A run that failed.

    Attributes:
        title: Of it.
        run_id: Of it.
        why: The last line of the traceback.
        when: In seconds of Unix time.
    """

    title: str
    run_id: str
    why: str
    when: float


@dataclass(frozen=True)
class Status:
    """How far a plan is.

    Attributes:
        done: Complete runs.
        done_minutes: Of one core, that they took.
        running: Processes at it, the earliest first.
        running_runs: Runs that they are at.
        running_minutes: Of one core, for the rest of those.
        failed: Runs that failed, and that nobody is trying again.
        left: Other runs that are not complete.
        left_minutes: Of one core, for those, by the times in records.
        begun: How many of those have been begun by a process that is gone.
    """

    done: int
    done_minutes: float
    running: list[Work]
    running_runs: int
    running_minutes: float
    failed: list[Failure]
    left: int
    left_minutes: float
    begun: int

    @classmethod
    def of(cls, runs: Sequence[Known], output: Path, costs: dict[Kind, float]) -> "Status":
        """Look it up.

        Args:
            runs: Of the plan, each once.
            output: Folder of `runs/`.
            costs: Seconds that a sample takes, by kind.
        """
        store = Store(output / "runs")
        done = Plan.of(runs, output, costs).done
        complete = {run.run_id for run in done}
        todo = [run for run in runs if run.run_id not in complete]
        working = {run.run_id: found for run in todo if (found := list(_working(run, store)))}
        idle = [run for run in todo if run.run_id not in working]
        failed = [run for run in idle if store.failed(run.run_id)]
        left = [run for run in idle if not store.failed(run.run_id)]
        return cls(
            done=len(done),
            done_minutes=_minutes(store.header(run.run_id).summary["seconds"] for run in done),
            running=sorted(
                (each for found in working.values() for each in found), key=lambda each: each.since
            ),
            running_runs=len(working),
            running_minutes=_minutes(cost_of(run, costs, store) for run in todo if run.run_id in working),
            failed=[Failure(run.title, run.run_id, *store.failure(run.run_id)) for run in failed],
            left=len(left),
            left_minutes=_minutes(cost_of(run, costs, store) for run in left),
            begun=sum(store.done_rows(run.run_id) > 0 for run in left),
        )

    def text(self) -> str:
        """Say it, a line for each process and each failure."""
        return "\n".join(self._lines(time.time()))

    def _lines(self, now: float) -> Iterator[str]:
        yield f"done     {_runs(self.done)}, {_in_minutes(self.done_minutes)}"
        yield f"running  {_runs(self.running_runs)}, {_in_minutes(self.running_minutes)} to go"
        for each in self.running:
            part = f", shard {each.part}" if each.part else ""
            yield (
                f"  {each.title}{part}: {each.rows} of {each.samples} samples, {each.host} process {each.pid},"
                f" since {_clock(each.since)} ({(now - each.since) / 60:.0f} min),"
                f" heartbeat {max(0.0, now - each.beat):.0f} s ago"
            )
        yield f"failed   {_runs(len(self.failed))}"
        for failure in self.failed:
            yield f"  {failure.title}: {failure.why} ({_clock(failure.when)})"
        begun = f", {self.begun} of them begun by a process that is gone" if self.begun else ""
        yield f"left     {_runs(self.left)}, {_in_minutes(self.left_minutes)}{begun}"
        if self.running:
            minutes = (self.running_minutes + self.left_minutes) / len(self.running)
            who = "process that is" if len(self.running) == 1 else f"{len(self.running)} processes that are"
            yield f"about {minutes:,.0f} min with the {who} at it"

    def plain(self) -> dict[str, Any]:
        """Return it as values of JSON."""
        return asdict(self)


def _working(run: Known, store: Store) -> Iterator[Work]:
    """Yield the processes at a run."""
    parts = store.parts(run.run_id)
    for part, claim in store.claims(run.run_id).items():
        if claim.alive:
            yield _work(run, part, claim, parts if part else store, part or run.run_id)


def _work(run: Known, part: str, claim: Claim, store: Store, name: str) -> Work:
    begun = store.begun(name)
    samples = begun.samples if begun else samples_in(run)
    return Work(run.title, run.run_id, part, **asdict(claim), rows=store.done_rows(name), samples=samples)


def _minutes(seconds: Iterator[float]) -> float:
    return round(sum(seconds) / 60, 2)


def _in_minutes(minutes: float) -> str:
    return f"{minutes:,.0f} min of one core"


def _runs(count: int) -> str:
    return f"{count:,} run{'' if count == 1 else 's'}"


def _clock(moment: float) -> str:
    return time.strftime("%d %b %H:%M", time.localtime(moment))
