"""Everything for a profile: `python -m experiments.reproduce run|plan|status|tables|reference|restore`."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from bgd.errors import ConfigError, nearest
from experiments.config.groups import choices_in
from experiments.jobs.costs import Kind, Planned, measured, seconds_per_sample
from experiments.jobs.device import choose_device
from experiments.jobs.ending import REFUSALS, ended
from experiments.jobs.known import Known, Programme, committed_costs, programme
from experiments.jobs.plan import Plan, default_jobs
from experiments.jobs.process import THREADS, budget
from experiments.jobs.progress import log_to_console
from experiments.jobs.stale import WHICH, in_words, renew, stale_runs
from experiments.mnist.release import bases_folder, enlist, place_committed
from experiments.records.archive import export
from experiments.records.files import locked
from experiments.records.members import (
    PARTIAL,
    PARTIAL_HELP,
    Members,
    count,
    is_committed,
    keep_members,
    output_of,
    own_records,
    reference_folder,
)
from experiments.records.store import Store

if TYPE_CHECKING:
    from experiments.config.spec import RunSpec
    from experiments.jobs.launchers import Launcher

JOBS_A_CORE = 4  # each is a process with a torch of its own
SHOWN = 5  # notes on what is damaged
COMMANDS = ("run", "plan", "status", "tables", "reference", "restore")

# A plan needs neither torch nor what draws: functions import those that run, compose or write tables themselves.


def main(arguments: list[str] | None = None) -> int:
    """Do one of `COMMANDS`. Return the exit status."""
    options = _parse(arguments)
    log_to_console()
    return ended(lambda: _do(options), REFUSALS)


def _do(options: argparse.Namespace) -> int:
    device = choose_device(options.device)
    jobs = default_jobs(device) if options.jobs == "auto" else int(options.jobs)
    most = JOBS_A_CORE * (os.cpu_count() or 1)
    if not 1 <= jobs <= (jobs if options.launcher else most):
        raise ConfigError(f"jobs={jobs}: must be from 1 to {most}, {JOBS_A_CORE} for each core, or auto")
    launcher = _launcher(options, jobs)
    output = output_of(options.profile, options.output)
    partial = options.partial or not is_committed(output)
    composed = cache(lambda: specs_of_presets(options.profile))
    runs = programme(output, options.profile, composed, first_presets)
    if options.command not in ("plan", "status"):
        keep_members(runs.ids, output, options.profile)
    if options.command == "reference":
        return _reference(runs.ids, output, options.profile, options.partial)
    if options.command == "restore":
        return _restore(runs.ids, output, options.profile)
    if options.command == "tables":
        return _tables(runs.ids, output, options.profile, partial)
    store, chosen = Store(output / "runs"), runs.only(options.presets)
    if options.command == "run":
        renew(chosen.runs, store, options.rerun, attrgetter("sources"))
    committed = {**measured(runs.runs), **committed_costs(output, options.profile)}
    costs = {**committed, **seconds_per_sample(store.headers())}
    if options.command == "status":
        return _status(chosen.runs, output, costs, options.json)
    plan = Plan.of(chosen.runs, output, costs, _each(runs.first_ids), options.bases_from)
    if options.command == "plan" and plan.todo:
        print(plan.by_preset(chosen.members, jobs))
    print(plan.text(jobs), flush=True)
    print_notes(store, chosen.runs)
    if options.command == "plan":
        return 0
    make = _maker(composed, options, launcher, device, jobs, output, committed)
    if options.presets:
        status = _run_some(plan, make)
        if options.partial:
            return _tables(runs.ids, output, options.profile, partial, report=True) or status
        print(f"tables, figures and report stay as they are; from the runs that are there with {PARTIAL}")
        return status
    return _run(plan, runs, options.profile, output, make, partial)


def specs_of_presets(profile: str) -> "Mapping[str, Sequence[RunSpec]]":
    """Compose the runs of each preset of a profile, and check what each method's yaml says of itself."""
    from experiments.config import presets
    from experiments.thesis.levels import check_methods

    check_methods()
    return presets.specs_of_presets(profile)


def first_presets() -> Collection[str]:
    """Find the presets that the thesis' tables are made from."""
    from experiments.thesis import publish

    return publish.first_presets()


def _launcher(options: argparse.Namespace, workers: int) -> "Launcher | None":
    """Return what starts the workers; None for processes of this command."""
    if options.launcher:
        from experiments.jobs.launchers import Launcher

        return Launcher.read(options.launcher, workers)
    if options.shards != 1:
        raise ConfigError(f"shards={options.shards}: workers of a launcher make them; add --launcher")
    return None


