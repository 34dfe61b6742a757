"""The way through the command: what is printed where, statuses, and what is not imported."""

import json
import os
import subprocess
import sys
import threading
import tomllib
import warnings
from importlib import import_module
from pathlib import Path

import pytest

from bgd.cli.main import main
from bgd.cli.outcome import plain
from bgd.cli.progress import line
from bgd.corrector import Corrector
from bgd.errors import ConfigError
from bgd.progress import Loop, followed

ROOT = Path(__file__).parents[2]
BASE = "correct net:make wrong.npy --weights net.pt --label 3 --method output_bias"
CORRECT = [*BASE.split(), "-o", "fix.safetensors"]


def test_the_entry_is_what_is_installed_and_help_imports_neither_torch_nor_numpy():
    entry = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["bgd"]
    module, _, name = entry.partition(":")
    assert getattr(import_module(module), name) is main
    code = (
        f"import sys; from {module} import {name}; status = {name}(['--help']); "
        "assert not {'torch', 'numpy', 'scipy', 'numba'} & set(sys.modules); sys.exit(status)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("usage: bgd [-h]")


def test_as_a_process_it_gives_the_status_and_one_object():
    line = [sys.executable, "-m", "bgd.cli", "inspect", "--json"]
    found = subprocess.run(line, capture_output=True, text=True, cwd=ROOT)
    assert found.returncode == 2
    said = json.loads(found.stdout)
    assert said["kind"] == "UsageError"
    assert said["status"] == 2
    assert said["error"].startswith("the following arguments are required: FIX")
    assert not found.stderr


def test_warnings_are_notes_and_those_for_developers_are_none(bgd, monkeypatch):
    def warns(*_):
        warnings.warn("the features are computed anew\nand more", stacklevel=1)
        warnings.warn("this will change", FutureWarning, stacklevel=1)
        raise ConfigError("nothing found")

    monkeypatch.setattr(Corrector, "correct", warns)
    assert bgd(*CORRECT).err == "bgd: the features are computed anew\nbgd: error: nothing found\n"


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "bgd 0.1.0\n"


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (KeyboardInterrupt(), 130, "stopped"),
        (ZeroDivisionError("division"), 3, "a fault of bgd: ZeroDivisionError"),
    ],
)
def test_a_stop_and_a_fault_leave_no_file(error, status, words, bgd, here, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr(Corrector, "correct", fail)
    before = sorted(here.iterdir())
    said = bgd(*CORRECT)
    assert said.status == status
    assert words in said.err
    assert ("Traceback" in said.err) == (status == 3)
    assert bgd(*CORRECT, "--json").out["status"] == status
    assert sorted(here.iterdir()) == before


def test_a_stop_while_a_file_is_written_leaves_nothing_behind(bgd, here, monkeypatch):
    def stop(_):
        raise KeyboardInterrupt

    before = sorted(here.iterdir())
    monkeypatch.setattr("os.fsync", stop)
    assert bgd(*CORRECT).status == 130
    assert sorted(here.iterdir()) == before


def test_the_answer_is_on_stdout_and_an_error_on_stderr(bgd):
    done = bgd(*CORRECT)
    assert done.status == 0
    assert "written: fix.safetensors" in done.out
    assert not done.err
    refused = bgd(*CORRECT)
    assert not refused.out
    assert "there already" in refused.err
    replaced = bgd(*CORRECT, "--overwrite", "--json")
    assert replaced.out["output"] == "fix.safetensors"
    assert not replaced.err


def test_whoever_stops_reading_gets_no_traceback(here):
    """As in `bgd --help | head -0`."""
    read, write = os.pipe()
    os.close(read)
    line = [sys.executable, "-m", "bgd.cli", "--help"]
    found = subprocess.run(line, stdout=write, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(write)
    assert (found.returncode, found.stderr) == (0, "")


def test_the_status_stays_where_whoever_read_the_answer_has_gone(here):
    """As in `bgd correct ... | head -0`, where there was nothing to correct."""
    read, write = os.pipe()
    os.close(read)
    line = [sys.executable, "-m", "bgd.cli", "inspect", "none.safetensors", "--json"]
    found = subprocess.run(line, stdout=write, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(write)
    assert (found.returncode, found.stderr) == (2, "")


def test_what_the_users_code_prints_is_no_part_of_the_answer(bgd, here):
    (here / "odd.py").write_text("from net import make\nprint('imported')\nmodel = make()\n")
    said = bgd(*BASE.replace("net:make", "odd:model").split(), "--json")
    assert said.out["status"] == 0
    assert "imported" in said.err


def test_what_is_no_json_becomes_text():
    given = {"a": [float("nan"), -float("inf"), 1.5], "b": ({"c": float("inf")}, None), 3: True}
    assert plain(given) == {"a": ["nan", "-inf", 1.5], "b": [{"c": "inf"}, None], "3": True}
    json.dumps(plain(given), allow_nan=False)


def test_progress_is_that_of_the_outermost_loop_that_made_a_step():
    outer, inner = Loop("corrections", 45, done=9, started=100.0), Loop("steps", 40, done=10, started=120.0)
    assert line([], 107.0, 100.0) == "7 s so far"
    assert line([Loop("files", 5)], 107.0, 100.0) == "files: 7 s so far"
    assert line([outer, inner], 130.0, 90.0) == "corrections: 9 of 45 in 30 s, about 2 min left"
    outer.done = 0
    assert line([outer, inner], 130.0, 90.0) == "steps: 10 of 40 in 10 s, about 30 s left"
    inner.total = 4000
    assert line([inner], 130.0, 90.0) == "steps: 10 of 4,000 in 10 s, about 66 min left"


def test_a_command_says_on_stderr_how_far_it_is(bgd, monkeypatch):
    monkeypatch.setattr("bgd.cli.progress.EVERY", 0.01)
    said = threading.Event()
    monkeypatch.setattr("bgd.cli.progress.note", lambda text: (print(text, file=sys.stderr), said.set()))

    def waits(*_):
        for _ in followed("rounds", range(2)):
            said.clear()
            assert said.wait(10)
        raise ConfigError("nothing found")

    monkeypatch.setattr(Corrector, "correct", waits)
    found = bgd(*CORRECT)
    assert "rounds: 1 of 2 in 0 s, about 0 s left" in found.err
    assert found.err.endswith("bgd: error: nothing found\n")
