"""Workers of a launcher: real processes of which one is killed, and what the command makes of it."""

import importlib.util
import json
import logging
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf
from test_shards import files

from bgd.errors import ConfigError
from bgd.methods.bgd.search import SubsetSearch
from experiments import run
from experiments.jobs import launchers, launching
from experiments.jobs.execute import execute
from experiments.jobs.launchers import Launcher, taken_from
from experiments.jobs.launching import launch
from experiments.jobs.process import every_core
from experiments.jobs.work import Task, tasks_of, work
from experiments.jobs.workbench import Place, Workbench, Workbenches
from experiments.records.shards import Shard
from experiments.records.store import Store
from experiments.records.writer import PARTIAL, ROWS, Writer

HERE = Path(__file__).parent
PATH = os.pathsep.join(map(str, (HERE, HERE.parent, HERE.parents[1])))


class Inside:
    """Starts workers one after another in this process."""

    def __init__(self, workers=2):
        self.workers, self.rounds = workers, 0

    def start(self, function, output):
        self.rounds += 1
        for _ in range(self.workers):
            function(None)


class Processes(Inside):
    """Starts workers as processes, without any package."""

    def start(self, function, output):
        self.rounds += 1
        pools = [ProcessPoolExecutor(1, get_context("spawn")) for _ in range(self.workers)]
        futures = [pool.submit(function, None) for pool in pools]
        errors = [future.exception() for future in futures]
        for pool in pools:
            pool.shutdown()
        for error in filter(None, errors):
            raise error


def fatal(tasks, place, config):
    """Work, and kill this process after its second row, if no worker has been killed so far."""
    append, rows = Writer.append, []

    def counted(writer, row):
        append(writer, row)
        rows.append(row)
        marker = place.output / "killed"
        if len(rows) == 2 and not marker.exists():
            there = writer._rows.relative_to(place.output / "runs").parent
            marker.write_text(json.dumps([str(there), writer._rows.read_text()]))
            os.kill(os.getpid(), signal.SIGKILL)

    Writer.append = counted
    work(tasks, place, config)


@pytest.fixture
def place(tmp_path):
    threads = torch.get_num_threads()
    yield Place(tmp_path / "data", tmp_path / "out", "cpu", 1)
    torch.set_num_threads(threads)


@pytest.fixture
def serial(spec_of, tmp_path):
    """Runs, and their files as one process makes them."""

    def made(*words):
        specs = [spec_of(*each.split()) for each in words]
        workbenches = Workbenches(Place(tmp_path / "data", tmp_path / "serial", "cpu", 1))
        for spec in specs:
            execute(spec, workbenches)
        store = Store(tmp_path / "serial" / "runs")
        return specs, {spec.run_id: files(store, spec.run_id) for spec in specs}

    return made


def every_file(place, specs):
    store = Store(place.output / "runs")
    assert store.faults() == store.failures() == []
    assert {path.name for path in store.root.iterdir()} == {spec.run_id for spec in specs}, "and no lock"
    return {spec.run_id: files(store, spec.run_id) for spec in specs}


def is_there(name):
    package = f"hydra_plugins.hydra_{name}_launcher"
    return bool(importlib.util.find_spec("hydra_plugins")) and bool(importlib.util.find_spec(package))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "none",
        *(
            pytest.param(
                name, marks=pytest.mark.skipif(not is_there(name), reason=f"pip install 'bgd[{name}]'")
            )
            for name in ("joblib", "ray", "submitit")
        ),
    ],
)
def test_of_two_workers_one_is_killed_and_the_runs_are_those_of_one_process(
    name, serial, place, monkeypatch, tmp_path
):
    words = ("method=retrain", "method=bgd_c", "method=bgd_c setting=non_reloading", "probe=gradient_ranks")
    specs, whole = serial(*words)
    monkeypatch.setenv("PYTHONPATH", PATH)
    monkeypatch.setattr(launching, "work", fatal)
    with every_core():
        Workbench(specs[0], place)
    tasks = list(tasks_of(specs, 2))
    assert len(tasks) == 7
    launcher = Processes() if name == "none" else Launcher(name, 2)
    assert launch(tasks, place, launcher, {}) == []
    there, before = json.loads((place.output / "killed").read_text())
    assert every_file(place, specs) == whole
    folder = place.output / "runs" / there
    if ".shards" not in there:  # else its rows are among those of the run
        kept = folder.with_name(folder.name.removesuffix(PARTIAL)) / ROWS
        assert kept.read_text().startswith(before), "its rows stay as they are, with their times"


@pytest.mark.slow
def test_workers_make_the_runs_of_one_process(serial, place):
    specs, whole = serial("method=bgd_c", "method=bgd_c setting=non_reloading")
    launcher = Inside()
    assert launch(list(tasks_of(specs, 3)), place, launcher, {}) == []
    assert launcher.rounds == 1
    assert every_file(place, specs) == whole


