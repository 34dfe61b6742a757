"""Everything for a profile: `python -m experiments.reproduce run|plan|tables|reference --profile laptop`."""

import argparse
import logging
import os
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path

import torch

from bgd.archive import Records, export, load
from bgd.build import ConfigError, nearest
from bgd.data import DataError
from bgd.store import Store
from experiments.execute import execute
from experiments.paper import MAIN
from experiments.plan import (
    Kind,
    Plan,
    cost_of_sample,
    default_jobs,
    samples_in,
    seconds_per_sample,
    specs_of_presets,
)
from experiments.publish import is_published, publish, update_readme
from experiments.run import CONF
from experiments.spec import RunSpec
from experiments.workbench import Place, Workbench, Workshop, choose_device

log = logging.getLogger(__name__)

Members = dict[str, list[RunSpec]]  # the runs of each preset

SAY_EVERY = 15.0  # seconds between two lines of progress


def main(arguments: list[str] | None = None) -> int:
    """Do one of: run, plan, tables, reference. Return the exit status."""
    options = _parse(arguments)
    _log_to_console()
    try:
        device = choose_device(options.device)
        jobs = default_jobs(device) if options.jobs == "auto" else int(options.jobs)
        if jobs < 1:
            raise ConfigError(f"jobs={jobs}: must be at least 1")
        output = options.output or Path("outputs", *(["smoke"] if options.profile == "smoke" else []))
        members = specs_of_presets(options.profile)
        if options.command == "reference":
            return _reference(members, output, options.profile)
        if options.command == "tables":
            return _tables(members, output, options.profile)
        runs = list({spec.run_id: spec for each in members.values() for spec in each}.values())
        committed = _committed_costs(options.profile)
        plan = Plan.of(runs, output, {**committed, **seconds_per_sample(Store(output / "runs").headers())})
        print(plan.text(jobs), flush=True)
        if options.command == "plan":
            return 0
        return _run(plan, members, options, output, device, jobs, committed)
    except (ConfigError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped: the rows so far are kept, the same command goes on from there", file=sys.stderr)
        return 130


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    profiles = sorted(path.stem for path in (CONF / "profile").glob("*.yaml"))
    parser = argparse.ArgumentParser(prog="python -m experiments.reproduce", description=__doc__)
    parser.add_argument("command", choices=("run", "plan", "tables", "reference"))
    parser.add_argument("--profile", default="laptop", help=f"one of {', '.join(profiles)}")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--jobs", default="auto", help="processes; auto: one a core")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("BGD_DATA", "data")))
    parser.add_argument(
        "--output", type=Path, help="default: outputs, and outputs/smoke for the smoke profile"
    )
    options = parser.parse_args(arguments)
    if options.profile not in profiles:
        parser.error(
            f"--profile {options.profile!r}: there is no such profile; {nearest(options.profile, profiles)}"
        )
    if options.jobs != "auto" and not options.jobs.isdigit():
        parser.error(f"--jobs {options.jobs!r}: must be a number or auto")
    return options


def _log_to_console() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout
    )


def reference_folder(profile: str) -> Path:
    """Return where the committed records of a profile are."""
    return CONF.parent / "outputs" / "reference" / profile


def _committed_costs(profile: str) -> dict[Kind, float]:
    """Return the seconds a sample takes, as the committed records have it."""
    reference = reference_folder(profile)
    return (
        seconds_per_sample(run.header for run in load(reference).runs.values()) if reference.is_dir() else {}
    )


def _run(
    plan: Plan,
    members: Members,
    options: argparse.Namespace,
    output: Path,
    device: str,
    jobs: int,
    costs: dict[Kind, float],
) -> int:
    failed: list[str] = []
    if not plan.todo and is_published((spec.run_id for spec in plan.done), output):
        print(f"nothing to do: every run is done, and {output}/tables and {output}/figures are from them")
        return 0
    if plan.todo:
        torch.set_num_threads(os.cpu_count() or 1)
        whole = Place(options.data, output, device, torch.get_num_threads())
        for spec in {spec.base_id: spec for spec in plan.todo}.values():
            Workbench(spec, whole)  # trains N0 with every core, before the workers share them
        failed = _run_all(plan.todo, Place(options.data, output, device, _threads(jobs)), jobs, costs)
    status = _tables(members, output, options.profile)
    for title in failed:
        print(f"failed: {title}")
    return 1 if failed else status


