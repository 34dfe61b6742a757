"""The processes of `make reproduce`: the same rows whatever their number, and no worker without its parent."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import fields

import pytest
import torch
from conftest import interruptible

from experiments import reproduce
from experiments.config.overrides import CONF
from experiments.jobs import workers
from experiments.jobs.ending import Terminated, terminable
from experiments.jobs.execute import execute
from experiments.jobs.process import core_threads, every_core
from experiments.jobs.workbench import Place, Workbenches
from experiments.records.files import BusyError
from experiments.records.schema import Row
from experiments.records.store import Store
from experiments.report.assemble import Report
from experiments.report.page import Document
from experiments.thesis import publish
from experiments.thesis.tables import MAIN, OVERVIEW, TABLES

TIMED = {"search_seconds", "evaluation_seconds"}
LONG = """
import sys
from hydra import compose, initialize_config_dir
from experiments import reproduce
from experiments.config.overrides import CONF
from experiments.config.spec import RunSpec

with initialize_config_dir(str(CONF), version_base="1.3"):
    words = ["profile=smoke", "network=alexnet", "network.width=0.1", "scale.recipe.epochs=1", "scale.samples=null"]
    specs = [RunSpec.of(compose("config", overrides=[*words, "method=retrain", f"seed={seed}"])) for seed in (1, 2)]
reproduce.specs_of_presets = lambda profile: {"preset": specs}
sys.exit(reproduce.main(["run", "--profile=smoke", "--device=cpu", "--jobs=2", f"--output={sys.argv[1]}"]))
"""


def rows(output, specs):
    """Return every value of every row but the seconds, and what N0 and the whole run came to."""
    store, found = Store(output / "runs"), {}
    for spec in specs:
        run = store.read(spec.run_id)
        summary = {key: value for key, value in run.header.summary.items() if key != "seconds"}
        names = [field.name for field in fields(Row) if field.name not in TIMED]
        values = [[getattr(row, name) for name in names] for row in run.rows]
        found[spec.title] = (run.header.base, run.header.figures, summary, values)
    return found


@pytest.mark.slow
def test_rows_are_the_same_whatever_the_number_of_processes(spec_of, monkeypatch, tmp_path):
    small = ("network=alexnet", "network.width=0.1", "scale.recipe.epochs=1")
    specs = [
        spec_of("network=mlp", "setting=non_reloading", "method=bgd_c"),
        spec_of("network=mlp", "setting=reloading", "method=retrain"),
        spec_of(*small, "setting=reloading", "method=bgd_c"),
        spec_of(*small, "setting=non_reloading", "method=retrain"),
    ]
    monkeypatch.setattr(reproduce, "specs_of_presets", lambda profile: {MAIN: specs})
    monkeypatch.setattr(publish, "PAPER", (*TABLES[:1], OVERVIEW))
    monkeypatch.setattr(publish, "REPORT", Report((), (Document("A report"),)))
    threads = torch.get_num_threads()
    for jobs in ("1", "2"):
        options = ("--profile", "smoke", "--device", "cpu", "--jobs", jobs, "--output", str(tmp_path / jobs))
        assert reproduce.main(["run", *options]) == 0
        assert torch.get_num_threads() == threads
    workbenches = Workbenches(Place(tmp_path / "data", tmp_path / "alone", "cpu", threads))
    with every_core():
        workbenches.bench(specs[0])
    execute(specs[0], workbenches)

    first = rows(tmp_path / "1", specs)
    assert len(first) == len(specs)
    assert rows(tmp_path / "2", specs) == first
    assert rows(tmp_path / "alone", specs[:1]).items() <= first.items()


def processes():
    """Return the parent of every process that is running, by its id."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True
    )
    lines = [line.split() for line in listed.stdout.splitlines()]
    return {int(pid): int(parent) for pid, parent, state in lines if not state.startswith("Z")}


def until(condition, seconds, message):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, message
        time.sleep(0.1)


@pytest.mark.skipif(shutil.which("ps") is None, reason="there is no ps to list processes with")
@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGKILL, -signal.SIGKILL),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
    ],
)
def test_no_worker_outlives_its_parent(number, status, tmp_path):
    parent = subprocess.Popen(
        [sys.executable, "-c", LONG, str(tmp_path)],
        cwd=CONF.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=interruptible,
    )  # fmt: skip
    workers = []
    try:
        until(lambda: sum(1 for _ in tmp_path.glob("runs/*.partial/rows.jsonl")) == 2, 120, "no worker began")
        workers = [pid for pid, above in processes().items() if above == parent.pid]
        assert len(workers) >= 2
        parent.send_signal(number)
        _, said = parent.communicate(timeout=60)
        assert parent.returncode == status
        assert ("stopped: the rows so far are kept" in said) == (number != signal.SIGKILL)
        assert "Traceback" not in said
        until(lambda: not processes().keys() & set(workers), 60, "a worker is still there")
        assert len(list(tmp_path.glob("runs/*.partial"))) == 2, "they were stopped in the middle"
    finally:
        for pid in (parent.pid, *workers):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        parent.wait()


