"""Full float32, and the same bits every time on a card, whatever else in the process sets the switches."""

import os
import subprocess
import sys

import pytest
import torch

from bgd.errors import ConfigError
from bgd.methods.top_k import TopK
from experiments.jobs import arithmetic
from experiments.jobs.arithmetic import (
    FULL,
    ROUNDED,
    WORKSPACE,
    WORKSPACES,
    ArithmeticChanged,
    facts,
    held,
    settle,
    unsettled,
)
from experiments.jobs.execute import execute
from experiments.jobs.workbench import Place, Workbenches
from experiments.records.store import Store


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    """Leave every switch as torch has it by default, as far as a test of this file may have set it."""
    monkeypatch.setattr(os, "environ", {**os.environ})
    yield
    torch.backends.fp32_precision = "none"
    torch.backends.cudnn.benchmark = torch.backends.cudnn.deterministic = False
    torch.use_deterministic_algorithms(False)
    settle("cpu")


def _set(switches, value):
    switches.fp32_precision = value


DISTURBANCES = {
    "matmul.allow_tf32": lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True),
    "cudnn.allow_tf32": lambda: setattr(torch.backends.cudnn, "allow_tf32", True),
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "cuda.matmul": lambda: _set(torch.backends.cuda.matmul, "tf32"),
    "cudnn.conv": lambda: _set(torch.backends.cudnn.conv, "tf32"),
    "cudnn.rnn": lambda: _set(torch.backends.cudnn.rnn, "tf32"),
    "mkldnn.matmul": lambda: _set(torch.backends.mkldnn.matmul, "bf16"),
    "mkldnn.conv": lambda: _set(torch.backends.mkldnn.conv, "bf16"),
}
EVERYWHERE = {
    "every backend": lambda: _set(torch.backends, "tf32"),
    "cudnn": lambda: _set(torch.backends.cudnn, "tf32"),
}
ON_A_CARD = {
    "not deterministic": lambda: torch.use_deterministic_algorithms(False),
    "a warning alone": lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    "cudnn.deterministic": lambda: setattr(torch.backends.cudnn, "deterministic", False),
    "cudnn.benchmark": lambda: setattr(torch.backends.cudnn, "benchmark", True),
}


def full():
    """Whether nothing is rounded, by what torch itself reads, with the older switches and the newer ones."""
    newer = {switches.fp32_precision for switches in ROUNDED.values()}
    older = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    return newer == {FULL} and older == (False, False) and torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("name", DISTURBANCES | EVERYWHERE)
def test_float32_is_full_whatever_was_set_before(name):
    (DISTURBANCES | EVERYWHERE)[name]()
    settle("cpu")
    assert full()
    assert not unsettled("cpu")


@pytest.mark.parametrize("name", EVERYWHERE)
def test_what_is_set_for_every_backend_later_rounds_nothing(name):
    settle("cpu")
    EVERYWHERE[name]()
    assert full()
    assert not unsettled("cpu")


@pytest.mark.parametrize("name", DISTURBANCES | ON_A_CARD)
def test_a_row_made_in_other_arithmetic_is_not_handed_out(name):
    settle("cuda")
    rows = held(_rows((DISTURBANCES | ON_A_CARD)[name]), "cuda")
    assert next(rows) == 1
    with pytest.raises(ArithmeticChanged, match=r"was changed while a run was under way: torch\."):
        next(rows)
    settle("cuda")
    assert not unsettled("cuda"), "the next run is in order"


def _rows(disturb):
    yield 1
    disturb()
    yield 2


def test_a_run_whose_method_changes_the_arithmetic_fails_and_keeps_the_rows_before(
    tmp_path, spec_of, monkeypatch
):
    correct, calls = TopK.correct, []

    def disturbing(self, trial, sample, stream):
        calls.append(sample.index)
        if len(calls) == 2:
            torch.backends.cuda.matmul.allow_tf32 = True
        return correct(self, trial, sample, stream)

    spec, workbenches = spec_of("method=top_k"), Workbenches(Place(tmp_path / "data", tmp_path, "cpu", 1))
    monkeypatch.setattr(TopK, "correct", disturbing)
    with pytest.raises(ArithmeticChanged, match=r"cuda\.matmul\.fp32_precision is 'tf32'"):
        execute(spec, workbenches)
    store = Store(tmp_path / "runs")
    assert not store.finished(spec.run_id)
    monkeypatch.setattr(TopK, "correct", correct)
    header = execute(spec, workbenches)
    assert [row.index for row in store.read(spec.run_id).rows][:2] == calls
    assert header.provenance["float32"] == FULL
    assert header.provenance["deterministic_algorithms"] is False


def test_on_the_cpu_no_other_algorithm_is_chosen():
    settle("cpu")
    assert not torch.are_deterministic_algorithms_enabled()
    assert WORKSPACE not in os.environ


def test_on_a_card_algorithms_are_deterministic_and_the_header_says_so(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 92400)
    settle("cuda")
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark
    assert os.environ[WORKSPACE] == WORKSPACES[0]
    found = facts("cuda")
    assert (found["float32"], found["deterministic_algorithms"]) == (FULL, True)
    assert (found["cuda"], found["cudnn"]) == (torch.version.cuda, 92400)


@pytest.mark.parametrize("value", WORKSPACES)
def test_a_workspace_that_is_deterministic_stays(value):
    os.environ[WORKSPACE] = value
    settle("cuda")
    assert os.environ[WORKSPACE] == value


def test_another_workspace_is_named():
    os.environ[WORKSPACE] = ":8:8"
    with pytest.raises(ConfigError, match=f"{WORKSPACE}=':8:8': must be :4096:8 or :16:8"):
        settle("cuda")


def test_a_card_that_is_at_work_already_without_a_workspace_is_named(monkeypatch):
    monkeypatch.setattr(arithmetic.torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(ConfigError, match=f"CUDA has started without {WORKSPACE}: set it to :4096:8"):
        settle("cuda")


def test_what_the_process_sets_reaches_c(tmp_path):
    """CuBLAS reads the environment of the process, not Python's copy of it."""
    code = (
        "import ctypes, torch; from experiments.jobs.arithmetic import settle; settle('cuda');"
        "get = ctypes.CDLL(None).getenv; get.restype = ctypes.c_char_p;"
        f"print(get(b'{WORKSPACE}').decode())"
    )
    kept = {name: value for name, value in os.environ.items() if name != WORKSPACE}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=kept, check=True)
    assert done.stdout.strip() == WORKSPACES[0]