def _threads(jobs: int) -> int:
    return max(1, (os.cpu_count() or 1) // jobs)


_workshop: Workshop | None = None


def _start_worker(place: Place) -> None:
    """Prepare a worker process: its threads and its own workshop."""
    global _workshop
    _log_to_console()
    logging.getLogger().setLevel(logging.WARNING)  # the parent tells the progress
    torch.set_num_threads(place.threads)
    _workshop = Workshop(place)


def _work(spec: RunSpec) -> None:
    assert _workshop is not None
    execute(spec, _workshop)


def _run_all(todo: list[RunSpec], place: Place, jobs: int, costs: dict[Kind, float]) -> list[str]:
    """Run everything in `jobs` processes; return the titles of what failed."""
    progress = _Progress(todo, place.output, costs)
    failed = []
    with ProcessPoolExecutor(jobs, get_context("spawn"), _start_worker, (place,)) as pool:
        pending: dict[Future[None], RunSpec] = {pool.submit(_work, spec): spec for spec in todo}
        try:
            while pending:
                ready, _ = wait(pending, timeout=SAY_EVERY, return_when=FIRST_COMPLETED)
                for future in ready:
                    spec = pending.pop(future)
                    if future.exception() is not None:
                        failed.append(f"{spec.title}: {future.exception()}")
                progress.say(len(todo) - len(pending), force=not pending)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return failed


class _Progress:
    """Says how far all runs are, by the rows on disk weighted with what a row costs."""

    def __init__(self, todo: list[RunSpec], output: Path, costs: dict[Kind, float]) -> None:
        self._todo, self._store, self._costs = todo, Store(output / "runs"), costs
        self._before = {spec.run_id: self._store.done_rows(spec.run_id) for spec in todo}
        self._started = self._said = time.perf_counter()

    def say(self, done: int, force: bool = False) -> None:
        now = time.perf_counter()
        if now - self._said < SAY_EVERY and not force:
            return
        self._said, elapsed = now, now - self._started
        costs = {**self._costs, **seconds_per_sample(self._store.headers())}  # those done by now tell more
        rows = {spec.run_id: self._store.done_rows(spec.run_id) for spec in self._todo}
        gone = left = 0.0
        for spec in self._todo:
            each = cost_of_sample(spec, costs)
            gone += each * (rows[spec.run_id] - self._before[spec.run_id])
            left += (
                0.0
                if self._store.finished(spec.run_id)
                else each * max(0, samples_in(spec) - rows[spec.run_id])
            )
        eta = f", about {elapsed * left / gone / 60:.0f} min left" if gone and left else ""
        log.info(
            "%d of %d runs, %d samples, %.0f min gone%s",
            done,
            len(self._todo),
            sum(rows.values()),
            elapsed / 60,
            eta,
        )


def _own(members: Members, output: Path) -> Records:
    """Return the complete runs under an output folder, by preset."""
    store = Store(output / "runs")
    ids = {
        name: [spec.run_id for spec in runs if store.finished(spec.run_id)] for name, runs in members.items()
    }
    return Records(
        {
            run_id: store.read(run_id)
            for run_id in sorted({run_id for each in ids.values() for run_id in each})
        },
        {name: tuple(each) for name, each in ids.items()},
    )


def _count(members: Members) -> int:
    return len({spec.run_id for runs in members.values() for spec in runs})


def _tables(members: Members, output: Path, profile: str) -> int:
    records = _own(members, output)
    source = f"{len(records.runs)} of {_count(members)} runs of profile {profile}, run in this clone"
    reference = reference_folder(profile)
    if not records.runs and reference.is_dir():
        records = load(reference)
        source = f"the {len(records.runs)} committed reference runs in outputs/reference/{profile}; none was run here"
    if not records.runs:
        print(
            f"error: no records for profile {profile}: run make reproduce PROFILE={profile}", file=sys.stderr
        )
        return 2
    print(f"records: {source}")
    for failure in Store(output / "runs").failures():
        print(f"note: there is a failed run, {failure}")
    for line in publish(records, output, source):
        print(line)
    return 0


def _reference(members: Members, output: Path, profile: str) -> int:
    records = _own(members, output)
    missing = _count(members) - len(records.runs)
    if missing:
        print(f"error: {missing} of {_count(members)} runs are missing: make reproduce", file=sys.stderr)
        return 2
    files = export(records, reference_folder(profile), whole=(MAIN,))
    update_readme(records)
    size = sum(file.stat().st_size for file in files)
    print(
        f"{len(records.runs)} runs in {len(files)} files, {size / 1e6:.1f} MB, in {reference_folder(profile)}"
    )
    print("README updated")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