class Killed(BaseException):
    """Ends a worker at once."""


def test_a_worker_that_ends_in_the_middle_is_followed_by_others(serial, place, monkeypatch, caplog):
    monkeypatch.setattr(SubsetSearch, "at_once", lambda *_: 1)
    specs, whole = serial("method=bgd_c", "method=bgd_c seed=1")
    correct, calls = SubsetSearch.correct, []

    def killed(self, trial, sample, stream):
        calls.append(sample.index)
        if len(calls) == 3:
            raise Killed
        return correct(self, trial, sample, stream)

    class Ending(Inside):
        def start(self, function, output):
            try:
                super().start(function, output)
            except Killed:
                raise RuntimeError("a worker is gone\nwith a long tail") from None

    launcher = Ending()
    monkeypatch.setattr(SubsetSearch, "correct", killed)
    with caplog.at_level(logging.WARNING):
        assert launch([Task(spec) for spec in specs], place, launcher, {}) == []
    assert launcher.rounds == 2
    assert len(calls) == 13, "12 samples, and the one at which it ended"
    assert "a worker ended badly (RuntimeError: a worker is gone): what is left is tried again" in caplog.text
    assert every_file(place, specs) == whole


def test_workers_that_get_no_further_are_a_failure(spec_of, place):
    class Idle(Inside):
        def start(self, function, output):
            self.rounds += 1
            if self.rounds == 2:
                raise TimeoutError("nobody came")

    spec, launcher = spec_of("method=bgd_c"), Idle()
    assert launch([Task(spec)], place, launcher, {}) == [f"{spec.title}: TimeoutError: nobody came"]
    assert launcher.rounds == launching.TRIES == 2
    idle = Idle()
    idle.rounds = 5
    (line,) = launch([Task(spec)], place, idle, {})
    assert line == f"{spec.title}: no worker came to its end (killed, out of memory?)"


def test_what_a_launcher_refuses_and_a_full_disk_end_the_command(spec_of, place):
    class Refusing(Inside):
        def start(self, function, output):
            raise self.workers

    for error in (ConfigError("no such key"), OSError(28, "No space left on device")):
        with pytest.raises(type(error)):
            launch([Task(spec_of("method=bgd_c"))], place, Refusing(error), {})


def test_a_run_that_fails_is_tried_once_a_command(spec_of, place, monkeypatch):
    calls = []

    def failing(*_):
        calls.append(1)
        raise ZeroDivisionError("in the method")

    monkeypatch.setattr(SubsetSearch, "correct_many", failing, raising=False)
    monkeypatch.setattr(SubsetSearch, "correct", failing)
    spec = spec_of("method=bgd_c")
    for count in (1, 2):
        assert launch([Task(spec)], place, Inside(), {}) == [
            f"{spec.title}: ZeroDivisionError: in the method"
        ]
        assert len(calls) == count
    monkeypatch.undo()
    assert launch([Task(spec)], place, Inside(), {}) == []


def test_what_another_machine_makes_is_waited_for(serial, place, monkeypatch):
    specs, whole = serial("method=bgd_c", "method=bgd_c seed=1")
    lock = place.output / "runs" / f"{specs[0].run_id}.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text(json.dumps({"host": "elsewhere", "pid": 1, "since": 0.0}))
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        assert every_file_but(lock, specs[1]), "the other run first"
        lock.unlink()

    monkeypatch.setattr(launching.time, "sleep", sleep)
    launcher = Inside(1)
    assert launch([Task(spec) for spec in specs], place, launcher, {}) == []
    assert (len(slept), launcher.rounds) == (1, 2)
    assert every_file(place, specs) == whole


def every_file_but(lock, spec):
    return {path.name for path in lock.parent.iterdir()} == {lock.name, spec.run_id}


def test_parts_that_nobody_merged_are_merged(serial, place, monkeypatch):
    """A process was killed between its part and the merging."""
    (spec,), whole = serial("method=bgd_c")
    tasks = list(tasks_of([spec], 2))
    with monkeypatch.context() as patched:
        patched.setattr("experiments.jobs.execute._merge", lambda *_: None)
        work(tasks, place)
    store = Store(place.output / "runs")
    assert not any(task.is_over(store) for task in tasks)
    assert launch(tasks, place, Inside(), {}) == []
    assert every_file(place, [spec]) == whole


def test_only_runs_whose_samples_are_alone_are_split(spec_of):
    specs = [spec_of("method=bgd_c"), spec_of("setting=non_reloading"), spec_of("probe=gradient_ranks")]
    assert [task.shard for task in tasks_of(specs, 1)] == [None] * 3
    assert [task.shard for task in tasks_of(specs, 2)] == [*Shard.every(2), None, *Shard.every(2)]