class Crafted:
    """Work on a run, in place of the real one, in a worker process; specs are (title, file) here."""

    def __init__(self, title, path):
        self.title, self.run_id, self.path = title, title, path


def worked(spec):
    """Kill this process the first time, or every time, or be busy, or fail, or be done: as the title says."""
    with spec.path.open("a") as file:
        file.write(f"{spec.title} {os.getpid()}\n")
    before = [line for line in spec.path.read_text().splitlines() if line.startswith(f"{spec.title} ")]
    if spec.title == "killed" or (spec.title == "killed once" and len(before) == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if spec.title == "elsewhere" and len(before) < 3:
        raise BusyError("run elsewhere is being written by another process")
    if spec.title == "fails":
        raise ZeroDivisionError("in the method")


@pytest.mark.slow
def test_a_killed_worker_fails_its_own_run_alone(monkeypatch, tmp_path, caplog):
    """Its run is tried once more; one that another command makes is waited for, after all others."""
    titles = ["one", "killed once", "two", "elsewhere", "killed", "fails", "three"]
    monkeypatch.setattr(workers, "_work", worked)
    monkeypatch.setattr(workers, "AGAIN_AFTER", 0.01)
    said, log = [], tmp_path / "log"
    place = Place(tmp_path / "data", tmp_path, "cpu", 1, jobs=2)
    failed = workers.run_all([Crafted(title, log) for title in titles], place, said.append)
    assert sorted(failed) == ["fails: in the method", "killed: its process was killed twice (out of memory?)"]
    assert "the process of killed once was killed (out of memory?): once more in a fresh one" in caplog.text
    lines = log.read_text().splitlines()
    begun = [line.rpartition(" ")[0] for line in lines]
    assert {title: begun.count(title) for title in titles} == {
        "one": 1, "killed once": 2, "two": 1, "elsewhere": 3, "killed": 2, "fails": 1, "three": 1,
    }  # fmt: skip
    assert said[-1] == len(titles)
    assert said == sorted(said), "the number of runs that are over only grows"
    assert len({line.rpartition(" ")[2] for line in lines}) >= 4, "killed processes are replaced"
    assert not any(pid in processes() for pid in {int(line.rpartition(" ")[2]) for line in lines})


TWO = """
import sys
from hydra import compose, initialize_config_dir
from experiments.thesis import publish
from experiments import reproduce
from experiments.thesis.tables import MAIN, OVERVIEW, TABLES
from experiments.run import CONF
from experiments.config.spec import RunSpec
from experiments.report.assemble import Report
from experiments.report.page import Document

if __name__ == "__main__":
    with initialize_config_dir(str(CONF), version_base="1.3"):
        words = ["profile=smoke", "setting=non_reloading", "scale.samples=10"]
        methods = [("bgd_c", 0), ("retrain", 0), ("bgd_c", 1), ("bgd_ii", 0), ("bgd_ii", 1), ("random", 0)]
        specs = [RunSpec.of(compose("config", overrides=[*words, f"method={name}", f"seed={seed}"]))
                 for name, seed in methods]
    reproduce.specs_of_presets = lambda profile: {MAIN: specs}
    publish.PAPER = (*TABLES[:1], OVERVIEW)
    publish.REPORT = Report((), (Document("A report"),))
    sys.exit(reproduce.main(["run", "--profile=smoke", "--device=cpu", "--jobs=1", f"--output={sys.argv[1]}"]))
"""


@pytest.mark.slow
def test_two_at_once_share_the_runs_and_both_end_well(tmp_path):
    """N0 is trained by one of them; each run is made once, and neither calls the other's a failure."""
    program = tmp_path / "two.py"
    program.write_text(TWO)
    command = [sys.executable, str(program), str(tmp_path / "output")]
    environment = {**os.environ, "PYTHONPATH": str(CONF.parent)}
    both = [
        subprocess.Popen(
            command, cwd=CONF.parent, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for _ in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=150)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    store = Store(tmp_path / "output" / "runs")
    assert len(store.complete()) == 6
    assert store.faults() == store.failures() == []
    for text in said:
        assert "Traceback" not in text
        assert "failed" not in text
        assert "records: 6 of 6 runs of profile smoke" in text
    left = {path.name for path in store.root.iterdir()} - set(store.complete())
    assert left == {"presets.smoke.json", "plan.smoke.json"}, "no lock, nothing partial"


def test_sigterm_is_as_it_was_after_a_block_that_it_ends():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), terminable():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


def test_every_core_is_for_the_block_alone(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with every_core():
        assert torch.get_num_threads() == core_threads()
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("said", "threads"), [("1", 1), ("2,4", 2), ("900", 4), ("", 4), ("0", 4), ("many", 4)]
)
def test_no_more_threads_than_the_environment_allows(said, threads, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3}, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert core_threads() == threads
