"""The command line as a user meets it."""

import os
import subprocess
import sys

import pytest

from experiments.overrides import CONF


def call(module, *arguments, cwd=CONF.parent, **environment):
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True, text=True, cwd=cwd, timeout=300, env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["network=alexnt"], "error: network='alexnt': there is no such network; did you mean 'alexnet'"),
        (["profile=smoke", "seed=abc"], "error: seed='abc': must be an integer"),
        (["profile=smoke", "method.iterations=0"], "error: method.iterations=0: must be at least 1"),
    ],
)
def test_bad_input_is_one_line_and_no_traceback(arguments, message, tmp_path):
    done = call("experiments.run", *arguments, f"output_dir={tmp_path}")
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_a_key_that_does_not_exist_is_an_error(tmp_path):
    done = call("experiments.run", "profile=smoke", "method.subset=3", f"output_dir={tmp_path}")
    assert done.returncode != 0
    assert "subset" in done.stderr


def test_a_data_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = call("experiments.run", f"data_dir={tmp_path}/file/data", f"output_dir={tmp_path}")
    assert done.returncode != 0
    assert "error: cannot write to the data folder" in done.stderr


def test_a_sweep_over_a_preset_narrowed_and_run_from_anywhere(tmp_path):
    arguments = ["-m", "experiment=table_4_2", "profile=smoke", "method=bgd_ii,top_k", "seed=0", "threads=1"]
    environment = {"PYTHONPATH": str(CONF.parent)}
    done = call("experiments.run", *arguments, f"output_dir={tmp_path}/out", cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("POPA (%)") == 2
    assert len([path for path in (tmp_path / "out" / "runs").iterdir() if path.is_dir()]) == 2
