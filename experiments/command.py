"""From the overrides of a run or a sweep to its rows: `python -m experiments.run` where something is to be run."""

import logging
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from hydra import initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from bgd.errors import ConfigError, first_line, nearest
from bgd.knowledge import LEVELS
from experiments.config.build import KNOWS, build, convert
from experiments.config.groups import CONF, files_of, presets_of
from experiments.config.overrides import SWEEP, composed, jobs_of, preset_of
from experiments.config.presets import planned
from experiments.config.spec import RunSpec
from experiments.jobs.costs import seconds_per_sample
from experiments.jobs.device import choose_device
from experiments.jobs.ending import REFUSALS, REFUSED, complaint, ended, ends_everything
from experiments.jobs.execute import execute, outcome, store_of
from experiments.jobs.launchers import GROUP, Launcher, taken_from
from experiments.jobs.launching import launch
from experiments.jobs.plan import default_jobs
from experiments.jobs.process import budget, every_core, machine_memory, prepare
from experiments.jobs.progress import log_to_console
from experiments.jobs.stale import renew, rerun_of
from experiments.jobs.work import Task
from experiments.jobs.workbench import Place, Workbench, Workbenches
from experiments.mnist.release import bases_folder
from experiments.protocol.samples import ordered
from experiments.records.schema import Measurement, Run
from experiments.records.shards import Shard, check_splits
from experiments.records.store import Store
from experiments.report.frames import build_frames
from experiments.report.metrics import METRICS, label_of, measure
from experiments.report.numbers import format_summary

log = logging.getLogger(__name__)

COPIES = 4  # of the parameters while N0 is trained: themselves, gradient, momentum, what is kept of them
THREADS_A_CORE = 4  # more of them only wait for each other, and a hundred thousand end the process
WHERE = (
    "profile",
    "device",
    "threads",
    "memory",
    "workers",
    "rerun",
    "data_dir",
    "output_dir",
    "bases_from",
)  # a preset stays what it is
INDICES = ("parameter",)  # columns of probes that number things: a mean of them means nothing


class RunFailed(RuntimeError):
    """A run came to a bad end; its traceback is kept in the store."""

    status = 1


def place_of(config: DictConfig) -> Place:
    """Return where a configuration runs, and prepare this process for it.

    Raises:
        ConfigError: Naming the key and the value.
    """
    cores = os.cpu_count() or 1
    count = cores if config.threads == "auto" else convert(config.threads, int, "threads")
    if not 1 <= count <= THREADS_A_CORE * cores:
        raise ConfigError(
            f"threads={count}: must be from 1 to {THREADS_A_CORE * cores}, {THREADS_A_CORE} for each core, or auto"
        )
    data, output = (_folder(config, key) for key in ("data_dir", "output_dir"))
    release = None if config.bases_from is None else bases_folder(_folder(config, "bases_from"))
    device = choose_device(config.device)
    place = Place(data, output, device, count, budget(config.memory), bases_from=release)
    prepare(count)
    return place


def prepared(config: DictConfig) -> tuple[RunSpec, Place]:
    """Return the run that a configuration describes and where it is made, and prepare this process for it.

    Raises:
        ConfigError: Naming the key, the value and the nearest valid choice; or N0 is too large for this machine.
    """
    spec, place = RunSpec.of(config), place_of(config)
    with torch.device("meta"):  # allocates nothing
        parameters = sum(parameter.numel() for parameter in build(spec.network, "network").parameters())
    needed, there = COPIES * 4 * parameters, machine_memory()
    if needed > there:
        raise ConfigError(
            f"network: training {parameters:,} parameters takes {needed / 2**30:,.0f} GiB, this machine has"
            f" {there / 2**30:,.0f}; choose a smaller one"
        )
    place.output.mkdir(parents=True, exist_ok=True)
    return spec, place


def _folder(config: DictConfig, key: str) -> Path:
    name = convert(config[key], str, key)
    if not name.strip():
        raise ConfigError(f"{key}={name!r}: must name a folder")
    return Path(name)


def summary(run: Run) -> str:
    """Return a run's metrics in a line each, as in the tables; of a probe, the means of what it measured."""
    first = f"{run.header.run_id}: {outcome(run.rows or run.measurements)}"
    if run.measurements:
        return "\n".join([first, *_means(run.measurements)])
    samples = build_frames([run]).samples
    lines = [first]
    for metric in METRICS.values():
        if metric.setting in (None, run.header.spec["setting"]["name"]):
            lines.append(f"  {label_of(metric, samples):26} {format_summary(measure(samples, metric))}")
    return "\n".join(lines)