def _each(members: Members) -> set[str]:
    return {run_id for ids in members.values() for run_id in ids}


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    profiles = choices_in("profile")
    parser = argparse.ArgumentParser(prog="python -m experiments.reproduce", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--profile", default="laptop", help=f"one of {', '.join(profiles)}")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--jobs", default="auto", help="processes of one thread; auto: one a core")
    parser.add_argument(
        "--memory",
        default="auto",
        help="GiB for activations of N0 that evaluations start from; auto: half of it all",
    )
    parser.add_argument(
        "--launcher",
        default="",
        help="who starts the processes: joblib, ray, submitit, slurm, and values for its keys",
    )
    parser.add_argument(
        "--shards", type=int, default=1, help="parts that a launcher's workers make each reloading run in"
    )
    parser.add_argument(
        "--presets",
        default="",
        help="run, plan, status: of these presets alone, as 'table_4_1 figure_4_2'; tables are written with --partial",
    )
    parser.add_argument("--json", action="store_true", help="status as JSON")
    parser.add_argument("--rerun", choices=WHICH, help="runs to make again: changed (by other source) or all")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("BGD_DATA", "data")))
    parser.add_argument(
        "--bases-from",
        type=Path,
        default=os.environ.get("BGD_BASES"),
        help="folder of released base networks, held to the listed checksums; default: each N0 is trained",
    )
    parser.add_argument(
        "--output", type=Path, help="default: outputs, and outputs/smoke for the smoke profile"
    )
    parser.add_argument("--partial", action="store_true", help=PARTIAL_HELP)
    options = parser.parse_args(arguments)
    if options.output == Path():
        parser.error("--output: must name a folder, for example --output outputs")
    if options.profile not in profiles:
        parser.error(
            f"--profile {options.profile!r}: there is no such profile; {nearest(options.profile, profiles)}"
        )
    if options.jobs != "auto" and not options.jobs.isdigit():
        parser.error(f"--jobs {options.jobs!r}: must be a number or auto")
    if options.shards < 1:
        parser.error(f"--shards {options.shards}: must be at least 1")
    given, options.presets = options.presets, options.presets.replace(",", " ").split()
    if given and not options.presets:
        parser.error(f"--presets {given!r}: must name presets, for example 'table_4_1 figure_4_2'")
    if options.presets and options.command in ("tables", "reference", "restore"):
        parser.error(f"--presets: {options.command} is of all presets; it goes with run, plan and status")
    try:
        options.memory = budget(options.memory)
        if options.bases_from is not None:
            bases_folder(options.bases_from)
    except ConfigError as error:
        parser.error(f"--{error}")
    return options


def _status(runs: Sequence[Known], output: Path, costs: dict[Kind, float], as_json: bool) -> int:
    from experiments.jobs.status import Status

    status = Status.of(runs, output, costs)
    print(json.dumps(status.plain(), indent=1) if as_json else status.text())
    return 0


Make = Callable[[Sequence[Planned]], list[str]]  # runs, and gives the titles of those that failed


def _maker(
    composed: "Callable[[], Mapping[str, Sequence[RunSpec]]]",
    options: argparse.Namespace,
    launcher: "Launcher | None",
    device: str,
    jobs: int,
    output: Path,
    costs: dict[Kind, float],
) -> Make:
    """Return what makes some runs."""

    def make(runs: Sequence[Planned]) -> list[str]:
        from experiments.jobs import making
        from experiments.jobs.workbench import Place

        specs = {spec.run_id: spec for each in composed().values() for spec in each}
        place = Place(options.data, output, device, THREADS, options.memory, bases_from=options.bases_from)
        return making.make([specs[run.run_id] for run in runs], place, jobs, costs, launcher, options.shards)

    return make


def _run_some(plan: Plan, make: Make) -> int:
    """Make the runs of a plan alone; return the exit status."""
    failed = [title for part in plan.by_network(plan.todo) for title in make(part)]
    for title in failed:
        print(f"failed: {title}")
    return 1 if failed else 0