def test_a_launcher_that_is_none_or_not_there_is_refused(monkeypatch):
    with pytest.raises(
        ConfigError, match="hydra/launcher='jobib': there is no such launcher; did you mean 'joblib'"
    ):
        Launcher("jobib", 2)
    monkeypatch.setattr(launchers, "_is_installed", lambda package: False)
    for name, extra in (
        ("joblib", "joblib"),
        ("ray", "ray"),
        ("submitit", "submitit"),
        ("slurm", "submitit"),
    ):
        with pytest.raises(
            ConfigError, match=rf"hydra_{extra}_launcher is not installed; pip install 'bgd\[{extra}\]'"
        ):
            Launcher(name, 2)


def test_words_about_the_launcher_are_parted_from_those_about_the_runs(monkeypatch):
    monkeypatch.setattr(launchers, "_is_installed", lambda package: True)
    words = ["-m", "hydra/launcher=slurm", "seed=0,1", "hydra.launcher.partition=short"]
    assert taken_from(words) == (["-m", "seed=0,1"], "slurm", ("hydra.launcher.partition=short",))
    assert Launcher.read("slurm partition=short mem_gb=4", 9).options == (
        "hydra.launcher.partition=short",
        "hydra.launcher.mem_gb=4",
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("hydra/launcher=submitit seed=0", "hydra/launcher=submitit: starts the runs of a sweep; add -m"),
        (
            "-m hydra.launcher.n_jobs=2 seed=0,1",
            "hydra.launcher.n_jobs=2: of no launcher; choose",
        ),
        (
            "-m hydra/launcher=basic seed=0,1",
            "hydra/launcher='basic': there is no such launcher; valid: joblib",
        ),
        ("-m hydra/launcher=joblib seed=0,1 device=cpu,auto threads=1,2", "one value each"),
        ("-m hydra/launcher=joblib seed=0,1 workers=0", "workers=0: must be at least 1, or auto"),
        ("shard=1/2 setting=non_reloading", "shard=1/2: in the non-reloading setting each"),
        ("shard=3/2", "shard=3/2: must be k/n"),
        ("shard=1/2 rerun=all", "rerun=all: would discard the other shards"),
    ],
)
def test_what_cannot_be_is_refused(words, said, capsys, tmp_path):
    status = run.main([*words.split(), "profile=smoke", f"output_dir={tmp_path}"])
    assert status == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.jsonl"))


def test_shards_of_a_sweep_say_how_many_are_there(capsys, tmp_path, place):
    small = ("method=bgd_c", "profile=smoke", "device=cpu", f"output_dir={tmp_path}")
    assert run.main([*small, "shard=2/2"]) == 0
    assert "1 of 2 shards are there; the last one completes the run" in capsys.readouterr().out
    assert run.main([*small, "shard=1/2"]) == 0
    assert ": 6 corrected" in capsys.readouterr().out


def test_a_sweep_by_a_launcher_says_what_came_out(capsys, tmp_path, place, monkeypatch):
    """The launcher itself is a stand-in; `make reproduce` gives its own the same way."""

    class Stand(Inside):
        def __init__(self, name, workers, options):
            super().__init__(workers)
            assert (name, options) == ("slurm", ("hydra.launcher.partition=short",))

    monkeypatch.setattr("experiments.command.Launcher", Stand)
    words = ["-m", "hydra/launcher=slurm", "hydra.launcher.partition=short", "workers=2", "method=bgd_c"]
    words += ["shard=1/2,2/2", "profile=smoke", "device=cpu", f"output_dir={tmp_path}"]
    assert run.main(words) == 0
    assert capsys.readouterr().out.count(": 6 corrected") == 1


@pytest.mark.parametrize("name", ["joblib", "ray", "submitit", "slurm"])
def test_a_preset_composes_with_its_plugin(name, monkeypatch, tmp_path):
    """Started is nothing: what makes the jobs is a stand-in."""
    extra = name.replace("slurm", "submitit")
    if not is_there(extra):
        pytest.skip(f"pip install 'bgd[{extra}]'")
    launched = []

    class Stand:
        def launch(self, jobs, initial_job_idx):
            launched.append(jobs)
            return []

    def instantiate(self, hydra_context, task_function, config):
        sweep = hydra_context.config_loader.load_sweep_config(config, [])
        launched.append((OmegaConf.to_container(sweep.hydra.launcher, resolve=False), sweep.hydra.job.name))
        self._instantiate(config.hydra.launcher)
        return Stand()

    monkeypatch.setattr(Plugins, "instantiate_launcher", instantiate)
    before = HydraConfig.instance().cfg
    Launcher(name, 3).start(work, tmp_path / 'it\'s "here"')
    (preset, job), jobs = launched
    assert (job, jobs) == ("worker", [[]] * 3)
    assert preset["_target_"].startswith(f"hydra_plugins.hydra_{extra}_launcher.")
    assert HydraConfig.instance().cfg is before
    with pytest.raises(ConfigError, match=r"hydra\.launcher: "):
        Launcher(name, 3, ("hydra.launcher.nothing=1",)).start(work, tmp_path)