def _means(measurements: Sequence[Measurement]) -> Iterator[str]:
    """Yield the mean of each column that holds numbers, over every sample and place."""
    for name in measurements[0].values:
        numbers = [x for one in measurements for x in one.values[name] if isinstance(x, (int, float))]
        if numbers and name not in INDICES:
            yield f"  {name:32} mean {statistics.fmean(numbers):.4g} of {len(numbers)} values"


def run(overrides: Sequence[str]) -> None:
    """Make one run, or one shard of it, and print what came out.

    Raises:
        RunFailed: It failed; its traceback is kept.
    """
    task, place, anew = _asked(overrides)
    spec, workbenches = task.spec, Workbenches(place)
    _check_base(spec, workbenches)
    try:
        execute(spec, workbenches, anew, task.shard)
    except Exception as error:
        if isinstance(error, REFUSALS) or complaint(error) or ends_everything(error):
            raise
        raise RunFailed(f"{type(error).__name__}: {first_line(error)}") from error
    print(_came_out(task, store_of(place.output)), flush=True)


def _asked(overrides: Sequence[str]) -> tuple[Task, Place, str | None]:
    """Return what the overrides of a job ask for, where it is made, and which runs are made again."""
    config = composed(overrides)
    spec, place = prepared(config)
    anew = rerun_of(config.rerun)
    if config.shard is None:
        return Task(spec), place, anew
    shard = Shard.read(convert(config.shard, str, "shard"))
    check_splits(spec.identity, shard)
    if anew:
        raise ConfigError(
            f"rerun={anew}: would discard the other shards, too; make the run again without shard"
        )
    return Task(spec, shard), place, anew


def _came_out(task: Task, store: Store) -> str:
    """Return a run's summary, or which of its shards are there."""
    run_id = task.spec.run_id
    if store.finished(run_id):
        return summary(store.read(run_id))
    assert task.shard
    there = sum(store.parts(run_id).finished(shard.name) for shard in Shard.every(task.shard.count))
    return f"{run_id}: {there} of {task.shard.count} shards are there; the last one completes the run"


def _check_base(spec: RunSpec, workbenches: Workbenches) -> None:
    """Train N0 where it is not there, and check that the run's samples and its method's knowledge are enough."""
    with every_core():
        bench = workbenches.bench(spec)  # trains N0, as `make reproduce` does
    ordered(bench.base.errors, spec.scale.samples)  # refuses more samples than there are
    _rehearse(spec, bench)


def _rehearse(spec: RunSpec, bench: Workbench) -> None:
    """Correct one sample, and keep nothing, where a method may know less than its file says: it may need it.

    Raises:
        ConfigError: It does.
    """
    file = CONF / "method" / f"{spec.method['name']}.yaml"
    if spec.probe is not None or LEVELS.index(spec.knows) >= LEVELS.index(
        OmegaConf.select(OmegaConf.load(file), KNOWS)
    ):
        return
    try:
        next(iter(bench.stage(spec).rows()), None)
    except LookupError as error:
        if type(error) is not LookupError:  # a missing key or place: a fault of the method's own
            raise
        raise ConfigError(f"method.{KNOWS}={spec.knows}: {error}") from error


def sweep(jobs: Sequence[Sequence[str]]) -> int:
    """Make each run, whatever becomes of the others; list at the end what failed and return the exit status."""
    failures, refused = [], 0
    for number, overrides in enumerate(jobs, 1):
        job = " ".join(overrides)
        log.info("job %d of %d: %s", number, len(jobs), job)
        try:
            run(overrides)
        except Exception as error:
            if ends_everything(error):
                raise
            known = isinstance(error, REFUSALS)
            said = str(error) if known or isinstance(error, RunFailed) else complaint(error)
            if said is None:
                log.exception("job %d failed", number)
            failures.append(f"failed: {job}: {said or first_line(error)}")
            refused += known
    if failures:
        print(f"{len(failures)} of {len(jobs)} jobs failed:", *failures, sep="\n", file=sys.stderr)
    return REFUSED if refused == len(jobs) else min(1, len(failures))