def _run(plan: Plan, runs: Programme, profile: str, output: Path, make: Make, partial: bool) -> int:
    """Make the runs of the thesis' tables and write these, then the others and everything.

    Each time one network after another, so that no run waits until the N0 of another network is trained.
    """
    from experiments.jobs.progress import Stopwatch
    from experiments.thesis.publish import is_published, is_reported

    done = [run.run_id for run in plan.done]
    if not plan.todo and is_published(done, output) and is_reported(done, output):
        print(f"nothing to do: every run is done, and tables, figures and report in {output} are from them")
        return 0
    watch, failed = Stopwatch(), list[str]()
    for part in plan.by_network(plan.first):
        failed += make(part)
    if plan.beyond:
        _write_first(runs.first_ids, output, profile)
    for part in plan.by_network(plan.beyond):
        failed += make(part)
    if failed and not partial:
        print(f"tables, figures and report stay as they are, {len(failed)} runs are missing: {PARTIAL}")
        status = 1
    else:
        with _alone(output):
            status = _tables(runs.ids, output, profile, partial, report=True)
    store = Store(output / "runs")
    print(watch.text(store.header(run.run_id) for run in plan.todo if store.finished(run.run_id)))
    for title in failed:
        print(f"failed: {title}")
    return 1 if failed else status


def _alone(output: Path) -> AbstractContextManager[None]:
    """Wait for other commands that write tables into the same folder."""
    return locked(output / "runs" / "tables.lock", wait=True)


def _write_first(members: Members, output: Path, profile: str) -> None:
    """Write the thesis' tables, figures and their report, if they are not there from these runs."""
    from experiments.thesis.publish import FIRST, is_first_published, publish_first
    from experiments.thesis.tables import WHOLE

    records = own_records(members, output, WHOLE)
    if not records.runs or is_first_published(records.runs, output):
        return
    there = f"{len(records.runs)} of {count(members)} runs of profile {profile}"
    source = f"{there} for the thesis' tables, run in this clone"
    print(f"records: {source}", flush=True)
    with _alone(output):
        for line in publish_first(records, output, source):
            print(line, flush=True)
    print(f"the thesis' part: open {output / FIRST / 'report' / 'index.html'}", flush=True)


def print_notes(store: Store, runs: Iterable[Known]) -> None:
    """Say which runs other source made, and what in the store is no run."""
    found = in_words(stale_runs(runs, store, attrgetter("sources")))
    if found:
        print(f"note: {found}; --rerun changed makes them again", flush=True)
    faults = store.faults()
    for fault in faults[:SHOWN]:
        print(f"note: {fault}", flush=True)
    if len(faults) > SHOWN:
        print(f"note: and {len(faults) - SHOWN} more like it in {store.root}", flush=True)


def _tables(members: Members, output: Path, profile: str, partial: bool, report: bool = False) -> int:
    """Write tables and figures, and the report where it is asked for."""
    from experiments.from_records import records_for, write_report, write_tables

    records, source = records_for(members, output, profile, partial)
    for failure in Store(output / "runs").failures():
        print(f"note: there is a failed run, {failure}")
    return write_tables(records, output, source) or (write_report(records, output, source) if report else 0)


def _reference(members: Members, output: Path, profile: str, partial: bool) -> int:
    from experiments.thesis.publish import PUBLISHED, keep_verdicts, update_readme, verdicts_of
    from experiments.thesis.tables import WHOLE

    records = own_records(members, output, WHOLE)
    missing = count(members) - len(records.runs)
    if missing and not (partial and records.runs):
        print(f"error: {missing} of {count(members)} runs are missing: make reproduce", file=sys.stderr)
        return 2
    files = export(records, reference_folder(profile), whole=WHOLE)
    enlist(output / "bases", {header.base["id"] for header in records.headers})
    status = _tables(members, output, profile, partial, report=True)
    keep_verdicts(records, verdicts_of(profile))
    if profile == PUBLISHED:
        update_readme(output)
    size = sum(file.stat().st_size for file in files)
    print(
        f"{len(records.runs)} runs in {len(files)} files, {size / 1e6:.1f} MB, in {reference_folder(profile)}"
    )
    print(f"{verdicts_of(profile).name} updated" + (", and docs/results.md" if profile == PUBLISHED else ""))
    return status


def _restore(members: Members, output: Path, profile: str) -> int:
    from experiments.records.archive import load
    from experiments.records.restore import restore

    reference, store = reference_folder(profile), Store(output / "runs")
    if not reference.is_dir():
        raise ConfigError(
            f"profile {profile!r}: there are no committed records of it, {reference} is not there"
        )
    records, bases = load(reference), output / "bases"
    place_committed(bases, {header.base["id"] for header in records.headers})
    count = restore(records, _each(members), store, bases)
    print(f"{count} runs from {reference} are in {store.root} now; make plan says what is left")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
