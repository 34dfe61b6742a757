"""Everything for a profile: `python -m experiments.reproduce run|plan|tables|reference`."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bgd.errors import ConfigError, nearest
from experiments.config.overrides import choices_in
from experiments.config.spec import RunSpec
from experiments.from_records import PARTIAL_HELP, output_of, records_for, write_report, write_tables
from experiments.jobs.costs import Kind, seconds_per_sample
from experiments.jobs.ending import REFUSALS, ended
from experiments.jobs.plan import Plan, default_jobs, specs_of_presets
from experiments.jobs.process import THREADS, budget, every_core, prepare, shared_memory
from experiments.jobs.progress import Progress, Stopwatch
from experiments.jobs.stale import WHICH, in_words, renew, stale_runs
from experiments.jobs.workbench import Place, Workbench, choose_device
from experiments.jobs.workers import log_to_console, run_all
from experiments.mnist.data import DataError
from experiments.records.archive import export, load
from experiments.records.files import locked
from experiments.records.members import (
    PARTIAL,
    Members,
    count,
    is_committed,
    keep_members,
    own_records,
    reference_folder,
)
from experiments.records.store import Store
from experiments.thesis.levels import check_methods
from experiments.thesis.publish import (
    PUBLISHED,
    is_published,
    is_reported,
    keep_verdicts,
    update_readme,
    verdicts_of,
)
from experiments.thesis.tables import MAIN

JOBS_A_CORE = 4  # each is a process with a torch of its own
SHOWN = 5  # notes on what is damaged
COMMANDS = ("run", "plan", "tables", "reference")

Specs = dict[str, list[RunSpec]]  # the runs of each preset


def main(arguments: list[str] | None = None) -> int:
    """Do one of `COMMANDS`. Return the exit status."""
    options = _parse(arguments)
    log_to_console()
    return ended(lambda: _do(options), (*REFUSALS, DataError))


def _do(options: argparse.Namespace) -> int:
    check_methods()
    device = choose_device(options.device)
    jobs = default_jobs(device) if options.jobs == "auto" else int(options.jobs)
    most = JOBS_A_CORE * (os.cpu_count() or 1)
    if not 1 <= jobs <= most:
        raise ConfigError(f"jobs={jobs}: must be from 1 to {most}, {JOBS_A_CORE} for each core, or auto")
    output = output_of(options.profile, options.output)
    partial = options.partial or not is_committed(output)
    members = specs_of_presets(options.profile)
    if options.command != "plan":
        keep_members(_ids(members), output, options.profile)
    if options.command == "reference":
        return _reference(members, output, options.profile)
    if options.command == "tables":
        return _tables(members, output, options.profile, partial)
    runs = list({spec.run_id: spec for each in members.values() for spec in each}.values())
    store = Store(output / "runs")
    if options.command == "run":
        renew(runs, store, options.rerun)
    committed = _committed_costs(options.profile)
    plan = Plan.of(runs, output, {**committed, **seconds_per_sample(store.headers())})
    if options.command == "plan" and plan.todo:
        print(plan.by_preset(members, jobs))
    print(plan.text(jobs), flush=True)
    print_notes(store, runs)
    if options.command == "plan":
        return 0
    place = Place(options.data, output, device, THREADS, options.memory)
    return _run(plan, members, options.profile, place, jobs, committed, partial)


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
    parser.add_argument("--rerun", choices=WHICH, help="runs to make again: changed (by other source) or all")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("BGD_DATA", "data")))
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
    try:
        options.memory = budget(options.memory)
    except ConfigError as error:
        parser.error(f"--{error}")
    return options


def _committed_costs(profile: str) -> dict[Kind, float]:
    """Return the seconds a sample takes, as the committed records have it."""
    reference = reference_folder(profile)
    return seconds_per_sample(load(reference).headers) if reference.is_dir() else {}


def _run(
    plan: Plan,
    members: Specs,
    profile: str,
    place: Place,
    jobs: int,
    costs: dict[Kind, float],
    partial: bool,
) -> int:
    done = [spec.run_id for spec in plan.done]
    if not plan.todo and is_published(done, place.output) and is_reported(done, place.output):
        print(
            f"nothing to do: every run is done, and tables, figures and report in {place.output} are from them"
        )
        return 0
    watch, failed = Stopwatch(), list[str]()
    if plan.todo:
        prepare()
        with every_core():  # trains N0 before the workers share them
            for spec in {spec.base_id: spec for spec in plan.todo}.values():
                Workbench(spec, place)
        with shared_memory(jobs, place.memory) as shared:
            place = replace(place, jobs=jobs, shared=shared)
            failed = run_all(plan.todo, place, Progress(plan.todo, place.output, costs).say)
    if failed and not partial:
        print(f"tables, figures and report stay as they are, {len(failed)} runs are missing: {PARTIAL}")
        status = 1
    else:
        with locked(place.output / "runs" / "tables.lock", wait=True):  # another command may be at the same
            status = _tables(members, place.output, profile, partial, report=True)
    store = Store(place.output / "runs")
    print(watch.text(store.header(spec.run_id) for spec in plan.todo if store.finished(spec.run_id)))
    for title in failed:
        print(f"failed: {title}")
    return 1 if failed else status


def print_notes(store: Store, runs: Sequence[RunSpec]) -> None:
    """Say which runs other source made, and what in the store is no run."""
    found = in_words(stale_runs(runs, store))
    if found:
        print(f"note: {found}; --rerun changed makes them again", flush=True)
    faults = store.faults()
    for fault in faults[:SHOWN]:
        print(f"note: {fault}", flush=True)
    if len(faults) > SHOWN:
        print(f"note: and {len(faults) - SHOWN} more like it in {store.root}", flush=True)


def _ids(members: Specs) -> Members:
    return {name: [spec.run_id for spec in specs] for name, specs in members.items()}


def _tables(members: Specs, output: Path, profile: str, partial: bool, report: bool = False) -> int:
    """Write tables and figures, and the report where it is asked for."""
    records, source = records_for(_ids(members), output, profile, partial)
    for failure in Store(output / "runs").failures():
        print(f"note: there is a failed run, {failure}")
    return write_tables(records, output, source) or (write_report(records, output, source) if report else 0)


def _reference(members: Specs, output: Path, profile: str) -> int:
    ids = _ids(members)
    records = own_records(ids, output)
    missing = count(ids) - len(records.runs)
    if missing:
        print(f"error: {missing} of {count(ids)} runs are missing: make reproduce", file=sys.stderr)
        return 2
    files = export(records, reference_folder(profile), whole=(MAIN,))
    status = _tables(members, output, profile, partial=False, report=True)
    keep_verdicts(records, verdicts_of(profile))
    if profile == PUBLISHED:
        update_readme(output)
    size = sum(file.stat().st_size for file in files)
    print(
        f"{len(records.runs)} runs in {len(files)} files, {size / 1e6:.1f} MB, in {reference_folder(profile)}"
    )
    print(f"{verdicts_of(profile).name} updated" + (", and docs/results.md" if profile == PUBLISHED else ""))
    return status


if __name__ == "__main__":
    raise SystemExit(main())