def launched(jobs: Sequence[Sequence[str]], name: str, options: Sequence[str]) -> int:
    """Make the runs of a sweep by a launcher's workers; say what came out of each and return the exit status.

    Args:
        jobs: Overrides of each run.
        name: Of the launcher.
        options: Its own overrides.
    """
    asked = [_asked(overrides) for overrides in jobs]
    tasks, places, _ = zip(*asked, strict=True)
    if len(set(places)) > 1:
        raise ConfigError(
            "device, threads, memory, data_dir, output_dir: one value each, a launcher's workers share a place"
        )
    count = composed(jobs[0]).workers
    workers = default_jobs(places[0].device) if count == "auto" else convert(count, int, "workers")
    if workers < 1:
        raise ConfigError(f"workers={workers}: must be at least 1, or auto")
    launcher, workbenches = Launcher(name, workers, tuple(options)), Workbenches(places[0])
    store = store_of(places[0].output)
    for task, _, anew in asked:
        renew([task.spec], store, anew)
        _check_base(task.spec, workbenches)
    costs = seconds_per_sample(store.headers())
    failed = launch(tasks, replace(places[0], jobs=workers), launcher, costs)
    for run_id in dict.fromkeys(task.spec.run_id for task in tasks):
        if store.finished(run_id):
            print(summary(store.read(run_id)), flush=True)
    if failed:
        print(f"{len(failed)} of {len(jobs)} jobs failed:", *failed, sep="\n", file=sys.stderr)
    return min(1, len(failed))


def _command(arguments: Sequence[str], asking: Sequence[str]) -> int:
    """Do what a command line asks for and return the exit status."""
    arguments, launcher, options = taken_from(arguments)
    if options and not launcher:
        raise ConfigError(f"{options[0]}: of no launcher; choose one by {GROUP}=")
    for argument in arguments:
        if argument.startswith("-") and argument not in SWEEP:
            raise ConfigError(f"{argument}: no such option; {nearest(argument, (*SWEEP, *asking))}")
    log_to_console()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        jobs = jobs_of(arguments)
        if not any(argument in SWEEP for argument in arguments):
            if launcher:
                raise ConfigError(f"{GROUP}={launcher}: starts the runs of a sweep; add -m")
            run(jobs[0])
            return 0
        given = {argument.partition("=")[0] for argument in arguments} - {*SWEEP, "experiment"}
        preset = preset_of(jobs[0])
        jobs = _planned(jobs, given) if preset else jobs
        status = launched(jobs, launcher, options) if launcher else sweep(jobs)
        if preset and given <= {*WHERE} and not status:
            print(whats_next(preset, composed(jobs[0])))
        return status


def _planned(jobs: Sequence[list[str]], given: set[str]) -> list[list[str]]:
    """Leave out the jobs of a preset that the profile's plan does not have, as `make reproduce` does.

    Args:
        jobs: Of a preset.
        given: Keys of the command line: what it says of seed and replica is done as it says.

    Raises:
        ConfigError: None is left.
    """
    found = [job for job in jobs if _is_planned(job, {"seed", "replica"} - given)]
    if not found:
        raise ConfigError("scale.seeds, scale.replicas: the preset has no seed and replica among them")
    return found


def _is_planned(job: Sequence[str], keys: set[str]) -> bool:
    try:
        spec = RunSpec.of(composed(job))
    except ConfigError:  # said when it is the job's turn
        return True
    return all(getattr(spec, key) in values for key, values in planned(spec).items() if key in keys)


def whats_next(preset: str, config: DictConfig) -> str:
    """Say which tables and figures are made from a preset's runs, with which others, and how."""
    lines = [f"{preset}: its runs are for"]
    for name in files_of(preset):
        others = [other for other in presets_of(name) if other != preset]
        if not name.startswith("report/"):  # these are of nearly every preset
            lines.append(f"  {name}" + (f", with those of {', '.join(others)}" if others else ""))
    where = f"--partial --profile {config.profile.name} --output {config.output_dir}"
    lines.append(f"written by: python -m experiments.reproduce tables {where}")
    lines.append(f"and, what only the report has: python -m experiments.from_records report {where}")
    return "\n".join(lines)


def main(arguments: Sequence[str], asking: Sequence[str] = ()) -> int:
    """Make a run or a sweep. Return the exit status.

    Args:
        arguments: Overrides, and `-m` for a sweep.
        asking: Options that the command knows besides, for the message on one that it does not.
    """
    return ended(lambda: _command(arguments, asking), (*REFUSALS, RunFailed))
