"""How much memory processes share, and where."""

import os
import subprocess
import sys

import pytest

from bgd.errors import ConfigError
from experiments.jobs import process
from experiments.jobs.process import budget, shared_memory


def test_a_budget_is_half_of_the_machine_or_what_is_said():
    assert budget(2) == budget("2") == 2 * 2**30
    assert budget("0.5") == 2**29
    assert 2**28 < budget("auto") < 2**50


@pytest.mark.parametrize("memory", ["much", -1, "nan", "inf"])
def test_a_wrong_budget_is_named(memory):
    with pytest.raises(ConfigError, match=f"memory={memory!r}: must be auto or a number of GiB"):
        budget(memory)


def test_shared_memory_is_gone_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "SHARED", tmp_path)
    with shared_memory(2, 1000) as folder:
        assert folder is not None
        (folder / "values").write_bytes(b"0" * 1000)
    assert not list(tmp_path.iterdir())


def test_one_process_shares_nothing_and_neither_does_a_machine_without_room(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "SHARED", tmp_path)
    with shared_memory(1, 1000) as folder:
        assert folder is None
    with shared_memory(2, 2**62) as folder:
        assert folder is None
    monkeypatch.setattr(process, "SHARED", tmp_path / "none")
    with shared_memory(2, 1000) as folder:
        assert folder is None


def test_what_a_killed_process_left_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "SHARED", tmp_path)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, living = tmp_path / f"bgd-{ended.pid}-x", tmp_path / f"bgd-{os.getpid()}-y"
    left.mkdir()
    living.mkdir()
    with shared_memory(2, 1000):
        assert not left.exists()
        assert living.exists()
