"""What starts fast: which modules a question and a plan do without, and that what is kept for a plan is what is so."""

import json
import subprocess
import sys

import pytest

from experiments.config.groups import CONF
from experiments.jobs import device, known
from experiments.jobs.costs import seconds_per_sample
from experiments.jobs.stale import sources
from experiments.records.archive import load
from experiments.records.members import reference_folder

HEAVY = ("torch", "pandas", "matplotlib", "scipy", "numba")
CALL = """
import sys
from experiments import {module}
try:
    {module}.main({arguments})
except SystemExit as ended:
    assert not ended.code, ended.code
print("MODULES", *(name for name in {heavy} if name in sys.modules))
"""


def modules_after(module, *arguments, heavy=HEAVY):
    """The heavy modules that a command has imported at its end, and what it said."""
    code = CALL.format(module=module, arguments=list(arguments), heavy=heavy)
    sys_argv = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(sys_argv, cwd=CONF.parents[1], capture_output=True, text=True, check=True)
    said, _, modules = done.stdout.rpartition("MODULES")
    return modules.split(), said


def test_the_doors_import_nothing_heavy():
    code = f"import sys; import experiments.run, experiments.reproduce; print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CONF.parents[1], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("--help",), ("--cfg", "job")])
def test_a_question_needs_no_torch(arguments):
    modules, said = modules_after("run", *arguments)
    assert modules == []
    assert "bgd_ii" in said


def test_a_plan_that_is_kept_needs_neither_torch_nor_hydra(every_run, tmp_path):
    known.programme(tmp_path, "smoke", lambda: every_run.members("smoke"), lambda: ["every_method"])
    words = ("plan", "--profile", "smoke", "--output", str(tmp_path))
    modules, said = modules_after("reproduce", *words, heavy=(*HEAVY, "hydra", "omegaconf"))
    assert "to run" in said
    if device.choose_device("cpu") and not any(device.Path(name).exists() for name in device.DRIVERS):
        assert modules == [], "with a driver's file there, torch is asked for a card"


def test_what_is_kept_of_the_runs_is_what_they_are(every_run, tmp_path, monkeypatch):
    members = every_run.members("smoke")
    asked = []

    def compose():
        asked.append(1)
        return members

    first = known.programme(tmp_path, "smoke", compose, lambda: {"table_4_1"})
    again = known.programme(tmp_path, "smoke", compose, lambda: {"table_4_1"})
    assert again == first
    assert len(asked) == 1
    assert list(first.members) == list(members)
    for name, runs in members.items():
        for run, spec in zip(first.members[name], runs, strict=True):
            assert (run.run_id, run.base_id, run.bench_id) == (spec.run_id, spec.base_id, spec.bench_id)
            assert run.identity == json.loads(json.dumps(spec.identity))
    assert {run.run_id for run in first.runs} == {spec.run_id for each in members.values() for spec in each}
    assert set(first.first_ids) == {"table_4_1"}
    spec = members["table_4_1"][0]
    assert first.members["table_4_1"][0].sources == sources(spec)

    (path,) = (tmp_path / "runs").iterdir()
    path.write_text(path.read_text().replace(spec.run_id, "0" * 16, 1))
    assert known.programme(tmp_path, "smoke", compose, lambda: {"table_4_1"}) == first
    assert len(asked) == 2, "what was altered is made again"
    monkeypatch.setattr(known, "_hash_of_code", lambda: "of other code")
    assert known.programme(tmp_path, "smoke", compose, lambda: {"table_4_1"}) == first
    assert len(asked) == 3, "and what other code made"


def test_the_times_that_are_kept_are_those_of_the_records(tmp_path):
    wanted = seconds_per_sample(load(reference_folder("laptop")).headers)
    assert known.committed_costs(tmp_path, "laptop") == wanted
    assert known.committed_costs(tmp_path, "laptop") == wanted, "read back"
    assert len(list((tmp_path / "runs").iterdir())) == 1
    assert known.committed_costs(tmp_path, "smoke") == {}


def test_a_folder_that_cannot_be_written_is_no_reason_for_no_plan(tmp_path):
    (tmp_path / "runs").write_text("in the way")
    assert known.committed_costs(tmp_path, "laptop")
